//! `spillway check`.

use clap::Args;

use super::exit::finish;
use super::{ConfigFile, Exit, doctor, load};
use crate::config::Config;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// Looks at clock, name resolution, TLS, signature, topics and disk too; publishes nothing
    #[arg(long)]
    connect: bool,
}

pub(super) async fn run(args: Check) -> Exit {
    let config = match load(&args.file.config) {
        Ok(config) => config,
        Err(failure) => return failure.report(),
    };
    if args.connect {
        return doctor::examine(&config).await;
    }
    finish(Ok(format!("{}: valid\n{}", args.file.config.display(), summary(&config))))
}

fn summary(config: &Config) -> String {
    let upstream = match &config.upstream {
        None => "nowhere: there is no [upstream]".to_owned(),
        Some(upstream) => {
            let urls: Vec<String> = upstream.endpoints.iter().map(|e| e.url()).collect();
            let proxy = upstream.proxy.as_ref().map(|proxy| proxy.endpoint().authority());
            let through = proxy.map(|proxy| format!(" through the proxy {proxy}"));
            urls.join(", ") + &through.unwrap_or_default()
        }
    };
    let lanes: Vec<String> = config.lanes.iter().map(|lane| lane.name.to_string()).collect();
    format!(
        "gateway {}, queue in {}\nlanes {} (default {})\nto {upstream}\n",
        config.gateway.id,
        config.gateway.data_dir.display(),
        lanes.join(", "),
        config.default_lane().name,
    )
}
