//! How the commands show records.

use super::human;
use crate::control::api::{Content, Record};

/// Keys, properties and body below a record's line, indented.
pub(super) fn content(content: &Content) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        text.push_str(&format!("    {name}: {}\n", human::line(value)));
    };
    for (name, value) in [("key", &content.key), ("order key", &content.order_key)] {
        if let Some(value) = value {
            line(name, value);
        }
    }
    for (name, value) in &content.properties {
        line(&format!("property {}", human::line(name)), value);
    }
    match (&content.body, &content.body_base64) {
        (Some(body), _) => line("body", body),
        (None, Some(body)) => line("body (base64)", body),
        (None, None) => {}
    }
    text
}

/// A table of records with the content of each below its row.
pub(super) fn interleave<'a>(
    table: &str,
    contents: impl Iterator<Item = Option<&'a Content>>,
) -> String {
    // The heading has no content.
    let contents = std::iter::once(None).chain(contents);
    let row = |(row, below): (&str, Option<&Content>)| {
        format!("{row}\n{}", below.map(content).unwrap_or_default())
    };
    table.lines().zip(contents).map(row).collect()
}

/// When a record was accepted; `~` where the clock had not been set.
pub(super) fn accepted(record: &Record) -> String {
    let mark = if record.clock_set { "" } else { "~" };
    format!("{mark}{}", human::time(record.accepted_ms))
}

/// `name=value` pairs as the query of a request.
pub(super) fn query(pairs: &[(&str, Option<String>)]) -> String {
    let given = pairs.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let parts: Vec<String> =
        given.map(|(name, value)| format!("{name}={}", escape(value))).collect();
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

/// Percent-encodes what is not plain in a URL.
pub(super) fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_holds_what_was_given_and_escapes_it() {
        let pairs =
            [("lane", None), ("reason", Some("a b&c=ü".to_owned())), ("n", Some("1".into()))];
        assert_eq!(query(&pairs), "?reason=a%20b%26c%3D%C3%BC&n=1");
        assert_eq!(query(&[("lane", None)]), "");
    }

    #[test]
    fn content_is_shown_on_lines_of_its_own() {
        let content = Content {
            key: Some("k".into()),
            order_key: None,
            properties: [("unit".to_owned(), "C".to_owned())].into(),
            body: Some("a\nb".into()),
            body_base64: None,
        };
        assert_eq!(super::content(&content), "    key: k\n    property unit: C\n    body: a b\n");
    }
}
