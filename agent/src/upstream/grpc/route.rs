//! What a topic's route says about whether records can go there.

use spillway_protocol::record::Topic;
use spillway_protocol::rocketmq::grpc::code::{Meaning, meaning};
use spillway_protocol::rocketmq::grpc::{request, v2};

use super::answer;
use crate::upstream::access::Trial;
use crate::upstream::{Finding, Verdict};

/// Permissions of the interface that allow writing: WRITE and READ_WRITE.
const WRITABLE: [i32; 2] = [3, 4];

/// The doctor's line on `topic`.
pub(super) fn finding(
    topic: &Topic,
    ordered: bool,
    answer: Result<v2::QueryRouteResponse, String>,
) -> Finding {
    let (verdict, detail) = match answer {
        Err(reason) => (Verdict::Bad, format!("cannot be asked: {reason}")),
        Ok(response) => judge(ordered, &response),
    };
    Finding { subject: format!("topic {topic}"), verdict, detail }
}

/// What became of the key that asked.
pub(super) fn of_key(answer: Result<v2::QueryRouteResponse, String>) -> Trial {
    let status = match answer {
        Err(reason) if reason.contains("Unauthenticated") => return Trial::Refused(reason),
        Err(reason) => return Trial::Unknown(reason),
        Ok(response) => response.status.unwrap_or_default(),
    };
    let said = format!("{}: {}", status.code, answer::brief(&status.message));
    match meaning(status.code, &status.message) {
        Meaning::Credentials => Trial::Refused(said),
        Meaning::Busy | Meaning::Uncertain | Meaning::Stranger | Meaning::Refused => {
            Trial::Unknown(said)
        }
        _ => Trial::Accepted,
    }
}

fn judge(ordered: bool, response: &v2::QueryRouteResponse) -> (Verdict, String) {
    let status = response.status.clone().unwrap_or_default();
    let said = format!("{}: {}", status.code, answer::brief(&status.message));
    match meaning(status.code, &status.message) {
        Meaning::Stored => judge_queues(ordered, &response.message_queues),
        Meaning::TopicMissing => {
            let wanted = request::message_type(ordered).as_str_name();
            // The proxy keeps its answer for 20 seconds.
            let detail = format!(
                "does not exist ({said}); create it with message type {wanted}, \
                 or ask again in half a minute if it is new"
            );
            (Verdict::Bad, detail)
        }
        Meaning::Credentials => (Verdict::Bad, format!("access refused ({said})")),
        _ => (Verdict::Bad, format!("no route ({said})")),
    }
}

fn judge_queues(ordered: bool, queues: &[v2::MessageQueue]) -> (Verdict, String) {
    let writable: Vec<_> =
        queues.iter().filter(|queue| WRITABLE.contains(&queue.permission)).collect();
    let Some(first) = writable.first() else {
        return (Verdict::Bad, "has no queue that may be written to".to_owned());
    };
    let wanted = request::message_type(ordered);
    let names = first
        .accept_message_types()
        .map(|accepted| accepted.as_str_name())
        .collect::<Vec<_>>()
        .join(", ");
    if first.accept_message_types().any(|accepted| accepted == wanted) {
        return (Verdict::Good, format!("{} queues, takes {names}", writable.len()));
    }
    let lane = if ordered { "an ordered" } else { "an unordered" };
    let detail = format!(
        "takes {names}, but {lane} lane sends {}; change the lane's order or re-create the topic",
        wanted.as_str_name()
    );
    (Verdict::Bad, detail)
}
