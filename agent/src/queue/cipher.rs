//! The keys under which packs and tables of ids are sealed: XChaCha20-Poly1305, one key for new
//! ones and former ones to read what they sealed ([ADR 13]).
//!
//! A key is known by its id, four bytes of a digest, which stands beside what it sealed. So what
//! cannot be read for want of a key is told from what is damaged.
//!
//! [ADR 13]: ../../../docs/adr/0013-packs-are-compressed-then-sealed.md

use std::fmt;
use std::io;
use std::sync::Arc;

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes before what is sealed.
pub(super) const NONCE_BYTES: usize = 24;
/// Bytes behind it.
pub(super) const TAG_BYTES: usize = 16;

const NAME_OF_ID: &[u8] = b"spillway encryption key id, version 1\n";
const NAME_OF_MASK: &[u8] = b"spillway mask of ids, version 1\n";

/// Names a key without telling anything of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(super) u32);

impl KeyId {
    /// Of a key.
    pub fn of(key: &[u8; KEY_BYTES]) -> Self {
        let digest = digest(NAME_OF_ID, key);
        Self(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Why something is there and cannot be read. It is kept, and nothing is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "sealed with the key {0}, which this agent does not have; add that key to [gateway] former_keys"
)]
pub(super) struct KeyMissing(pub(super) KeyId);

impl From<KeyMissing> for io::Error {
    fn from(missing: KeyMissing) -> Self {
        Self::other(missing)
    }
}

impl KeyMissing {
    /// Whether this is why.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

/// The keys of a queue; none by default. Cheap to clone.
#[derive(Clone, Default)]
pub struct Keys(Arc<Inner>);

#[derive(Default)]
struct Inner {
    current: Option<Arc<Key>>,
    former: Vec<Arc<Key>>,
}

/// One of them.
pub(super) struct Key {
    pub(super) id: KeyId,
    cipher: XChaCha20Poly1305,
    mask: Zeroizing<[u8; 32]>,
}

/// Shows no key, only which there are.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = |key: &Arc<Key>| key.id.to_string();
        f.debug_struct("Keys")
            .field("current", &self.0.current.as_ref().map(ids))
            .field("former", &self.0.former.iter().map(ids).collect::<Vec<_>>())
            .finish()
    }
}

impl Keys {
    /// `current` seals what is written from now on, if there is one; all of them open.
    pub fn new<'a>(
        current: Option<&'a [u8; KEY_BYTES]>,
        former: impl IntoIterator<Item = &'a [u8; KEY_BYTES]>,
    ) -> Self {
        let key = |bytes| Arc::new(Key::new(bytes));
        let former = former.into_iter().map(key).collect();
        Self(Arc::new(Inner { current: current.map(key), former }))
    }

    /// Whether what is written from now on is sealed.
    pub(super) fn seals(&self) -> bool {
        self.0.current.is_some()
    }

    /// The same ones, of which none seals.
    pub fn to_read(&self) -> Self {
        let all = self.0.current.iter().chain(&self.0.former).cloned().collect();
        Self(Arc::new(Inner { current: None, former: all }))
    }

    /// The one that seals.
    pub(super) fn current(&self) -> Option<&Arc<Key>> {
        self.0.current.as_ref()
    }

    /// The one with this id.
    pub(super) fn find(&self, id: KeyId) -> Result<&Arc<Key>, KeyMissing> {
        let mut all = self.0.current.iter().chain(&self.0.former);
        all.find(|key| key.id == id).ok_or(KeyMissing(id))
    }
}

