//! A record on its way to its lane's thread. Whoever brings it encodes it and hashes its id: the
//! thread that everybody waits for does as little as it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use spillway_protocol::message::Flags;
use spillway_protocol::record::{IdOrigin, MessageKey, Record, RecordId};
use tokio::sync::oneshot;

use super::answers::{Answers, Tag};
use super::api::{AppendError, Receipt};
use super::entry::{self, Copied, Stored};
use super::ids::Print;
use crate::clock::WallClock;

/// Answers one record, and counts it among those that wait until it is dropped. Dropped without an
/// answer, it says that the agent stops.
pub(super) struct Answer {
    to: Option<To>,
    _waiting: Waiting,
}

/// Who is answered.
pub(super) enum To {
    /// The holder of a ticket.
    One(oneshot::Sender<Result<Receipt, AppendError>>),
    /// One who brought others too.
    Many(Answers, Tag),
}

impl Answer {
    pub(super) fn new(to: To, waiting: Waiting) -> Self {
        Self { to: Some(to), _waiting: waiting }
    }

    /// Who has hung up gets no answer; a record that was stored is stored all the same.
    pub(super) fn send(self, result: Result<Receipt, AppendError>) {
        self.leave(result).iter().for_each(Answers::wake);
    }

    /// The same, but one who waits for many is only woken by the caller.
    pub(super) fn leave(mut self, result: Result<Receipt, AppendError>) -> Option<Answers> {
        match self.to.take()? {
            To::One(sender) => {
                drop(sender.send(result));
                None
            }
            To::Many(answers, tag) => answers.add(tag, result).then_some(answers),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // The other kind notices by itself.
        if let Some(To::Many(answers, tag)) = self.to.take() {
            answers.put(tag, Err(AppendError::Stopping));
        }
    }
}

/// Bytes of records that wait for the disk, whether or not anybody still waits for the answer.
#[derive(Default)]
pub(super) struct Waiting {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Waiting {
    /// Counts `bytes` into `all`, unless that would exceed `max_bytes`.
    pub(super) fn enter(all: &Arc<AtomicUsize>, bytes: usize, max_bytes: usize) -> Option<Self> {
        let fits = |now: usize| now.checked_add(bytes).filter(|sum| *sum <= max_bytes || now == 0);
        all.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Self { all: all.clone(), bytes })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Relaxed);
    }
}

/// A record to be stored, and whom to answer.
pub(super) struct Submission {
    pub(super) id: RecordId,
    pub(super) key: MessageKey,
    /// Of an id that its app gave.
    pub(super) print: Option<Print>,
    /// One with [`Flags::REPLAY`] is stored again whatever its id.
    pub(super) flags: Flags,
    /// As it will lie on disk.
    pub(super) entry: Vec<u8>,
    pub(super) answer: Answer,
}

impl AsRef<[u8]> for Submission {
    /// What is stored.
    fn as_ref(&self) -> &[u8] {
        &self.entry
    }
}

impl Submission {
    /// Accepted now. A record that cannot be encoded is answered at once.
    pub(super) fn new(
        record: Record,
        flags: Flags,
        answer: Answer,
        clock: &dyn WallClock,
    ) -> Option<Self> {
        let (accepted_ms, clock_set) = (clock.now_ms(), clock.is_set());
        let encoded = entry::encode_record(&Stored {
            accepted_ms,
            clock_set,
            flags: flags.bits(),
            record: &record,
        });
        Self::encoded(record, flags, encoded, answer)
    }

    /// A record sent again, as it was.
    pub(super) fn copy(copied: Copied<Record>, answer: Answer) -> Option<Self> {
        let Copied { origin, stored: Stored { accepted_ms, clock_set, flags, record } } = copied;
        let stored = Stored { accepted_ms, clock_set, flags, record: &record };
        let encoded = entry::encode_copy(&Copied { origin, stored });
        Self::encoded(record, Flags::from_bits(flags), encoded, answer)
    }

    /// A record that another queue has stored, as it was.
    pub(super) fn stored(stored: Stored<Record>, answer: Answer) -> Option<Self> {
        let Stored { accepted_ms, clock_set, flags, record } = stored;
        let encoded =
            entry::encode_record(&Stored { accepted_ms, clock_set, flags, record: &record });
        Self::encoded(record, Flags::from_bits(flags), encoded, answer)
    }

    fn encoded(
        record: Record,
        flags: Flags,
        encoded: std::io::Result<Vec<u8>>,
        answer: Answer,
    ) -> Option<Self> {
        match encoded {
            Ok(entry) => Some(Self {
                print: (record.id_origin == IdOrigin::App).then(|| Print::of(&record)),
                key: record.key.unwrap_or_else(|| (&record.id).into()),
                id: record.id,
                flags,
                entry,
                answer,
            }),
            Err(error) => {
                answer.send(Err(AppendError::Disk(error.to_string())));
                None
            }
        }
    }
}
