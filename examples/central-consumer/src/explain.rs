//! The command by which an operator says that numbers will not come.

use std::process::ExitCode;

use central_store::explained::{Explained, Told};
use central_store::ledger::Ledger;
use central_store::ranges::Range;
use central_store::{Database, Lanes, Place, Settings};
use spillway_protocol::message::StreamId;
use spillway_protocol::tombstone::Reason;

use crate::Failure;
use crate::batch::commit;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Gateway id.
    #[arg(long)]
    gateway: String,
    /// Lane.
    #[arg(long)]
    lane: String,
    /// Stream, 8 hex digits.
    #[arg(long)]
    stream: StreamId,
    /// First number.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,
    /// Last number.
    #[arg(long)]
    to: u64,
    /// Why.
    #[arg(long)]
    note: String,
}

pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let Options { gateway, lane, stream, from, to, note } = options;
    if from > to {
        return Err(format!("--from {from} is above --to {to}").into());
    }
    let database = Database::new(&Settings::from_env()?);
    let place = Place { gateway: gateway.clone(), lane, stream };
    let now_ms = Ledger::open(&database).await?.now_ms().await?;
    let told = Told::by_hand(Explained {
        lane: Lanes::default().id(&database, &place).await?,
        range: Range { first: from, last: to },
        reason: Reason::Other,
        kept_every: 0,
        first_ms: now_ms,
        last_ms: now_ms,
        note: Some(note),
    });
    let mut transaction = database.begin().await?;
    told.write(&mut transaction, &gateway).await?;
    commit(transaction).await?;
    database.close().await;
    println!("{place}: {from}-{to} are explained");
    Ok(ExitCode::SUCCESS)
}
