//! `spillway check`.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::exit::finish;
use super::{ConfigFile, Exit, Failure, doctor, human, load, output, refused};
use crate::app;
use crate::clock::{SystemClock, WallClock};
use crate::config::{self, Config, EncryptionKey, Gateway, Surroundings};
use crate::queue::{self, KeyId, Level, Standing};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// Looks at clock, name resolution, TLS, signature, topics and disk too; publishes nothing
    #[arg(long)]
    connect: bool,
    /// Prints JSON: faults and warnings, and with --connect what was found
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Check) -> Exit {
    if args.json {
        return in_json(&args).await;
    }
    let config = match load(&args.file.config) {
        Ok(config) => config,
        Err(failure) => return resilience(&args.file.config, failure).report(),
    };
    if args.connect {
        return doctor::examine(&config).await;
    }
    finish(Ok(format!("{}: valid\n{}", args.file.config.display(), summary(&config))))
}

async fn in_json(args: &Check) -> Exit {
    let said = |place: &config::Place, key: &str, problem: &str, remedy: Option<&str>| json!({ "place": place.to_string(), "key": key, "problem": problem, "remedy": remedy });
    let (config, warnings) = match config::load(&args.file.config, &Surroundings::of_process()) {
        Ok(good) => good,
        Err(error) => {
            let fault = |f: &config::Fault| said(&f.place, &f.key, &f.problem, Some(&f.remedy));
            let faults: Vec<Value> = error.faults.iter().map(fault).collect();
            output::out(&output::json(&json!({ "valid": false, "faults": faults })));
            return refused(&error).exit;
        }
    };
    let warning = |w: &config::Warning| said(&w.place, &w.key, &w.message, None);
    let warnings: Vec<Value> = warnings.iter().map(warning).collect();
    let mut answer = json!({ "valid": true, "faults": [], "warnings": warnings });
    let mut exit = Exit::Done;
    if args.connect {
        let findings = doctor::findings(&config).await;
        exit = doctor::exit(&findings);
        answer["findings"] = findings.iter().map(doctor::json).collect();
    }
    output::out(&output::json(&answer));
    exit
}

/// A failure, and what an agent would do that is started with such a file all the same.
fn resilience(file: &Path, failure: Failure) -> Failure {
    let data_dir = config::data_dir(file, &Surroundings::of_process());
    let Some((path, at_ms)) = app::last_accepted(&data_dir) else { return failure };
    let ago_s = SystemClock.now_ms().saturating_sub(at_ms) / 1000;
    let (path, ago) = (path.display(), human::duration(ago_s));
    let instead = format!("run --resilient goes on with what was accepted {ago} ago ({path})");
    Failure { message: format!("{}\n{instead}", failure.message), ..failure }
}

/// What the folder is written at, as far as this user may read it, and what in it is newer.
fn format(data_dir: &Path) -> String {
    let Ok(Some(Standing { level, root, newer, beside, .. })) = queue::standing(data_dir) else {
        return String::new();
    };
    let mut text = format!(" (level {}, newest {})", level.number(), Level::NEWEST.number());
    if let Some(newer) = newer {
        text.push_str(&format!(
            "\nALARM {newer}: nothing there is touched or sent, records go to {}; install the newer \
             agent again",
            root.display()
        ));
    }
    for folder in beside {
        text.push_str(&format!("\nALARM not all taken over yet: {}", folder.display()));
    }
    text
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
        "gateway {}, queue in {}{}{}\nlanes {} (default {})\nto {upstream}\n",
        config.gateway.id,
        config.gateway.data_dir.display(),
        format(&config.gateway.data_dir),
        sealed(&config.gateway),
        lanes.join(", "),
        config.default_lane().name,
    )
}

/// Under which key records are sealed, by its id, as messages name it.
fn sealed(gateway: &Gateway) -> String {
    let id = |key: &EncryptionKey| KeyId::of(key.bytes()).to_string();
    let former: Vec<String> = gateway.former_keys.iter().map(id).collect();
    let former = match former.is_empty() {
        true => String::new(),
        false => format!(", what is there is opened with {} too", former.join(", ")),
    };
    match &gateway.encryption_key {
        Some(key) => format!(", sealed with the key {}{former}", id(key)),
        None => former,
    }
}