impl Key {
    fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        Self {
            id: KeyId::of(bytes),
            cipher: XChaCha20Poly1305::new(bytes.into()),
            mask: digest(NAME_OF_MASK, bytes),
        }
    }

    /// Seals `text` where it stands, beside the `head` that belongs to it, and says the nonce and
    /// the tag. The nonce comes from the system each time, whatever seed the queue was opened with:
    /// none may be there twice under one key.
    pub(super) fn seal(
        &self,
        head: &[u8],
        text: &mut [u8],
    ) -> io::Result<([u8; NONCE_BYTES], [u8; TAG_BYTES])> {
        let mut nonce = [0; NONCE_BYTES];
        SysRng.try_fill_bytes(&mut nonce).map_err(io::Error::other)?;
        let sealed =
            self.cipher.encrypt_inout_detached(&XNonce::from(nonce), head, InOutBuf::from(text));
        let tag = sealed.map_err(|_| io::Error::other("a pack is too long to be sealed"))?;
        Ok((nonce, tag.into()))
    }

    /// Opens `text` where it stands. `None`: this key did not seal it beside this head.
    pub(super) fn open(
        &self,
        head: &[u8],
        nonce: &[u8; NONCE_BYTES],
        text: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Option<()> {
        let (nonce, tag) = (XNonce::from(*nonce), Tag::from(*tag));
        self.cipher.decrypt_inout_detached(&nonce, head, InOutBuf::from(text), &tag).ok()
    }

    /// What stands for the hash of an id in a table, and what its other column is mixed with. One
    /// block of SHA-256 with a secret before a text of one length: nobody without the key can say
    /// whether an id that he guesses is there.
    pub(super) fn mask(&self, id: &[u8; 16]) -> ([u8; 16], u64) {
        let digest = Sha256::new().chain_update(&self.mask[..]).chain_update(id).finalize();
        let (mut hash, mut mix) = ([0; 16], [0; 8]);
        hash.copy_from_slice(&digest[..16]);
        mix.copy_from_slice(&digest[16..24]);
        (hash, u64::from_le_bytes(mix))
    }
}

fn digest(name: &[u8], key: &[u8; KEY_BYTES]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(Sha256::new().chain_update(name).chain_update(key).finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: [u8; KEY_BYTES] = [1; KEY_BYTES];
    const OTHER: [u8; KEY_BYTES] = [2; KEY_BYTES];

    #[test]
    fn what_is_sealed_opens_under_its_key_and_beside_its_head_only() {
        let keys = Keys::new(Some(&ONE), [&OTHER]);
        let (one, other) = (keys.current().unwrap(), keys.find(KeyId::of(&OTHER)).unwrap());
        let mut text = *b"text";
        let (nonce, tag) = one.seal(b"head", &mut text).unwrap();
        assert_ne!(&text, b"text");
        let open = |key: &Key, head: &[u8]| {
            let mut sealed = text;
            key.open(head, &nonce, &mut sealed, &tag).map(|()| sealed)
        };
        assert_eq!(open(one, b"head"), Some(*b"text"));
        assert_eq!((open(one, b"heap"), open(other, b"head")), (None, None));
    }

    #[test]
    fn the_same_text_is_never_sealed_under_the_same_nonce() {
        let keys = Keys::new(Some(&ONE), []);
        let nonce = || keys.current().unwrap().seal(b"", &mut [0; 8]).unwrap().0;
        let nonces: std::collections::HashSet<_> = (0..1000).map(|_| nonce()).collect();
        assert_eq!(nonces.len(), 1000);
    }

    #[test]
    fn a_key_is_known_by_its_id_and_not_shown() {
        let keys = Keys::new(Some(&ONE), [&OTHER]);
        let missing = KeyId::of(&[3; KEY_BYTES]);
        assert_eq!(keys.find(missing).err(), Some(KeyMissing(missing)));
        let shown = format!("{keys:?} {:?}", KeyMissing::of(&KeyMissing(missing).into()).unwrap());
        assert!(shown.contains(&KeyId::of(&ONE).to_string()), "{shown}");
        assert!(!shown.contains("1, 1, 1") && !shown.contains("010101"), "{shown}");
        assert_eq!(KeyId::of(&ONE).to_string(), "25c5ffc3");
    }

    #[test]
    fn what_stands_for_an_id_depends_on_the_key() {
        let keys = Keys::new(Some(&ONE), [&OTHER]);
        let (one, other) = (keys.current().unwrap(), keys.find(KeyId::of(&OTHER)).unwrap());
        assert_eq!(one.mask(&[7; 16]), one.mask(&[7; 16]));
        assert_ne!(one.mask(&[7; 16]).0, other.mask(&[7; 16]).0);
        assert_ne!(one.mask(&[7; 16]).1, one.mask(&[8; 16]).1);
    }
}
