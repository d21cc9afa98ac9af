//! MD5 of bodies. It proves that a body arrived whole, nothing more.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

/// MD5 of a message body as answers carry it: 32 hex digits, upper case as in MQ's own examples.
pub fn body_md5(body: &[u8]) -> String {
    hex(body).to_ascii_uppercase()
}

/// Whether `claimed` is the MD5 of `body`; either case of hex.
pub fn md5_matches(claimed: &str, body: &[u8]) -> bool {
    claimed.eq_ignore_ascii_case(&hex(body))
}

/// The `content-md5` header as the SDKs that send it do: base64 of the *hex digits*, in lower
/// case, not of the 16 bytes. This client leaves the header out; the broker checks it.
pub fn content_md5(request_body: &[u8]) -> String {
    STANDARD.encode(hex(request_body))
}

fn hex(bytes: &[u8]) -> String {
    let digest = Md5::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_of_hex_does_not_matter_but_every_digit_does() {
        let md5 = body_md5(b"hello");
        assert_eq!(md5, "5D41402ABC4B2A76B9719D911017C592");
        assert!(md5_matches(&md5, b"hello"));
        assert!(md5_matches(&md5.to_ascii_lowercase(), b"hello"));
        assert!(!md5_matches(&md5, b"hell"));
        assert!(!md5_matches(&md5[1..], b"hello"));
        assert!(!md5_matches("", b"hello"));
    }

    #[test]
    fn the_header_is_base64_of_hex() {
        assert_eq!(content_md5(b"hello"), STANDARD.encode("5d41402abc4b2a76b9719d911017c592"));
    }
}
