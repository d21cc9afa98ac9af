//! `spillway check --connect`: looks at everything a record will need, and publishes nothing.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spillway_protocol::record::Topic;

use super::{Exit, output};
use crate::app;
use crate::clock::{SystemClock, WallClock};
use crate::config::{Config, Order};
use crate::queue;
use crate::upstream::{Finding, Upstream, Verdict};

/// Syncs that are timed; the slowest of few says enough of a bad card.
const SYNCS: usize = 8;
/// A slower sync makes apps wait noticeably.
const SLOW_SYNC: Duration = Duration::from_millis(100);

/// Prints the findings; the exit code says whether records would leave.
pub(super) async fn examine(config: &Config) -> Exit {
    let findings = findings(config).await;
    findings.iter().for_each(|finding| output::out(&line(finding)));
    let exit = exit(&findings);
    if exit != Exit::Done {
        let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
        output::err(&format!("{bad} of {} would keep records from leaving\n", findings.len()));
    }
    exit
}

/// Whether records would leave.
pub(super) fn exit(findings: &[Finding]) -> Exit {
    let bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    if bad { Exit::Unreachable } else { Exit::Done }
}

/// One finding for a program.
pub(super) fn json(finding: &Finding) -> serde_json::Value {
    let verdict = match finding.verdict {
        Verdict::Good => "ok",
        Verdict::Note => "note",
        Verdict::Bad => "bad",
    };
    serde_json::json!({ "subject": finding.subject, "verdict": verdict, "detail": finding.detail })
}

/// All there is to find.
pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = vec![clock()];
    let folder = config.gateway.data_dir.clone();
    let disk = move || disk(&folder).into_iter().chain(format(&folder)).collect::<Vec<_>>();
    let disk = tokio::task::spawn_blocking(disk).await;
    findings.extend(disk.unwrap_or_default());
    findings.extend(far_end(config).await);
    findings.extend(centre(config).await);
    findings
}

fn line(finding: &Finding) -> String {
    let mark = match finding.verdict {
        Verdict::Good => "ok  ",
        Verdict::Note => "note",
        Verdict::Bad => "BAD ",
    };
    format!("{mark}  {}: {}\n", finding.subject, finding.detail)
}

fn finding(subject: impl Into<String>, verdict: Verdict, detail: impl Into<String>) -> Finding {
    Finding { subject: subject.into(), verdict, detail: detail.into() }
}

fn clock() -> Finding {
    match SystemClock.is_set() {
        true => finding("clock", Verdict::Good, "is set"),
        false => finding(
            "clock",
            Verdict::Note,
            "has not been set since power-on; TLS certificates may look not yet valid: set it, or \
             wait for NTP",
        ),
    }
}

/// Writes and syncs a small file where the queue lies (or will lie), and removes it.
fn disk(folder: &Path) -> Vec<Finding> {
    let existing = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let subject = format!("disk {}", existing.display());
    match sync_times(existing) {
        Ok(times) => {
            let slowest = times.iter().max().copied().unwrap_or_default();
            let millis = slowest.as_secs_f64() * 1000.0;
            let verdict = if slowest > SLOW_SYNC { Verdict::Note } else { Verdict::Good };
            vec![finding(
                subject,
                verdict,
                format!("the slowest of {SYNCS} syncs took {millis:.1} ms"),
            )]
        }
        Err(error) => {
            let detail = format!("{error}; may this user write there, and is there room?");
            vec![finding(subject, Verdict::Bad, detail)]
        }
    }
}

/// What a newer agent wrote there, which this one leaves alone.
fn format(folder: &Path) -> Option<Finding> {
    let newer = queue::standing(folder).ok()??.newer?;
    let detail = format!(
        "{newer}: what waits there stays, records go to a folder beside; install the newer agent \
         again"
    );
    Some(finding("format", Verdict::Bad, detail))
}

fn sync_times(folder: &Path) -> std::io::Result<Vec<Duration>> {
    let path = folder.join(format!(".spillway-check-{}", std::process::id()));
    let mut file = File::create_new(&path)?;
    let mut sync = || {
        let start = Instant::now();
        file.write_all(&[0; 512]).and_then(|()| file.sync_data()).map(|()| start.elapsed())
    };
    let times = (0..SYNCS).map(|_| sync()).collect();
    std::fs::remove_file(&path)?;
    times
}

async fn far_end(config: &Config) -> Vec<Finding> {
    let Some(settings) = &config.upstream else {
        let detail = "there is no [upstream]: records are taken in and wait";
        return vec![finding("upstream", Verdict::Note, detail)];
    };
    let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
    match app::upstream(config, settings, &clock) {
        Ok(upstream) => ask(upstream.as_ref(), config).await,
        Err(error) => vec![finding("upstream", Verdict::Bad, error.to_string())],
    }
}

/// The centre's page: no record waits for it.
async fn centre(config: &Config) -> Option<Finding> {
    let url = &config.control.as_ref()?.url;
    let machine = url.split('?').next().unwrap_or_default();
    let subject = format!("control {machine}");
    Some(match app::probe_centre(config).await? {
        Ok(requests) => {
            let detail = format!("the page is signed by the centre; requests on it: {requests}");
            finding(subject, Verdict::Good, detail)
        }
        Err(reason) => {
            let detail = format!("{reason}; records leave without it");
            finding(subject, Verdict::Note, detail)
        }
    })
}

/// What several lanes have in common is said once.
async fn ask(upstream: &dyn Upstream, config: &Config) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    if let Some((topic, _)) = topics(config).next() {
        findings.extend(upstream.inspect_keys(topic).await);
    }
    for (topic, ordered) in topics(config) {
        for finding in upstream.inspect(topic, ordered).await {
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings
}

/// Where records will go, the agent's own among them, and whether in order.
fn topics(config: &Config) -> impl Iterator<Item = (&Topic, bool)> {
    let lanes = config.lanes.iter().map(|lane| (&lane.topic, lane.order != Order::None));
    let report = config.report.iter().map(|report| (&report.topic, false));
    let presence = config.presence.iter().map(|presence| (&presence.topic, false));
    lanes.chain(report).chain(presence)
}
