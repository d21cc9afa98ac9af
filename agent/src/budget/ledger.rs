//! The day's count, laid upon lanes, and who may still add to it.

use std::time::Duration;

use spillway_protocol::dial::{Carried, Reading, headers_bytes};
use spillway_protocol::local::status;
use tokio::time::Instant;

use super::{Day, Stored, StoredLane};
use crate::config::{self, Lane, RESEND_LANE};

/// With less than this left, and what a connection costs where none is open, all is taken as used:
/// it is about a small record.
const LEAST_BYTES: u64 = 2 << 10;
/// What it may cost to open a connection: without TLS, and with a handshake and a long chain of
/// certificates, which is also what is expected before one was opened.
const CONNECTION_BYTES: (u64, u64) = (400, 8 << 10);
/// An answer with its headers, about: over HTTP; over gRPC it is less.
const ANSWER_BYTES: u64 = 500;

/// What a request costs both ways whose bytes on its way out are `out`, about: with TLS, TCP and
/// IP, and the answer.
pub fn request_bytes(out: usize) -> u64 {
    let out = out as u64;
    let tls = 64 + out / 128;
    out + tls + headers_bytes(out) + ANSWER_BYTES + headers_bytes(ANSWER_BYTES)
}

/// What a [`Budget`] is told.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `[budget]`; without it there is no bound.
    pub settings: Option<config::Budget>,
    /// What earlier runs of the same day have counted.
    pub stored: Stored,
    /// Where connections count.
    pub carried: Carried,
}

/// See the module.
#[derive(Debug)]
pub struct Budget {
    settings: Option<config::Budget>,
    day: Day,
    looked_at: Instant,
    ends_at: Instant,
    reading: Reading,
    /// What was read at the start.
    first: Reading,
    /// The day's bytes are used up, though a connection that opens late may leave some again.
    spent: bool,
    /// Requests under way.
    requests: u64,
    bytes: u64,
    headers_bytes: u64,
    overhead_bytes: u64,
    lanes: Vec<Account>,
}

#[derive(Debug)]
struct Account {
    name: String,
    /// It may use the reserve, too.
    is_first: bool,
    counted: StoredLane,
    /// Estimates of its requests under way.
    flying: u64,
    /// The part of these that nothing was laid upon it for yet.
    claim: u64,
    /// Its next record does not fit in what is left.
    stopped: bool,
    /// It was so when the day began.
    waited: bool,
}

impl Budget {
    /// Of `lanes` in their order.
    pub fn new(options: &Options, lanes: &[Lane], now: Instant) -> Self {
        let stored = &options.stored;
        let mut others = stored.lanes.clone();
        let mut account = |lane: &Lane| Account {
            name: lane.name.to_string(),
            is_first: is_first(lane, lanes),
            counted: others.remove(lane.name.as_str()).unwrap_or_default(),
            flying: 0,
            claim: 0,
            stopped: false,
            waited: false,
        };
        let accounts = lanes.iter().map(&mut account).collect();
        // Lanes that are no longer there have to be somewhere in the sum.
        let gone: u64 = others.values().map(|lane| lane.bytes).sum();
        Self {
            settings: options.settings,
            day: Day { date: stored.date, ran: Duration::from_millis(stored.ran_ms) },
            looked_at: now,
            ends_at: now,
            reading: options.carried.read(),
            first: options.carried.read(),
            spent: false,
            requests: 0,
            bytes: stored.bytes,
            headers_bytes: stored.headers_bytes,
            overhead_bytes: stored.overhead_bytes + gone,
            lanes: accounts,
        }
    }

    /// Counts on from where `former` stopped, whose stored count this one was made with.
    pub fn go_on(&mut self, former: &Self) {
        (self.reading, self.first) = (former.reading, former.first);
        (self.looked_at, self.ends_at) = (former.looked_at, former.ends_at);
        self.spent = former.spent && self.settings == former.settings;
    }

