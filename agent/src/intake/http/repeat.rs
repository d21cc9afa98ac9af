//! The answer to a repeat: what is stored of the first one, and what has become of it.

use hyper::Response;
use spillway_protocol::local::{Level, Receipt};

use super::super::Intake;
use super::{Out, json_response, lookup, status_of};

/// The key is the first one's while that is stored here, since that is what is sent.
pub(super) async fn answer(repeat: Receipt, asked: Level, intake: &Intake) -> Response<Out> {
    let (queue, of) = (intake.queue.clone(), repeat.clone());
    let look = move || {
        let Receipt { lane, stream, seq, .. } = &of;
        (queue.key_of(lane, *stream, *seq), queue.find_seq(lane, *stream, *seq))
    };
    let status = status_of(&repeat, asked);
    match tokio::task::spawn_blocking(look).await {
        Ok((key, found)) => {
            let first = Receipt { key: key.unwrap_or(repeat.key), ..repeat };
            json_response(status, first.to_json_with(lookup::place(found).state))
        }
        // What is stored is stored, whatever became of looking.
        Err(_) => json_response(status, repeat.to_json()),
    }
}
