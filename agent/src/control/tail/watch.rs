//! One who watches: what the queue tells, made into lines at his own speed.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use spillway_protocol::local::{Code, Refusal};
use spillway_protocol::message::{Flags, Stamp};
use spillway_protocol::record::{LaneName, Record};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::budget::{Budget, spread};
use super::shortened::shortened;
use super::{Event, KINDS, Kind, LIMIT_DEFAULT, LIMIT_MAX, Line, Wish};
use crate::control::view;
use crate::queue::{Parting, Queue, Tapping};

/// Watchers at a time.
const WATCHERS_MAX: usize = 8;
/// Between two looks: what comes meanwhile is shown together.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two lines that say what was skipped.
const SKIPPED_EVERY: Duration = Duration::from_secs(1);
/// Most bytes of a look's lines; what does not fit is skipped. With [`AHEAD`] and one more look that
/// is under way, at most 12 MiB wait for all watchers.
const LOOK_BYTES: usize = 512 << 10;
/// Looks that wait for a slow reader.
const AHEAD: usize = 2;

/// Each lane's topic.
pub type Topics = Arc<BTreeMap<LaneName, String>>;

/// What watching needs beside the queue.
#[derive(Clone)]
pub struct Tailing {
    stop: CancellationToken,
    topics: Arc<dyn Fn() -> Topics + Send + Sync>,
    places: Arc<Semaphore>,
}

impl Tailing {
    /// Watchers are sent away when `stop` is cancelled; records without a topic of their own are
    /// shown with their lane's of `topics`, as they are then.
    pub fn new(stop: CancellationToken, topics: Arc<dyn Fn() -> Topics + Send + Sync>) -> Self {
        Self { stop, topics, places: Arc::new(Semaphore::new(WATCHERS_MAX)) }
    }

    /// Whether the agent stops.
    pub(in crate::control) fn stops(&self) -> bool {
        self.stop.is_cancelled()
    }
}

/// Lines, as they come.
pub(in crate::control) type Lines = ReceiverStream<Result<Bytes, Infallible>>;

/// Begins to watch.
pub(in crate::control) fn lines(
    queue: &Queue,
    lanes: Option<Vec<LaneName>>,
    tailing: &Tailing,
    wish: &Wish,
) -> Result<Lines, Refusal> {
    let place = tailing.places.clone().try_acquire_owned().map_err(|_| {
        let message = format!("{WATCHERS_MAX} others watch already; end one of them");
        Refusal::new(Code::Overloaded, message)
    })?;
    let limit = wish.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let now = Instant::now();
    let mut watcher = Watcher {
        kinds: kinds(wish.events.as_deref())?,
        changed: queue.changed(),
        changes: queue.changes(),
        queue: queue.clone(),
        lanes,
        tappings: Vec::new(),
        tailing: tailing.clone(),
        body: wish.body,
        budget: Budget::new(limit, now),
        skipped: BTreeMap::new(),
        told: now,
        _place: place,
    };
    watcher.renew();
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(watcher.run(sender));
    Ok(ReceiverStream::new(receiver))
}

fn kinds(names: Option<&str>) -> Result<Vec<Kind>, Refusal> {
    let Some(names) = names else { return Ok(KINDS.iter().map(|(_, kind)| *kind).collect()) };
    let known = |name: &str| KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
    let kind = |name: &str| {
        known(name).ok_or_else(|| {
            let all: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            let message = format!("has {name:?}, which is none of {}", all.join(", "));
            Refusal::of("events", Code::BadRecord, message)
        })
    };
    names.split(',').map(kind).collect()
}

struct Watcher {
    queue: Queue,
    /// Only these; `None`: all but the agent's own.
    lanes: Option<Vec<LaneName>>,
    tappings: Vec<Tapping>,
    /// Of the queue: its lanes are others then.
    changes: watch::Receiver<u64>,
    changed: watch::Receiver<u64>,
    tailing: Tailing,
    kinds: Vec<Kind>,
    body: bool,
    budget: Budget,
    /// What was not shown since that was told.
    skipped: BTreeMap<Kind, u64>,
    told: Instant,
    _place: OwnedSemaphorePermit,
}

