//! Receiving the body of one record, within its limit, the budget and the clock.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use spillway_protocol::local::{Code, Refusal};
use tokio::time::{Instant, timeout, timeout_at};

use super::Intake;
use super::admission::{Held, overloaded};

/// What is read and thrown away of a body that was refused, so that a client which reads only
/// after it has written still sees why.
const DRAIN_BYTES: usize = 64 * 1024 * 1024;
/// How long that may take.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Receives a body of at most `max` bytes; one that announces more is refused at once, in the words
/// of `too_long`.
pub(super) async fn receive(
    body: &mut Incoming,
    (max, too_long): (usize, impl Fn(usize) -> Refusal),
    intake: &Intake,
) -> Result<(Bytes, Held), Refusal> {
    let announced = body.size_hint().lower();
    if announced > max as u64 {
        return Err(too_long(max));
    }
    let mut held = intake.budget.empty();
    let mut whole = BytesMut::with_capacity(usize::try_from(announced).unwrap_or(0));
    let deadline = Instant::now() + intake.options.body_max;
    loop {
        let pause_max = intake.options.pause_max;
        let next = timeout_at(deadline, timeout(pause_max, body.frame())).await;
        let Ok(Ok(next)) = next else {
            let message = "the body stopped coming; send it again in one go";
            return Err(Refusal::new(Code::Timeout, message));
        };
        let Some(frame) = next else {
            return Ok((whole.freeze(), held));
        };
        let frame = frame.map_err(|error| broken(&error))?;
        let Ok(chunk) = frame.into_data() else {
            continue; // Trailers say nothing here.
        };
        if whole.len() + chunk.len() > max {
            return Err(too_long(max));
        }
        if !held.try_resize(whole.len() + chunk.len()) {
            return Err(overloaded());
        }
        whole.extend_from_slice(&chunk);
    }
}

/// Reads the rest of a refused body and throws it away, beside the answer.
pub(super) fn drain(mut body: Incoming) {
    let rest = async move {
        let mut seen = 0;
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, Bytes::len);
            if seen > DRAIN_BYTES {
                return;
            }
        }
    };
    tokio::spawn(timeout(DRAIN_MAX, rest));
}

/// The refusal of a body of more than `max` bytes.
pub(super) fn too_long(max: usize) -> Refusal {
    Refusal::of("body", Code::TooLarge, format!("has more than {max} bytes; split it"))
}

fn broken(error: &hyper::Error) -> Refusal {
    let message = format!("the body broke off: {error}");
    Refusal::new(Code::Malformed, message)
}
