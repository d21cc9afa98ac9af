//! Standard output and error. A reader that has gone away (`| head`) is no error.

use std::io::Write;

/// Writes to standard output.
pub(super) fn out(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes to standard error.
pub(super) fn err(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Pretty JSON with a line end.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    // Names, texts and numbers: this cannot fail.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}
