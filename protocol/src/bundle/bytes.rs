//! Numbers and texts of a bundle: LEB128, and lengths before what has one.

use bytes::Bytes;

use super::BundleError;

/// Appends.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Seven bits a byte, the lowest first; all but the last have their highest bit set.
    pub(super) fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.byte((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    /// How `to` differs from `from`: 0, -1, 1, -2 ... as 0, 1, 2, 3 ...
    pub(super) fn step(&mut self, from: u64, to: u64) {
        let step = to.wrapping_sub(from).cast_signed();
        self.number(((step << 1) ^ (step >> 63)).cast_unsigned());
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// With its length before it.
    pub(super) fn sized(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }
}

/// Takes apart; never more than there is.
pub(super) struct Reader<'a> {
    content: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(content: &'a Bytes) -> Self {
        Self { content, at: 0 }
    }

    /// How much of it is read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.content.len()
    }

    /// The next `count` bytes, of `what`.
    pub(super) fn raw(&mut self, count: u64, what: &'static str) -> Result<Bytes, BundleError> {
        let left = self.content.len() - self.at;
        let count = usize::try_from(count).ok().filter(|count| *count <= left);
        let end = self.at + count.ok_or(BundleError::Cut(what))?;
        let bytes = self.content.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self, what: &'static str) -> Result<u8, BundleError> {
        let byte = *self.content.get(self.at).ok_or(BundleError::Cut(what))?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn number(&mut self, what: &'static str) -> Result<u64, BundleError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(BundleError::Form("a number of it has more than 64 bits"))
    }

    /// What [`Writer::step`] wrote.
    pub(super) fn step(&mut self, from: u64, what: &'static str) -> Result<u64, BundleError> {
        let number = self.number(what)?;
        let step = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
        Ok(from.wrapping_add(step.cast_unsigned()))
    }

    pub(super) fn sized(&mut self, what: &'static str) -> Result<Bytes, BundleError> {
        let count = self.number(what)?;
        self.raw(count, what)
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<String, BundleError> {
        let bytes = self.sized(what)?;
        let text = std::str::from_utf8(&bytes);
        text.map(str::to_owned).map_err(|_| BundleError::Form("a text of it is not UTF-8"))
    }
}
