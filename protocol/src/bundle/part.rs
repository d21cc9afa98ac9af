//! One record of a bundle.

use bytes::Bytes;
use uuid::Uuid;

use super::BundleError;
use super::bytes::{Reader, Writer};

/// The id is 16 bytes of a UUID.
const UUID: u8 = 1;
/// A key of its own follows.
const KEY: u8 = 2;
/// Properties follow.
const PROPERTIES: u8 = 4;
/// A traceparent follows in 25 bytes.
const TRACE: u8 = 8;
/// Flags follow.
const FLAGS: u8 = 16;
/// The gateway's clock was not set.
const UNSET: u8 = 32;
/// Bits that mean something.
const KNOWN: u8 = UUID | KEY | PROPERTIES | TRACE | FLAGS | UNSET;

/// The property that travels in 25 bytes where it has the usual form.
const TRACEPARENT: &str = "traceparent";

/// A record in a bundle: what its message would say of it, were it alone in it, but for what all
/// records of the bundle share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Its id.
    pub id: String,
    /// KEYS, where it is not the id.
    pub key: Option<String>,
    /// `sw_seq`.
    pub seq: u64,
    /// `sw_at`, without the mark.
    pub accepted_ms: u64,
    /// Whether the gateway's clock had been set.
    pub clock_set: bool,
    /// `sw_flags`; empty if there are none.
    pub flags: String,
    /// The app's properties.
    pub properties: Vec<(String, String)>,
    /// The app's body.
    pub body: Bytes,
}

/// The numbers of the record before, of which each record says only how its own differ.
#[derive(Default)]
pub(super) struct Before {
    seq: u64,
    accepted_ms: u64,
}

impl Part {
    pub(super) fn write(&self, before: &mut Before, out: &mut Writer) {
        let uuid = uuid(&self.id);
        let is_trace = |(name, _): &&(String, String)| name == TRACEPARENT;
        let trace = self.properties.iter().find(is_trace).and_then(|(_, value)| trace(value));
        let named = |pair: &&(String, String)| trace.is_none() || !is_trace(pair);
        let properties: Vec<_> = self.properties.iter().filter(named).collect();
        let bits = [
            (UUID, uuid.is_some()),
            (KEY, self.key.is_some()),
            (PROPERTIES, !properties.is_empty()),
            (TRACE, trace.is_some()),
            (FLAGS, !self.flags.is_empty()),
            (UNSET, !self.clock_set),
        ];
        out.byte(bits.iter().filter(|(_, set)| *set).fold(0, |all, (bit, _)| all | bit));
        out.step(before.seq, self.seq);
        out.step(before.accepted_ms, self.accepted_ms);
        *before = Before { seq: self.seq, accepted_ms: self.accepted_ms };
        match uuid {
            Some(uuid) => out.raw(uuid.as_bytes()),
            None => out.sized(self.id.as_bytes()),
        }
        self.key.iter().for_each(|key| out.sized(key.as_bytes()));
        trace.iter().for_each(|trace| out.raw(trace));
        if !self.flags.is_empty() {
            out.sized(self.flags.as_bytes());
        }
        if !properties.is_empty() {
            out.number(properties.len() as u64);
        }
        for (name, value) in properties {
            out.sized(name.as_bytes());
            out.sized(value.as_bytes());
        }
        out.sized(&self.body);
    }

    pub(super) fn read(before: &mut Before, from: &mut Reader<'_>) -> Result<Self, BundleError> {
        let bits = from.byte("a record")?;
        if bits & !KNOWN != 0 {
            return Err(BundleError::Form(
                "a record of it has a form that this build does not know",
            ));
        }
        let has = |bit: u8| bits & bit != 0;
        let seq = from.step(before.seq, "a record's number")?;
        if seq == 0 {
            return Err(BundleError::Form("a record of it has the number 0"));
        }
        let accepted_ms = from.step(before.accepted_ms, "a record's time")?;
        *before = Before { seq, accepted_ms };
        let id = if has(UUID) { uuid_text(from)? } else { from.text("a record's id")? };
        let key = has(KEY).then(|| from.text("a record's key")).transpose()?;
        let trace = has(TRACE).then(|| trace_text(from)).transpose()?;
        let flags = has(FLAGS).then(|| from.text("a record's flags")).transpose()?;
        let mut properties = if has(PROPERTIES) { properties(from)? } else { Vec::new() };
        properties.extend(trace.map(|trace| (TRACEPARENT.to_owned(), trace)));
        let flags = flags.unwrap_or_default();
        let body = from.sized("a record's body")?;
        let clock_set = !has(UNSET);
        Ok(Self { id, key, seq, accepted_ms, clock_set, flags, properties, body })
    }
}

fn properties(from: &mut Reader<'_>) -> Result<Vec<(String, String)>, BundleError> {
    let count = from.number("a record's properties")?;
    // Each takes two bytes at least, so a count from anybody ends with what there is.
    let pair = |from: &mut Reader<'_>| Ok((from.text("a property")?, from.text("a property")?));
    (0..count).map(|_| pair(from)).collect()
}

/// The UUID of an id in the form that [`uuid_text`] gives back.
fn uuid(id: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(id).ok()?;
    (uuid.to_string() == id).then_some(uuid)
}

fn uuid_text(from: &mut Reader<'_>) -> Result<String, BundleError> {
    let bytes = from.raw(16, "a record's id")?;
    let uuid = Uuid::from_slice(&bytes).map_err(|_| BundleError::Cut("a record's id"))?;
    Ok(uuid.to_string())
}

/// Trace, span and flags of a traceparent in the form that [`trace_text`] gives back.
fn trace(text: &str) -> Option<Vec<u8>> {
    let inner = text.strip_prefix("00-")?;
    let digits: Vec<u8> = inner.bytes().filter(|byte| *byte != b'-').collect();
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let bytes: Option<Vec<u8>> =
        digits.chunks(2).map(|two| Some(value(two[0])? << 4 | value(*two.get(1)?)?)).collect();
    bytes.filter(|bytes| bytes.len() == 25 && spelled(bytes) == text)
}

fn trace_text(from: &mut Reader<'_>) -> Result<String, BundleError> {
    Ok(spelled(&from.raw(25, "a record's trace")?))
}

fn spelled(trace: &[u8]) -> String {
    let hex: String = trace.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("00-{}-{}-{}", &hex[..32], &hex[32..48], &hex[48..])
}
