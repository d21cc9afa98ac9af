//! `spillway support-bundle`: what support asks for first, in one file, without what is nobody's
//! business. A part that cannot be had says why, and the others go on.

mod archive;
mod folder;
mod machine;
mod query;
mod scrub;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use self::query::Agent;
use self::scrub::Scrubber;
use super::{ConfigFile, Exit, Failure, exit::finish, human};
use crate::config::{self, Surroundings, Written};

/// Longest that one part may take: a queue of many GiB is read for `verify.json`.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of `support-bundle`.
#[derive(Debug, Args)]
#[command(
    after_help = "No secrets, bodies, keys, ids or properties are in it. Works with a running and \
                  with a stopped agent; as the agent's user or root it sees most."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// The agent's socket [default: the configuration's]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The agent's control socket [default: the configuration's]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Where to write it [default: spillway-support-GATEWAY-DATE.tar.gz here]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// One file of the bundle.
struct Part {
    name: &'static str,
    about: &'static str,
    /// Or why there is none.
    text: Result<String, String>,
}

pub(super) async fn run(args: Arguments) -> Exit {
    finish(bundle(args).await)
}

async fn bundle(args: Arguments) -> Result<String, Failure> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let written = config::written(&args.file.config, &Surroundings::of_process());
    let path = args.output.clone().unwrap_or_else(|| name(&written, now_s));
    let file = archive::create(&path)?;
    let scrubber = Scrubber::new(&written.hidden);
    let mut parts = gather(&args, &written).await;
    for part in &mut parts {
        part.text = match &part.text {
            Ok(text) => Ok(scrubber.scrub(text)),
            Err(why) => Err(scrubber.scrub(why)),
        };
    }
    let failed = parts.iter().filter(|part| part.text.is_err()).count();
    let written = archive::write(file, &path, &contents(&parts, now_s), &parts, now_s);
    written.inspect_err(|_| drop(std::fs::remove_file(&path)))?;
    let missing = match failed {
        0 => String::new(),
        _ => format!("; {failed} could not be had, README.txt in it says why"),
    };
    Ok(format!(
        "{}: {} parts{missing}\nlook through it before you hand it on\n",
        path.display(),
        parts.len() - failed,
    ))
}

/// `spillway-support-gw-0042-20261122T1530Z.tar.gz`.
fn name(written: &Written, now_s: u64) -> PathBuf {
    let id = written.settings.iter().rev().find(|setting| setting.key == "gateway.id");
    let id = id.map_or("gateway", |setting| setting.value.trim_matches('"'));
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let id: String = id.chars().map(plain).collect();
    let date: String = human::time(now_s * 1000).chars().filter(|c| !"-:".contains(*c)).collect();
    format!("spillway-support-{id}-{date}.tar.gz").into()
}

async fn gather(args: &Arguments, written: &Written) -> Vec<Part> {
    let agent = Agent::new(&args.file, args.socket.as_deref(), args.control.as_deref());
    let data_dir = data_dir(&args.file.config, written);
    let pid = agent.pid().await;
    vec![
        part("version.txt", "the program and its machine's kind", async { Ok(machine::version()) }).await,
        part("configuration.txt", "every setting with the file and line it comes from; secrets, unknown texts and what leads to people are hidden", async { Ok(settings(written)) }).await,
        part("check.txt", "what spillway check says", async { Ok(check(&args.file.config)) }).await,
        part("status.json", "spillway status --json", agent.status()).await,
        part("queue.json", "lanes and their accounts", agent.queue()).await,
        part("verify.json", "whether everything that is stored can be read; numbers only", agent.verify()).await,
        part("metrics.txt", "what Prometheus would read", agent.metrics()).await,
        part("process.txt", "the agent's limits and memory, as the kernel tells", async { machine::process(pid) }).await,
        part("data-folder.txt", "the data folder's files: mode, size, time, name", listing(data_dir.clone())).await,
        part("quarantine.txt", "damaged segments that were put aside", listing(data_dir.join("quarantine"))).await,
        part("disk.txt", "space and inodes below the data folder, and how it is mounted", async { machine::disk(&data_dir) }).await,
        part("system.txt", "kernel, release, uptime", async { Ok(machine::system()) }).await,
        part("clock.txt", "the clocks, and whether one was set", machine::clock(&data_dir)).await,
        part("unit.txt", "the systemd unit: state, files and names of drop-ins", machine::unit()).await,
        part("journal.txt", "the agent's newest log lines", machine::journal()).await,
    ]
}

async fn part(
    name: &'static str,
    about: &'static str,
    made: impl Future<Output = Result<String, String>>,
) -> Part {
    let late = || Err(format!("it was not done after {} s", PATIENCE.as_secs()));
    let text = tokio::time::timeout(PATIENCE, made).await.unwrap_or_else(|_| late());
    Part { name, about, text }
}

/// Also where the configuration is faulty.
fn data_dir(file: &Path, written: &Written) -> PathBuf {
    if let Ok((config, _)) = config::load(file, &Surroundings::of_process()) {
        return config.gateway.data_dir;
    }
    let said = written.settings.iter().rev().find(|setting| setting.key == "gateway.data_dir");
    said.map_or_else(|| config::DATA_DIR.into(), |setting| setting.value.trim_matches('"').into())
}

fn settings(written: &Written) -> String {
    let line = |setting: &config::Setting| {
        let config::Setting { key, value, place } = setting;
        format!("{key} = {value}    # {place}\n")
    };
    let lines: String = written.settings.iter().map(line).collect();
    format!("# As this command sees it: the agent may have other environment variables.\n{lines}")
}

fn check(file: &Path) -> String {
    match config::load(file, &Surroundings::of_process()) {
        Ok((_, warnings)) => {
            let warnings = warnings.iter().map(|warning| format!("warning: {warning}\n"));
            format!("valid\n{}", warnings.collect::<String>())
        }
        Err(error) => format!("{error}\n"),
    }
}

async fn listing(folder: PathBuf) -> Result<String, String> {
    let listed = tokio::task::spawn_blocking(move || folder::listing(&folder));
    listed.await.map_err(|error| error.to_string())?
}

/// README.txt.
fn contents(parts: &[Part], now_s: u64) -> String {
    let line = |part: &Part| match &part.text {
        Ok(_) => format!("{:<18} {}\n", part.name, part.about),
        Err(why) => format!("{:<18} MISSING: {}\n", part.name, human::line(why)),
    };
    let lines: String = parts.iter().map(line).collect();
    format!(
        "Support bundle of spillway {}, made {} by this machine's clock.\n\nWithout secrets, bodies, keys, \
         ids and properties of records; (hidden) stands where something was left out.\n\n{lines}",
        env!("CARGO_PKG_VERSION"),
        human::time(now_s * 1000),
    )
}
