//! Signing pages and opening signed ones.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::{Envelope, PAGE_BYTES_MAX, Page, REQUEST_ID_MAX};

/// Before the payload in what is signed, so that a signature made for something else never fits.
const CONTEXT: &[u8] = b"spillway-control-1\n";
/// Length of a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// Length of the secret that a key is made of.
pub const SEED_BYTES: usize = 32;

/// The centre's public key, as gateways are told it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_KEY_BYTES]);

/// Signs pages.
pub struct Sealer(Ed25519KeyPair);

/// A page could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The secret has another length.
    #[error("the secret key is not one: it has to be {SEED_BYTES} bytes; make one with keygen")]
    Seed,
    /// It would not be read.
    #[error(
        "the page of {gateway} has {bytes} bytes, and gateways read {PAGE_BYTES_MAX}; put fewer \
         requests on it"
    )]
    TooLarge {
        /// Whose.
        gateway: String,
        /// How large.
        bytes: usize,
    },
    /// Never: text and numbers always have a JSON form.
    #[error("the page has no JSON form: {0}")]
    Json(#[from] serde_json::Error),
}

/// What was pulled is not a page that the centre signed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not an envelope.
    #[error("it is no signed page ({0}); see that [control] url leads to the centre")]
    Envelope(serde_json::Error),
    /// Signed by somebody else, or changed since.
    #[error(
        "its signature is not that of [control] public_key; put the centre's key there, or see \
         who answers in its place"
    )]
    Signature,
    /// Signed, but no page.
    #[error("the centre signed what is no page: {0}; see that centre and agent fit together")]
    Page(String),
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl std::str::FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = STANDARD.decode(text).map_err(|error| format!("is not base64: {error}"))?;
        let length = bytes.len();
        let wrong = |_| format!("has {length} bytes, and an Ed25519 key has {PUBLIC_KEY_BYTES}");
        bytes.try_into().map(Self).map_err(wrong)
    }
}

impl PublicKey {
    /// The page in an envelope, if it is signed with this key.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing of what it holds may then be done.
    pub fn open(&self, envelope: &[u8]) -> Result<Page, OpenError> {
        let envelope: Envelope = serde_json::from_slice(envelope).map_err(OpenError::Envelope)?;
        let signature = STANDARD.decode(&envelope.signature).map_err(|_| OpenError::Signature)?;
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        key.verify(&signed(&envelope.payload), &signature).map_err(|_| OpenError::Signature)?;
        let page: Page = serde_json::from_str(&envelope.payload)
            .map_err(|error| OpenError::Page(error.to_string()))?;
        let length = |id: &str| (1..=REQUEST_ID_MAX).contains(&id.len());
        match page.requests.iter().find(|request| !length(&request.id)) {
            Some(wrong) => Err(OpenError::Page(format!("a request's id is {:?}", wrong.id))),
            None => Ok(page),
        }
    }
}

impl Sealer {
    /// From the secret that the key is made of: [`SEED_BYTES`] random bytes.
    ///
    /// # Errors
    /// It has another length.
    pub fn from_seed(seed: &[u8]) -> Result<Self, SealError> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| SealError::Seed)
    }

    /// The other half of the key, for gateways.
    pub fn public_key(&self) -> PublicKey {
        let mut key = [0; PUBLIC_KEY_BYTES];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    /// The page as it is served. One page has one form: the same bytes each time.
    ///
    /// # Errors
    /// It is too large.
    pub fn seal(&self, page: &Page) -> Result<Vec<u8>, SealError> {
        let payload = serde_json::to_string(page)?;
        let signature = STANDARD.encode(self.0.sign(&signed(&payload)));
        let envelope = serde_json::to_vec(&Envelope { payload, signature })?;
        match envelope.len() {
            ..=PAGE_BYTES_MAX => Ok(envelope),
            bytes => Err(SealError::TooLarge { gateway: page.gateway.clone(), bytes }),
        }
    }
}

fn signed(payload: &str) -> Vec<u8> {
    [CONTEXT, payload.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::super::Request;
    use super::*;

    const VECTOR: &str = include_str!("../../vectors/control.json");

    fn sealer() -> Sealer {
        Sealer::from_seed(&[7; SEED_BYTES]).unwrap()
    }

    fn page() -> Page {
        let request = |id: &str, from, to| Request {
            id: id.into(),
            lane: "critical".into(),
            stream: "00c0ffee".into(),
            from,
            to,
        };
        let requests = vec![request("r-1", 41, 43), request("r-2", 50, 50)];
        Page { gateway: "gw-0042".into(), serial: 1_700_000_000_123, requests }
    }

    #[test]
    fn the_vector_is_what_the_key_of_32_sevens_signs() {
        let sealed = String::from_utf8(sealer().seal(&page()).unwrap()).unwrap();
        assert_eq!(sealed, VECTOR.trim_end());
        let key: PublicKey = "6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=".parse().unwrap();
        assert_eq!(key, sealer().public_key());
        assert_eq!(key.open(VECTOR.as_bytes()).unwrap(), page());
    }

    #[test]
    fn what_is_changed_or_signed_by_another_is_not_opened() {
        let key = sealer().public_key();
        let changed = VECTOR.replace("43", "44");
        assert!(matches!(key.open(changed.as_bytes()), Err(OpenError::Signature)));
        let other = Sealer::from_seed(&[8; SEED_BYTES]).unwrap();
        let foreign = other.seal(&page()).unwrap();
        assert!(matches!(key.open(&foreign), Err(OpenError::Signature)));
        // Signed with the right key, but for another purpose.
        let mut bare: Envelope = serde_json::from_str(VECTOR).unwrap();
        bare.signature = STANDARD.encode(sealer().0.sign(bare.payload.as_bytes()));
        let bare = serde_json::to_vec(&bare).unwrap();
        assert!(matches!(key.open(&bare), Err(OpenError::Signature)));
        for junk in ["", "<html>", "{}", "{\"payload\":\"{}\",\"signature\":\"\"}"] {
            assert!(key.open(junk.as_bytes()).is_err(), "{junk}");
        }
    }

    #[test]
    fn a_request_without_an_id_spoils_its_page() {
        for id in [String::new(), "x".repeat(REQUEST_ID_MAX + 1)] {
            let mut page = page();
            page.requests[1].id = id;
            let sealed = sealer().seal(&page).unwrap();
            let opened = sealer().public_key().open(&sealed);
            assert!(matches!(opened, Err(OpenError::Page(_))), "{opened:?}");
        }
    }

    #[test]
    fn a_page_that_no_gateway_would_read_is_not_signed() {
        let mut page = page();
        page.requests = vec![page.requests[0].clone(); 1000];
        assert!(matches!(sealer().seal(&page), Err(SealError::TooLarge { .. })));
        assert!(matches!(Sealer::from_seed(&[1; 31]), Err(SealError::Seed)));
    }

    #[test]
    fn a_public_key_is_32_bytes_in_base64() {
        assert!("not base64!".parse::<PublicKey>().unwrap_err().contains("base64"));
        assert!("AAAA".parse::<PublicKey>().unwrap_err().contains("has 3 bytes"));
    }
}
