//! What of a request fits into memory while it is received and read.

use spillway_protocol::local::json::{self, JSON_MAX, UNESCAPED_MAX};
use spillway_protocol::local::{Code, Refusal};
use spillway_protocol::record::BODY_MAX;

use super::Form;
use crate::intake::admission::{Held, overloaded};
use crate::intake::{Intake, body};

/// Most bytes that a request may have beside its head, and what one with more is told: coming back
/// later would not help.
pub(super) fn request_max(form: Form, intake: &Intake) -> (usize, fn(usize) -> Refusal) {
    match form {
        // With as many escapes as there can be, reading takes 7/24 of it once more.
        Form::Json => (JSON_MAX.min(intake.budget.max_bytes() / 31 * 24), request_too_long),
        _ => (BODY_MAX, body::too_long),
    }
}

fn request_too_long(max: usize) -> Refusal {
    let message = format!(
        "the request has more than {max} bytes; send the record as application/octet-stream, where \
         nothing is escaped"
    );
    Refusal::new(Code::TooLarge, message)
}

fn too_large_for_memory() -> Refusal {
    let message = "the request is larger as JSON than [limits] memory allows; send the record as \
                   application/octet-stream, or raise the limit";
    Refusal::new(Code::TooLarge, message)
}

/// What reading `text` takes beside it: its texts unescaped, and three quarters of that once more
/// where the body is base64.
pub(super) fn hold_for_reading(
    text: &[u8],
    held: &mut Held,
    intake: &Intake,
) -> Result<(), Refusal> {
    let unescaped = json::unescaped_bytes(text);
    if unescaped > UNESCAPED_MAX {
        return Err(body::too_long(BODY_MAX));
    }
    let cost = text.len() + unescaped / 4 * 7;
    if cost > intake.budget.max_bytes() {
        return Err(too_large_for_memory());
    }
    if held.try_resize(cost) { Ok(()) } else { Err(overloaded()) }
}
