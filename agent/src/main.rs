//! The binary: command line in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use spillway::cli::Cli;
use spillway::service::Workers;

fn main() -> ExitCode {
    spillway::allocator::tune();
    let cli = Cli::parse();
    let workers = Workers::default();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    workers.observe(&mut builder);
    match builder.enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(cli.run(workers));
            // A read of standard input that never ends must not keep the process.
            runtime.shutdown_background();
            exit.into()
        }
        Err(error) => {
            eprintln!("spillway: threads cannot be started: {error}");
            spillway::cli::Exit::TryAgain.into()
        }
    }
}
