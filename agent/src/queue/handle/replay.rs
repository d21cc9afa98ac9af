//! Dead letters go to the tail of their lanes again, a piece at a time: a replay of many takes long, and
//! whoever changes or ends the queue does not wait for all of them.

use spillway_protocol::message::Flags;

use super::Queue;
use crate::queue::api::{AppendError, DeadFilter, DeadLetter, SettleError, Ticket};
use crate::queue::dead::Leave;

/// Letters of one piece.
const PIECE: usize = 64;

/// How far a replay came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Letters that wait in their lanes again.
    pub count: u64,
    /// Letters that their lanes will not take as they are.
    pub left: u64,
    /// Why the first of these stays.
    pub left_for: Option<String>,
    /// Why others, that were to be as well, are still dead letters.
    pub broken_off: Option<String>,
}

/// Why dead letters do not leave.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    /// Others are: both could take the same ones.
    #[error("a replay or purge of dead letters is under way; try again when it has ended")]
    UnderWay,
    /// They are where they were.
    #[error(transparent)]
    Settle(#[from] SettleError),
}

/// What is left to be done.
struct Rest {
    filter: DeadFilter,
    /// Letters from this number on came since: they are not replayed again and again.
    end: u64,
    /// The opening of the queue for which the lanes have noted which records are dead.
    noted: Option<u64>,
}

impl Queue {
    /// Appends what matches to its lane again (flag `replay`) and then takes it out of the dead
    /// letters. Letters of lanes that are gone stay where they are. `stops` is asked between two pieces,
    /// when nothing is held, and ends it early. Blocks.
    ///
    /// # Errors
    /// The disk's, where nothing was replayed; else [`Replayed`] has it. Or others are taking letters
    /// out.
    pub fn dead_replay(
        &self,
        filter: &DeadFilter,
        stops: impl Fn() -> bool,
    ) -> Result<Replayed, LeaveError> {
        let _alone = self.leaving()?;
        let mut rest = Rest { filter: filter.clone(), end: self.now().dead.end(), noted: None };
        let mut done = Replayed::default();
        loop {
            let more = match self.replay_piece(&mut rest, &mut done) {
                Err(error) if done.count == 0 => return Err(error.into()),
                Err(error) => Err(error.to_string()),
                Ok(more) => more.map_err(|error| error.to_string()),
            };
            let go_on = match more {
                Ok(true) if stops() => Err(AppendError::Stopping.to_string()),
                more => more,
            };
            match go_on {
                Ok(true) => {}
                Ok(false) => return Ok(done),
                Err(why) => return Ok(Replayed { broken_off: Some(why), ..done }),
            }
        }
    }

    /// Returns whether there may be more, or why one of them could not go.
    fn replay_piece(
        &self,
        rest: &mut Rest,
        done: &mut Replayed,
    ) -> Result<Result<bool, AppendError>, SettleError> {
        let _steady = self.steady();
        let limit = rest.filter.limit.map_or(PIECE, |limit| limit.min(PIECE));
        let filter = DeadFilter { limit: Some(limit), ..rest.filter.clone() };
        let listed = self.now().dead.list(&filter);
        let mut letters = listed.map_err(|error| SettleError::Disk(error.to_string()))?;
        let more = letters.len() == PIECE;
        letters.retain(|letter| letter.number < rest.end);
        let Some(last) = letters.last() else { return Ok(Ok(false)) };
        rest.filter.from = Some(last.number + 1);
        rest.filter.limit = rest.filter.limit.map(|limit| limit - letters.len());
        let opened = *self.changes().borrow();
        if rest.noted.replace(opened) != Some(opened) {
            self.save()?;
        }
        letters.retain(|letter| self.lane(&letter.stamp.lane).is_some());
        let refused = self.replay_all(&letters, done)?;
        Ok(refused.map_or(Ok(more), Err))
    }

    /// Returns why one could not go that could at another time.
    fn replay_all(
        &self,
        letters: &[DeadLetter],
        done: &mut Replayed,
    ) -> Result<Option<AppendError>, SettleError> {
        let again = |letter: &DeadLetter| {
            let (lane, flags) = (&letter.stamp.lane, letter.stamp.flags.with(Flags::REPLAY));
            (letter.number, self.submit_flagged(lane, letter.record.clone(), flags))
        };
        let tickets: Vec<(u64, Ticket)> = letters.iter().map(again).collect();
        let (mut numbers, mut refused) = (Vec::new(), None);
        for (number, ticket) in tickets {
            match ticket.wait() {
                Ok(_) => numbers.push(number),
                // The others need not wait for it.
                Err(error @ (AppendError::TooLarge(_) | AppendError::IdReused { .. })) => {
                    done.left += 1;
                    done.left_for.get_or_insert_with(|| error.to_string());
                }
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        if !numbers.is_empty() {
            self.leave(&numbers, Leave::Replayed)?;
            done.count += numbers.len() as u64;
        }
        Ok(refused)
    }
}
