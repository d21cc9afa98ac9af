//! `check --connect` over the HTTP API: what can be asked without publishing.
//!
//! The question that proves the signature is an acknowledgement of *no* receipt handles: it is
//! signed like any request and the server has to check it before it can miss the handles, but it
//! changes nothing. A consume would prove as much, and would also bind the group it names to the
//! topic, or take somebody's messages out of sight for five minutes.

use spillway_protocol::record::Topic;
use spillway_protocol::rocketmq::http::fault::{Code, Meaning};
use spillway_protocol::rocketmq::http::{ack, resource};

use super::answer::Answer;
use super::{CONNECT_DEADLINE, Exchanged, Grip, HttpUpstream};
use crate::upstream::Upstream as _;
use crate::upstream::access::Trial;
use crate::upstream::{Finding, Outcome, Verdict, access};

/// Group named in the question; it need not exist.
const GROUP: &str = "GID_spillway_check";
/// A clock this far off is worth a word, although signatures are corrected.
const CLOCK_NOTE_S: i64 = 60;

pub(super) async fn inspect(upstream: &HttpUpstream, topic: &Topic, ordered: bool) -> Vec<Finding> {
    let mut findings = vec![resolution(upstream).await];
    if findings[0].verdict == Verdict::Good {
        findings.push(connection(upstream).await);
    }
    if findings.iter().all(|finding| finding.verdict == Verdict::Good) {
        findings.extend(question(upstream, topic, ordered).await);
    }
    findings
}

async fn resolution(upstream: &HttpUpstream) -> Finding {
    // Behind a proxy the endpoint's name is the proxy's to resolve.
    let hop = upstream.dialer.proxy().map_or(&upstream.endpoint, |proxy| proxy.endpoint());
    let host = hop.host.as_str();
    let lookup = tokio::net::lookup_host((host, hop.port));
    let (verdict, detail) = match tokio::time::timeout(CONNECT_DEADLINE, lookup).await {
        Ok(Ok(addresses)) => {
            let list: Vec<String> = addresses.map(|address| address.ip().to_string()).collect();
            (Verdict::Good, list.join(", "))
        }
        Ok(Err(error)) => (Verdict::Bad, format!("{error}; check the name and this machine's DNS")),
        Err(_) => (Verdict::Bad, "no answer from DNS; check this machine's network".to_owned()),
    };
    finding(format!("name {host}"), verdict, detail)
}

async fn connection(upstream: &HttpUpstream) -> Finding {
    let subject = if upstream.endpoint.tls { "connection and TLS" } else { "connection" };
    match upstream.probe().await {
        Ok(()) => {
            finding(subject, Verdict::Good, format!("established to {}", upstream.target.place()))
        }
        Err(reason) => finding(subject, Verdict::Bad, reason),
    }
}

/// Each key asks the same.
pub(super) async fn keys(upstream: &HttpUpstream, topic: &Topic) -> Vec<Finding> {
    let mut findings = Vec::new();
    for key in upstream.access.all() {
        let trial = match ask(upstream, &key, topic).await.map(|answer| signature(&answer)) {
            Ok(Finding { verdict: Verdict::Good, .. }) => Trial::Accepted,
            Ok(Finding { verdict: Verdict::Bad, detail, .. }) => Trial::Refused(detail),
            Ok(Finding { verdict: Verdict::Note, detail, .. }) | Err(detail) => {
                Trial::Unknown(detail)
            }
        };
        findings.push((key, trial));
    }
    access::findings(&upstream.access, findings)
}

/// The answer to the question, or why there is none of RocketMQ's.
async fn ask(upstream: &HttpUpstream, key: &Grip, topic: &Topic) -> Result<Answer, String> {
    let resource = resource::ack(topic.as_str(), upstream.instance.as_deref(), GROUP);
    let body = ack::request_xml(&[""; 0]);
    match upstream.exchange(key, "DELETE", &resource, body).await {
        Ok(Exchanged::Answered(answer) | Exchanged::DateRefused(answer)) => match answer.is_mq() {
            true => Ok(answer),
            false => Err(answer.words()),
        },
        Err(
            Outcome::LinkDown { reason }
            | Outcome::Stranger { reason, .. }
            | Outcome::Unknown { reason, .. }
            | Outcome::Misconfigured { reason, .. }
            | Outcome::OtherKey { reason }
            | Outcome::Throttled { reason, .. }
            | Outcome::Rejected { reason, .. },
        ) => Err(reason),
        // Without an answer nothing is delivered.
        Err(Outcome::Delivered { .. }) => Err("delivered".to_owned()),
    }
}

async fn question(upstream: &HttpUpstream, topic: &Topic, ordered: bool) -> Vec<Finding> {
    let key = match upstream.access.key().await {
        Ok(Some(key)) => key,
        Ok(None) => return Vec::new(),
        Err(outcome) => return access::finding(&outcome).into_iter().collect(),
    };
    match ask(upstream, &key, topic).await {
        Ok(answer) => vec![clock(upstream), signature(&answer), of_topic(&answer, topic, ordered)],
        Err(reason) => vec![finding("answer", Verdict::Bad, reason)],
    }
}

fn clock(upstream: &HttpUpstream) -> Finding {
    match upstream.skew.offset_s() {
        None => finding("clock", Verdict::Note, "the server's answer carries no date"),
        Some(s) if s.abs() <= CLOCK_NOTE_S => {
            finding("clock", Verdict::Good, format!("{s} s from the server's"))
        }
        Some(s) => {
            let detail = format!(
                "the server's is {s} s ahead; signatures are corrected, but set this machine's clock: TLS and times of records need it"
            );
            finding("clock", Verdict::Note, detail)
        }
    }
}

fn signature(answer: &Answer) -> Finding {
    let verdict = match answer.meaning() {
        Meaning::Credentials | Meaning::Clock => Verdict::Bad,
        // A key that is known and denied has signed well; a bare 403 may be about anything.
        Meaning::Forbidden if !answer.says(Code::AccessDenied) => Verdict::Note,
        Meaning::Server | Meaning::Throttle => Verdict::Note,
        _ => Verdict::Good,
    };
    match verdict {
        Verdict::Good => finding("signature", verdict, "accepted"),
        _ => finding("signature", verdict, answer.words()),
    }
}

fn of_topic(answer: &Answer, topic: &Topic, ordered: bool) -> Finding {
    let subject = format!("topic {topic}");
    if answer.meaning() == Meaning::Missing {
        return finding(subject, Verdict::Bad, answer.words());
    }
    if answer.meaning() == Meaning::Forbidden {
        let detail = format!(
            "{}; a key that may only publish is refused this question too, so make sure it may publish here",
            answer.words()
        );
        return finding(subject, Verdict::Note, detail);
    }
    let kind = if ordered { "an ordered topic" } else { "a normal topic" };
    let detail = format!(
        "its existence and type cannot be asked over the HTTP API; make sure it is {kind} and the key may publish to it"
    );
    finding(subject, Verdict::Note, detail)
}

fn finding(subject: impl Into<String>, verdict: Verdict, detail: impl Into<String>) -> Finding {
    Finding { subject: subject.into(), verdict, detail: detail.into() }
}