    /// Takes in what has been carried so far; `wall_ms` is the wall clock, if it is set. True if
    /// a day has begun since.
    pub fn look(&mut self, reading: Reading, wall_ms: Option<u64>, now: Instant) -> bool {
        self.lay(reading);
        let new = self.day.pass(now.duration_since(self.looked_at), wall_ms);
        if new {
            (self.bytes, self.headers_bytes, self.overhead_bytes) = (0, 0, 0);
            for lane in &mut self.lanes {
                lane.counted = StoredLane::default();
                lane.waited = std::mem::take(&mut lane.stopped);
            }
        }
        self.looked_at = self.looked_at.max(now);
        self.ends_at = now + self.day.left(wall_ms);
        let out = self.settings.is_some_and(|settings| self.is_out(settings.bytes_per_day));
        self.spent = out || self.spent && !new;
        new
    }

    /// A request of the lane leaves that was estimated to cost `bytes`.
    pub fn grant(&mut self, lane: usize, bytes: u64) {
        self.requests += 1;
        let lane = &mut self.lanes[lane];
        lane.flying += bytes;
        lane.claim += bytes;
    }

    /// It has ended, and delivered so many records. What it carried was looked at before.
    pub fn settle(&mut self, lane: usize, bytes: u64, delivered: usize) {
        self.requests = self.requests.saturating_sub(1);
        let lane = &mut self.lanes[lane];
        lane.flying = lane.flying.saturating_sub(bytes);
        lane.claim = lane.claim.min(lane.flying);
        lane.counted.delivered += delivered as u64;
    }

    /// Whether there is a bound.
    pub fn is_bounded(&self) -> bool {
        self.settings.is_some()
    }

    /// Whether a request of the lane may leave that is estimated to cost `bytes`. Its next one is
    /// meant: where it may not, the lane is stopped.
    pub fn admits(&mut self, lane: usize, bytes: u64) -> bool {
        let fits = self.fits(lane, bytes);
        self.lanes[lane].stopped = !fits && self.requests == 0;
        fits
    }

    /// Whether so many bytes fit in what the lane may still use.
    pub fn fits(&self, lane: usize, bytes: u64) -> bool {
        let Some(most) = self.most(lane) else { return true };
        let flying: u64 = self.lanes.iter().map(|lane| lane.flying).sum();
        // Each request may need a connection of its own.
        let missing = (self.requests + 1).saturating_sub(self.open());
        let used = self.bytes + flying + missing * self.connection_bytes();
        let never_fits = bytes + self.connection_bytes() > most;
        used + bytes <= most || (never_fits && used < most / 2)
    }

