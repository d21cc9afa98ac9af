//! The write-ahead queue: what [`Queue::submit`] has answered is on disk until it is settled.
//!
//! From the app's side to the drain's, in the order of a record's way:
//!
//! - `handle`: the [`Queue`] that the rest of the agent holds; `api`: what it says and hears
//! - `commit`: one thread a lane makes groups durable and answers them; `ids`: an id that was
//!   accepted before is the same record
//! - `chain`: the numbered log below a lane, kept as segments; `pack`: what a segment holds;
//!   `entry`: what a pack holds
//! - `cipher`: the keys under which that is sealed
//! - `store`: the seam to the disk: sled, or memory in tests
//! - `lane`, `head`: which record may be sent next, and how those sent ended; `ranges`: what
//!   is settled; `numbering`: the numbers records carry; `timeline`: when they were accepted;
//!   `lived`: how old they are by all that was measured
//! - `limits`: how much all of it may take up
//! - `lease`: a record in the drain's hands; `dead`: those given up
//! - `untold`: what was given up and the far side has not heard of
//! - `inspect`: looks into all of this, also where no agent runs, and changes nothing;
//!   `quarantine`: where damaged segments are put aside
//! - `format`: what the folder is written at, and what of it is a newer agent's; `takeover`: what
//!   was stored beside that meanwhile
//! - `state`, `keeper`: what is saved of all this, and when; `recover`, `identity`: how it
//!   is taken up again; `doubt`: whether numbers could be given twice by that
//! - `threads`: those of lanes and keeper; `pulse`: whether they turn

mod answers;
mod api;
mod chain;
mod cipher;
mod commit;
mod dead;
mod doubt;
mod dropping;
mod entry;
mod format;
#[doc(hidden)]
pub mod fuzzing;
mod gather;
mod handle;
mod head;
mod identity;
mod ids;
mod inbox;
mod inquiry;
pub mod inspect;
mod keeper;
mod lane;
mod lease;
mod limits;
mod lived;
mod numbering;
mod pack;
mod pulse;
mod quarantine;
mod ranges;
mod recover;
mod resend;
mod shelf;
mod state;
mod store;
mod submission;
mod takeover;
mod tap;
mod threads;
mod timeline;
mod untold;

pub use answers::{Answered, Answers, Tag};
pub use api::{
    Accounts, AppendError, DeadFilter, DeadLetter, Entry, Fate, Front, GivenUp, Keep, LaneFigures,
    LaneOptions, Lot, OpenError, Options, Ordering, Packing, Place, PurgeError, Receipt, Recovery,
    Resent, Run, SettleError, Ticket, Turn, Walked, Whereabouts,
};
pub use cipher::{KEY_BYTES, KeyId, Keys};
pub use format::{CommitError, Feature, Level, Newer, Standing, look as standing};
pub use handle::{ChangeError, LeaveError, Queue, Replayed};
pub use keeper::SAVE_EVERY;
pub use lane::{Happened, Settling, Tapping};
pub use lease::Lease;
pub use limits::{Claim, DeadLimits, LaneLimit, LaneLimits, Limits, Room, Space};
pub use pulse::Rounds;
pub use takeover::{Takeover, TakeoverError};
pub use tap::{Left, Missed, Parting};

#[cfg(test)]
mod tests;
