//! Lines out of an answer that does not end.

use http_body_util::BodyExt;
use hyper::body::Incoming;

/// See the module.
pub(super) struct Lines {
    body: Incoming,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
}

impl Lines {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, begun: Vec::new() }
    }

    /// The lines that came together, without their ends; `None` once there are no more. May be
    /// dropped before it is done.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, hyper::Error> {
        let Some(frame) = self.body.frame().await.transpose()? else { return Ok(None) };
        let data = frame.into_data().unwrap_or_default();
        Ok(Some(split(&mut self.begun, &data)))
    }
}

/// Lines that are whole; the rest of `data` stays in `begun`.
fn split(begun: &mut Vec<u8>, data: &[u8]) -> Vec<Vec<u8>> {
    begun.extend_from_slice(data);
    let Some(last) = begun.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
    let rest = begun.split_off(last + 1);
    let whole = std::mem::replace(begun, rest);
    let lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_come_in_parts_and_several_at_once() {
        let mut begun = Vec::new();
        let mut came = |data: &str| {
            let lines = split(&mut begun, data.as_bytes());
            lines.into_iter().map(|line| String::from_utf8(line).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(came("\n"), Vec::<String>::new());
        assert_eq!(came("a"), Vec::<String>::new());
        assert_eq!(came("b\nc\nd"), ["ab", "c"]);
        assert_eq!(came("\n"), ["d"]);
    }
}