    /// Whether the lane was stopped when the day began.
    pub fn has_waited(&self, lane: usize) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.waited)
    }

    /// Whether the day's bytes are used up for everybody. Once they are, they stay so for the day.
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    /// How much of the day's bytes is used, from 0 to 1; 0 where there is no bound.
    pub fn used_share(&self) -> f64 {
        let share = |s: config::Budget| self.bytes as f64 / s.bytes_per_day.max(1) as f64;
        self.settings.map_or(0.0, share).min(1.0)
    }

    /// When the next day begins, as far as is known.
    pub fn ends_at(&self) -> Instant {
        self.ends_at
    }

    /// Why nothing leaves, for a person.
    pub fn reason(&self) -> String {
        let bytes = self.settings.map_or(0, |settings| settings.bytes_per_day);
        let next = match self.day.date {
            Some(_) => "the next day of UTC begins",
            None => "the agent has run for a day",
        };
        format!("the day's {bytes} bytes are used ([budget]); records go on when {next}")
    }

    /// What a later run has to know.
    pub fn stored(&self) -> Stored {
        let lanes = self.lanes.iter().filter(|lane| lane.counted != StoredLane::default());
        Stored {
            date: self.day.date,
            ran_ms: u64::try_from(self.day.ran.as_millis()).unwrap_or(u64::MAX),
            bytes: self.bytes,
            headers_bytes: self.headers_bytes,
            overhead_bytes: self.overhead_bytes,
            lanes: lanes.map(|lane| (lane.name.clone(), lane.counted)).collect(),
        }
    }

    /// For `GET /v1/status`; `wall_ms` is the wall clock at `now`, set or not.
    pub fn status(&self, now: Instant, wall_ms: u64) -> status::Budget {
        let left = self.ends_at.saturating_duration_since(now);
        status::Budget {
            bytes_today: self.bytes,
            headers_today: self.headers_bytes,
            bytes_per_day: self.settings.map(|settings| settings.bytes_per_day),
            reserve: self.settings.map(reserve_bytes),
            overhead: self.overhead_bytes,
            lanes: self.lanes.iter().map(|lane| self.lane_status(lane)).collect(),
            resets_at: wall_ms + u64::try_from(left.as_millis()).unwrap_or(u64::MAX / 2),
            resets_in_s: left.as_secs_f64().ceil() as u64,
        }
    }

    fn lane_status(&self, lane: &Account) -> status::LaneBudget {
        let StoredLane { bytes, delivered } = lane.counted;
        let most = self.most_of(lane.is_first);
        status::LaneBudget {
            name: lane.name.clone(),
            bytes_today: bytes,
            delivered_today: delivered,
            bytes_per_record: bytes.checked_div(delivered),
            stopped: lane.flying == 0
                && (lane.stopped || self.spent || most.is_some_and(|most| self.is_out(most))),
        }
    }

    /// Connections that stand.
    fn open(&self) -> u64 {
        self.reading.opened.saturating_sub(self.reading.ended)
    }

    /// What it costs to open one, by those that were opened so far.
    fn connection_bytes(&self) -> u64 {
        let (least, most) = CONNECTION_BYTES;
        let setup = self.reading.setup_bytes.saturating_sub(self.first.setup_bytes);
        let opened = self.reading.opened.saturating_sub(self.first.opened);
        let each = setup.checked_div(opened);
        each.map_or(most, |each| each.clamp(least, most))
    }

    /// Whether what is left of `most` is too little for anything.
    fn is_out(&self, most: u64) -> bool {
        let connection = if self.open() == 0 { self.connection_bytes() } else { 0 };
        self.bytes + connection + LEAST_BYTES > most
    }

    fn most(&self, lane: usize) -> Option<u64> {
        self.most_of(self.lanes[lane].is_first)
    }

    fn most_of(&self, is_first: bool) -> Option<u64> {
        let settings = self.settings?;
        let kept = if is_first { 0 } else { reserve_bytes(settings) };
        Some(settings.bytes_per_day - kept)
    }

    /// Lays what was carried since the last look upon lanes with requests under way, each by its
    /// claim and no more than that; the rest upon nobody.
    fn lay(&mut self, reading: Reading) {
        let before = std::mem::replace(&mut self.reading, reading);
        let since = |now: u64, then: u64| now.saturating_sub(then);
        let setup = since(reading.setup_bytes, before.setup_bytes);
        let traffic = since(reading.traffic_bytes, before.traffic_bytes);
        self.bytes += setup + traffic;
        self.headers_bytes += since(reading.headers_bytes, before.headers_bytes);
        let claims: u64 = self.lanes.iter().map(|lane| lane.claim).sum();
        let (mut left, mut open) = (traffic.min(claims), claims);
        self.overhead_bytes += setup + traffic - left;
        for lane in self.lanes.iter_mut().filter(|lane| lane.claim > 0) {
            // Of what is left by its part of the claims still open, so that nothing remains.
            let part = u128::from(left) * u128::from(lane.claim) / u128::from(open);
            let part = u64::try_from(part).unwrap_or(left);
            open -= lane.claim;
            left -= part;
            lane.claim -= part;
            lane.counted.bytes += part;
        }
    }
}

fn reserve_bytes(settings: config::Budget) -> u64 {
    let reserve = u128::from(settings.bytes_per_day) * u128::from(settings.reserve_percent) / 100;
    u64::try_from(reserve).unwrap_or(settings.bytes_per_day)
}

/// Whether a lane may use the reserve: those of the smallest priority, which are all lanes where
/// all have the same. The agent's own may, too: it is little, and without it the far side would
/// take a gateway for gone, and wait for what was given up. Records that are sent again may not.
pub fn is_first(lane: &Lane, lanes: &[Lane]) -> bool {
    let users = lanes.iter().filter(|lane| !lane.name.as_str().starts_with('_'));
    let first = users.map(|lane| lane.priority).min();
    let own = lane.name.as_str().starts_with('_') && lane.name.as_str() != RESEND_LANE;
    own || Some(lane.priority) == first
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
