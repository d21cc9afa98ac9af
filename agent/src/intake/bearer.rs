//! Tokens that requests bring: `Authorization: Bearer TOKEN`. Pure.

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};

/// Digests are compared, so that the time it takes tells nothing of a token.
pub(crate) type Digest = [u8; 32];

pub(crate) fn digest(token: &str) -> Digest {
    Sha256::digest(token).into()
}

/// The token that a request brings.
pub(crate) fn brought(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = only(headers, &AUTHORIZATION)?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The header's value, if it is a text and there is one.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let name = |name: &str| name.parse::<HeaderName>().unwrap();
        pairs.iter().map(|(n, value)| (name(n), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_token_stands_behind_bearer_once() {
        let brought = |values: &[&str]| {
            let pairs: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
            super::brought(&headers(&pairs)).map(str::to_owned)
        };
        assert_eq!(brought(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(brought(&["bearer  abc "]).as_deref(), Some("abc"));
        for none in [&[][..], &["abc"], &["Basic abc"], &["Bearer"], &["Bearer "], &["Bearer a"; 2]]
        {
            assert_eq!(brought(none), None, "{none:?}");
        }
    }
}