/// What may become a line: a record that came, or what left together.
enum Item {
    /// Which tapping, and the positions.
    Came(usize, (u64, u64)),
    Left(usize, Parting),
}

impl Item {
    fn kind(&self) -> Kind {
        match self {
            Self::Came(..) => Kind::Accepted,
            Self::Left(_, parting) => parting.left.into(),
        }
    }

    fn lines(&self) -> u64 {
        match self {
            Self::Came(_, (from, to)) => to - from,
            Self::Left(..) => 1,
        }
    }

    fn records(&self) -> u64 {
        match self {
            Self::Came(_, (from, to)) => to - from,
            Self::Left(_, parting) => parting.records(),
        }
    }
}

impl Watcher {
    async fn run(mut self, sender: mpsc::Sender<Result<Bytes, Infallible>>) {
        let stop = self.tailing.stop.clone();
        // So that the reader knows from when on it sees everything.
        let mut text = Vec::from(b"\n");
        loop {
            if !text.is_empty() {
                tokio::select! {
                    sent = sender.send(Ok(text.into())) => if sent.is_err() { return },
                    () = stop.cancelled() => return,
                }
            }
            let due = self.told + SKIPPED_EVERY;
            let more = !self.skipped.is_empty();
            let ends = tokio::select! {
                () = stop.cancelled() => true,
                () = sender.closed() => return,
                changed = self.changed.changed() => changed.is_err(),
                other = self.changes.changed() => {
                    // For the look to see.
                    self.changes.mark_changed();
                    other.is_err()
                }
                () = sleep_until(due), if more => false,
            };
            sleep(PAUSE).await;
            let looked = tokio::task::spawn_blocking(move || {
                let text = self.look();
                (self, text)
            });
            let Ok(looked) = looked.await else { return };
            (self, text) = looked;
            if ends {
                write(&mut text, &Line::Stopping { stopping: true });
                let _ = sender.try_send(Ok(text.into()));
                return;
            }
        }
    }

    /// Watches the lanes that there are now.
    fn renew(&mut self) {
        let own = |lane: &LaneName| lane.as_str().starts_with('_');
        let all = || self.queue.lanes().into_iter().filter(|lane| !own(lane)).collect();
        let lanes = self.lanes.clone().unwrap_or_else(all);
        let former = std::mem::take(&mut self.tappings);
        let tapping = |lane: &LaneName| {
            let tapping = self.queue.tapping(lane)?;
            Some(match former.iter().find(|former| former.lane() == lane) {
                Some(former) => tapping.after(former),
                None => tapping,
            })
        };
        self.tappings = lanes.iter().filter_map(tapping).collect();
    }

    /// What happened since the last look, as lines. Reads the disk.
    fn look(&mut self) -> Vec<u8> {
        let mut items = Vec::new();
        for nth in 0..self.tappings.len() {
            let happened = self.tappings[nth].take();
            if happened.accepted.0 < happened.accepted.1 {
                items.push(Item::Came(nth, happened.accepted));
            }
            items.extend(happened.partings.into_iter().map(|parting| Item::Left(nth, parting)));
            happened.missed.into_iter().for_each(|(left, count)| self.skip(left.into(), count));
        }
        items.retain(|item| self.kinds.contains(&item.kind()));
        let mut text = Vec::new();
        self.show(&items, &mut text);
        self.tell_skipped(&mut text);
        if self.changes.has_changed().unwrap_or(false) {
            self.changes.mark_unchanged();
            self.renew();
        }
        text.shrink_to_fit();
        text
    }

    fn show(&mut self, items: &[Item], text: &mut Vec<u8>) {
        let total = items.iter().map(Item::lines).sum();
        let left = self.budget.left(Instant::now());
        let mut wanted: VecDeque<u64> = spread(total, left).collect();
        let (mut passed, mut lines, mut fits) = (0, 0, true);
        for item in items {
            let (begin, end) = (passed, passed + item.lines());
            passed = end;
            let mut shown = 0;
            while let Some(nth) = wanted.front().filter(|nth| **nth < end).copied() {
                wanted.pop_front();
                fits = fits && add(text, &self.lines_of(item, nth - begin));
                shown += u64::from(fits);
            }
            lines += shown;
            if shown < item.lines() {
                let records = item.records().saturating_sub(shown);
                self.skip(item.kind(), records);
            }
        }
        self.budget.spend(lines);
    }

