//! How the access keys stand, in words: by their numbers, which say nothing to others.

use spillway_protocol::local::status::AccessKeys;

use crate::cli::human::duration;

/// Whether there is more to say than that the only one is in use.
pub(super) fn is_news(keys: &AccessKeys) -> bool {
    let one = AccessKeys { in_use: Some(1), of: 1, ..AccessKeys::default() };
    *keys != one
}

/// `2 of 2 in use, ends in 50m; refused: 1`.
pub(super) fn line(keys: &AccessKeys) -> String {
    let mut text = match keys.in_use {
        Some(number) => format!("{number} of {} in use", keys.of),
        None => format!("none of {} in use", keys.of),
    };
    if let Some(left) = keys.expires_in_s {
        text.push_str(&format!(", ends in {}", duration(left)));
    }
    if !keys.refused.is_empty() {
        text.push_str(&format!("; refused: {}", numbers(&keys.refused)));
    }
    if let Some(fault) = &keys.fault {
        text.push_str(&format!("; {fault}"));
    }
    text
}

/// What should be put right before the last key ends. While none is in use the link says so.
pub(super) fn warning(keys: &AccessKeys) -> Option<String> {
    let refused = !keys.refused.is_empty() || keys.fault.is_some();
    (refused && keys.in_use.is_some()).then(|| format!("access key {}", line(keys)))
}

fn numbers(numbers: &[u32]) -> String {
    let texts: Vec<String> = numbers.iter().map(u32::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_in_use_is_no_news_and_a_refused_one_beside_it_is_a_warning() {
        let one = AccessKeys { in_use: Some(1), of: 1, ..AccessKeys::default() };
        assert!(!is_news(&one) && warning(&one).is_none());
        let two = AccessKeys { in_use: Some(2), of: 2, refused: vec![1], ..one.clone() };
        assert_eq!(line(&two), "2 of 2 in use; refused: 1");
        assert_eq!(warning(&two).unwrap(), "access key 2 of 2 in use; refused: 1");
        let fault = Some("credential_command /x: failed".to_owned());
        let ends = AccessKeys { expires_in_s: Some(60), fault, ..one };
        assert_eq!(line(&ends), "1 of 1 in use, ends in 1m; credential_command /x: failed");
        let none = AccessKeys { in_use: None, refused: vec![1, 2], of: 2, ..AccessKeys::default() };
        assert_eq!(line(&none), "none of 2 in use; refused: 1, 2");
        assert!(warning(&none).is_none());
    }
}
