//! The binary: command line in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use spillway::cli::Cli;

fn main() -> ExitCode {
    spillway::allocator::tune();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(cli.run());
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