    /// Several only of what lies in several streams.
    fn lines_of(&self, item: &Item, nth: u64) -> Vec<Line> {
        let event = |event| Line::Event(Box::new(event));
        match item {
            Item::Came(tapping, (from, _)) => {
                let tapping = &self.tappings[*tapping];
                let came = self.event(tapping, Kind::Accepted, (from + nth, from + nth + 1));
                came.into_iter().map(event).collect()
            }
            Item::Left(tapping, parting) => {
                let (kind, span) = (parting.left.into(), (parting.from, parting.to));
                let mut left = self.event(&self.tappings[*tapping], kind, span);
                for event in &mut left {
                    event.at_ms = parting.at_ms;
                    event.except_every = parting.except_every;
                    (event.code, event.reason) = parting.reason.clone().unzip();
                }
                left.into_iter().map(event).collect()
            }
        }
    }

    /// One for each stream in which the positions `from..to` lie; the record itself if it is one.
    fn event(&self, tapping: &Tapping, kind: Kind, (from, to): (u64, u64)) -> Vec<Event> {
        let run = |(stream, first, end): (_, u64, u64)| Event {
            event: kind,
            at_ms: tapping.now_ms(),
            lane: tapping.lane().to_string(),
            stream: format!("{stream}"),
            seq: first,
            seq_to: (end - first > 1).then(|| end - 1),
            except_every: None,
            id: None,
            topic: None,
            body_bytes: None,
            flags: Vec::new(),
            code: None,
            reason: None,
            body_shown: None,
            content: None,
        };
        let mut events: Vec<Event> = tapping.numbers(from, to).into_iter().map(run).collect();
        // What cannot be read, as its segment is gone or its key is away, is shown by its number.
        if to - from == 1
            && let [event] = &mut events[..]
            && let Ok(Some((stamp, record))) = tapping.record(from)
        {
            self.fill(event, &stamp, record);
        }
        events
    }

    fn fill(&self, event: &mut Event, stamp: &Stamp, record: Record) {
        let topic = record.topic.as_ref().map(ToString::to_string);
        event.body_bytes = Some(record.body.len() as u64);
        let (record, body_shown) = shortened(record);
        let shown = view::record(&record, stamp, self.body);
        // A copy tells when the record was first accepted.
        if event.event == Kind::Accepted && !stamp.flags.has(Flags::RESEND) {
            event.at_ms = stamp.accepted_ms;
        }
        event.id = Some(shown.id);
        event.topic = topic.or_else(|| (self.tailing.topics)().get(&stamp.lane).cloned());
        event.body_shown = body_shown.filter(|_| self.body);
        event.flags = stamp.flags.names().map(str::to_owned).collect();
        (event.stream, event.seq) = (shown.stream, shown.seq);
        event.content = shown.content;
    }

    fn skip(&mut self, kind: Kind, records: u64) {
        if self.kinds.contains(&kind) {
            *self.skipped.entry(kind).or_default() += records;
        }
    }

    fn tell_skipped(&mut self, text: &mut Vec<u8>) {
        let now = Instant::now();
        if now >= self.told + SKIPPED_EVERY && !self.skipped.is_empty() {
            self.told = now;
            let skipped = std::mem::take(&mut self.skipped);
            write(text, &Line::Skipped { skipped });
        }
    }
}

/// Whether they fit.
fn add(text: &mut Vec<u8>, lines: &[Line]) -> bool {
    let before = text.len();
    lines.iter().for_each(|line| write(text, line));
    let fits = text.len() <= LOOK_BYTES;
    if !fits {
        text.truncate(before);
    }
    fits
}

fn write(text: &mut Vec<u8>, line: &Line) {
    // Texts and numbers: this cannot fail.
    text.extend(serde_json::to_vec(line).unwrap_or_default());
    text.push(b'\n');
}
