//! Serves the agent's socket with another store behind it, for `peers`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use spillway::intake::{Intake, Options, serve, socket};
use spillway_benches::engine::{self, Behind};
use spillway_benches::{Error, READY};
use spillway_protocol::record::RecordId;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Another store behind the agent's socket.
#[derive(Debug, Parser)]
struct Args {
    /// sqlite or sled
    #[arg(long)]
    engine: String,
    /// Folder of its own
    #[arg(long)]
    dir: PathBuf,
    /// Socket to serve
    #[arg(long)]
    socket: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    spillway::allocator::tune();
    let args = Args::parse();
    let engine = engine::open(&args.engine, &args.dir)?;
    let fresh_id = || RecordId::from(Uuid::now_v7());
    let intake = Intake::new(Arc::new(Behind::new(engine)?), Options::default(), fresh_id);
    let (listener, _file) = socket::bind(&args.socket, 0o600).await?;
    println!("{READY}");
    serve(listener, intake, CancellationToken::new()).await;
    Ok(())
}
