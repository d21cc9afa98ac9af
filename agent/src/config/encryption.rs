//! The keys under which records are sealed on disk.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::load::Surroundings;
use super::secret::{self, Secrecy};
use super::section::Section;
use super::tree::Value;

const KEY_BYTES: usize = 32;
/// A random key has about thirty different bytes.
const DIFFERENT_LEAST: usize = 8;
const MAKE: &str = "make one with openssl rand -hex 32";
const FORMER: &str = "[{ file = \"/path\" }]";

/// A key. No `Debug`, log or error shows it, and it leaves no copy of itself in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKey(Zeroizing<[u8; KEY_BYTES]>);

impl EncryptionKey {
    /// Reads 64 hex digits or base64.
    ///
    /// # Errors
    /// What is wrong with it, without showing any of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = Zeroizing::new(hex(text).or_else(|| STANDARD.decode(text).ok()));
        let Some(bytes) = bytes.as_deref() else {
            return Err("is neither hex digits nor base64".to_owned());
        };
        let Ok(key) = <[u8; KEY_BYTES]>::try_from(bytes) else {
            return Err(format!("has {} bytes, a key {KEY_BYTES}", bytes.len()));
        };
        let key = Zeroizing::new(key);
        let mut different = *key;
        different.sort_unstable();
        match different.chunk_by(|a, b| a == b).count() {
            0..DIFFERENT_LEAST => Err("is not random".to_owned()),
            _ => Ok(Self(key)),
        }
    }

    /// The key itself.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 2 * KEY_BYTES {
        return None;
    }
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let digits = std::str::from_utf8(pair).ok().filter(|text| !text.starts_with('+'))?;
        u8::from_str_radix(digits, 16).ok()
    };
    pairs.iter().map(byte).collect()
}

/// `encryption_key` and `former_keys`.
pub(super) fn keys(
    section: &Section<'_>,
    surroundings: &Surroundings,
) -> (Option<EncryptionKey>, Vec<EncryptionKey>) {
    let key = |name: &str, text: Option<String>| {
        let text = Zeroizing::new(text?);
        let key = EncryptionKey::parse(&text);
        key.map_err(|problem| section.fault(name, problem, MAKE)).ok()
    };
    let current = secret::read(section, "encryption_key", Secrecy::Secret, surroundings);
    let current = key("encryption_key", current);
    let mut former = Vec::new();
    match section.node("former_keys").map(|node| &node.value) {
        None => {}
        Some(Value::List(items)) => {
            for item in items {
                let name = "former_keys";
                let text = secret::of_node(section, name, item, Secrecy::Secret, surroundings);
                former.extend(key(name, text));
            }
        }
        Some(other) => {
            let problem = format!("is {}, not a list", other.kind());
            section.fault("former_keys", problem, format!("write for example {FORMER}"));
        }
    }
    if current.iter().any(|current| former.contains(current)) {
        let remedy = "leave it out there, or give encryption_key a new one";
        section.fault("former_keys", "lists the present encryption_key", remedy);
    }
    if current.is_none() && section.node("encryption_key").is_none() && !former.is_empty() {
        let message = "stand without an encryption_key: records are stored as they are from now on";
        section.warn("former_keys", message);
    }
    (current, former)
}
