//! Answers `spillway why`: gathers the facts of what is asked after, of a running agent or of the
//! queue of a stopped one. What is said of them is [`crate::why`]'s.

mod gather;
mod search;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use spillway_protocol::local::{Code, Refusal};
use spillway_protocol::record::{LaneName, RecordId};

use super::report::Report;
use crate::clock::WallClock;
use crate::config::{self, Config};
use crate::control::Desk;
use crate::drain::DrainHandle;
use crate::queue::{Queue, Whereabouts};
use crate::why::{self, Answer, Answers, Kind, Question, facts};
use search::{Found, PATIENCE, QUICK, Search};

/// See the module.
pub(super) struct Inquiry {
    gateway: String,
    queue: Queue,
    clock: Arc<dyn WallClock>,
    /// All lanes, in the order of the queue's.
    lanes: Vec<config::Lane>,
    bounds: facts::Bounds,
    has_budget: bool,
    keeps: bool,
    agent: Agent,
}

/// Who knows more than the queue.
enum Agent {
    Running(Arc<Report>, Arc<DrainHandle>),
    Stopped(facts::Stopped),
}

/// A desk for the queue of an agent that is not running, and was last at work at that time.
pub fn stopped_desk(
    queue: Queue,
    config: &Config,
    clock: Arc<dyn WallClock>,
    active: Option<SystemTime>,
) -> Desk {
    let ago = active.and_then(|at| SystemTime::now().duration_since(at).ok());
    let stopped = facts::Stopped { active_ago_s: ago.map(|ago| ago.as_secs()) };
    let inquiry = Inquiry::new(config, queue.clone(), clock, Agent::Stopped(stopped));
    Desk::new(queue, Arc::new(|_| false), Arc::new(move |asked| inquiry.ask(asked)))
}

/// When an agent last wrote down how it stands: at its stop, and every few minutes before. Nobody
/// else writes that file.
pub fn last_active(config: &Config) -> Option<SystemTime> {
    let file = config.gateway.data_dir.join("budget");
    std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

impl Inquiry {
    /// Of a running agent.
    pub(super) fn running(
        config: &Config,
        queue: Queue,
        clock: Arc<dyn WallClock>,
        report: Arc<Report>,
        drain: Arc<DrainHandle>,
    ) -> Self {
        Self::new(config, queue, clock, Agent::Running(report, drain))
    }

    fn new(config: &Config, queue: Queue, clock: Arc<dyn WallClock>, agent: Agent) -> Self {
        Self {
            gateway: config.gateway.id.clone(),
            queue,
            clock,
            lanes: config.all_lanes().collect(),
            bounds: facts::Bounds {
                records_per_second: config.drain.records_per_second,
                bytes_per_second: config.drain.bytes_per_second,
            },
            has_budget: config.budget.is_some(),
            keeps: config.audit.is_some(),
            agent,
        }
    }

    /// What is asked after, and why it has not left. Reads the disk.
    pub(super) fn ask(&self, asked: &Question) -> Result<Answers, Refusal> {
        match asked {
            Question { name: None, lane: None, id: None, key: None } => Ok(self.overview()),
            Question { name: None, lane: Some(lane), id: None, key: None } => {
                self.known_lane(lane).map(|lane| self.only(self.lane_answer(lane)))
            }
            Question { name: None, lane: None, id: Some(id), key: None } => self.of_id(id),
            Question { name: None, lane: None, id: None, key: Some(key) } => self.of_key(key),
            Question { name: Some(name), lane: None, id: None, key: None } => self.of_name(name),
            _ => Err(Refusal::new(Code::BadRecord, "ask after one of name, lane, id and key")),
        }
    }

    fn only(&self, answer: Answer) -> Answers {
        Answers { answers: vec![answer], also: Vec::new() }
    }

    /// The link, and every lane in which something waits.
    fn overview(&self) -> Answers {
        let moment = self.moment();
        let waits = |lane: &&config::Lane| {
            self.queue.accounts(&lane.name).is_some_and(|accounts| accounts.waiting > 0)
        };
        let lanes = self.lanes.iter().filter(waits);
        let lanes: Vec<_> = lanes.map(|lane| self.lane_facts(&moment, &lane.name)).collect();
        let link = why::link(&moment.gateway, &lanes);
        let answers = lanes.iter().map(|lane| why::lane(&moment.gateway, lane, true));
        Answers { answers: std::iter::once(link).chain(answers).collect(), also: Vec::new() }
    }

    fn lane_answer(&self, lane: &LaneName) -> Answer {
        let moment = self.moment();
        why::lane(&moment.gateway, &self.lane_facts(&moment, lane), false)
    }

    fn known_lane(&self, name: &str) -> Result<&LaneName, Refusal> {
        let mut lanes = self.lanes.iter().map(|lane| &lane.name);
        lanes.find(|lane| lane.as_str() == name).ok_or_else(|| {
            let message = format!("{name:?} is no lane here; there are: {}", self.lane_names());
            Refusal::of("lane", Code::UnknownLane, message)
        })
    }

    fn lane_names(&self) -> String {
        let names: Vec<&str> = self.lanes.iter().map(|lane| lane.name.as_str()).collect();
        names.join(", ")
    }

    /// A lane, else a record by its id, else by a key; what else has that name is said.
    fn of_name(&self, name: &str) -> Result<Answers, Refusal> {
        if let Ok(lane) = self.known_lane(name) {
            let found = Search::new(&self.queue, name, QUICK).run();
            let id = self.by_id(name, &found).is_some().then_some(Kind::Id);
            let key = found.has_key().then_some(Kind::Key);
            let also = id.into_iter().chain(key).collect();
            return Ok(Answers { also, ..self.only(self.lane_answer(lane)) });
        }
        let noted = self.by_id(name, &Found::default());
        let patience = if noted.is_some() { QUICK } else { PATIENCE };
        let found = Search::new(&self.queue, name, patience).run();
        if let Some(record) = noted.or_else(|| self.by_id(name, &found)) {
            // A record's own key is its id, unless its app named another.
            let also = if found.has_other_key() { vec![Kind::Key] } else { Vec::new() };
            return Ok(Answers { also, ..self.only(self.record_answer(name, &record)) });
        }
        let answers = self.key_answers(name, &found);
        match answers.is_empty() {
            false => Ok(Answers { answers, also: Vec::new() }),
            true => Err(self.unknown("lane, record or key", name, &found)),
        }
    }

    fn of_id(&self, id: &str) -> Result<Answers, Refusal> {
        let mut found = Found::default();
        let mut record = self.by_id(id, &found);
        if record.is_none() {
            found = Search::new(&self.queue, id, PATIENCE).run();
            record = self.by_id(id, &found);
        }
        let record = record.ok_or_else(|| self.unknown("record", id, &found))?;
        Ok(self.only(self.record_answer(id, &record)))
    }

    fn of_key(&self, key: &str) -> Result<Answers, Refusal> {
        let found = Search::new(&self.queue, key, PATIENCE).run();
        let answers = self.key_answers(key, &found);
        match answers.is_empty() {
            false => Ok(Answers { answers, also: Vec::new() }),
            true => Err(self.unknown("record with the key or order key", key, &found)),
        }
    }

    /// The record with this id: an app's own is noted, one that the agent gave is searched for.
    fn by_id(&self, id: &str, found: &Found) -> Option<Whereabouts> {
        let noted = RecordId::parse(id).ok().and_then(|id| self.queue.locate(&id));
        let (lane, position) = noted.or_else(|| found.id.clone())?;
        self.queue.whereabouts(&lane, position)
    }

    fn record_answer(&self, id: &str, found: &Whereabouts) -> Answer {
        let moment = self.moment();
        let lane = self.record_lane_facts(&moment, found);
        why::record(id, &moment.gateway, &lane, &self.record_facts(found))
    }

    /// One answer for each lane in which something of the key is here.
    fn key_answers(&self, key: &str, found: &Found) -> Vec<Answer> {
        let moment = self.moment();
        let answer = |(lane, hits): (&LaneName, &search::Hits)| {
            let first = self.queue.whereabouts(lane, hits.first()?)?;
            let key = facts::Key {
                key: key.to_owned(),
                lane: lane.to_string(),
                waiting: hits.waiting,
                at_least: !found.complete,
                dead: hits.dead,
                first: self.record_facts(&first),
            };
            Some(why::key(&moment.gateway, &self.record_lane_facts(&moment, &first), &key))
        };
        found.lanes.iter().filter_map(answer).collect()
    }

    /// What was looked for, and where.
    fn unknown(&self, what: &str, name: &str, found: &Found) -> Refusal {
        let ended = match found.complete {
            true => String::new(),
            false => format!(" (not all: it was given up after {} s)", PATIENCE.as_secs()),
        };
        let message = format!(
            "there is no {what} {name:?} here: looked at lanes {}, at {} records that wait or are \
             still stored, at {}{ended}, and at the ids that apps gave (the last \
             100,000, those of the last hour, and those of all that wait); what was delivered \
             before that, or never accepted here, leaves no trace",
            self.lane_names(),
            found.looked,
            if found.letters == 1 {
                "1 dead letter".to_owned()
            } else {
                format!("{} dead letters", found.letters)
            }
        );
        Refusal::new(Code::NotFound, message)
    }

    fn ago_s(&self, at_ms: u64) -> u64 {
        self.clock.now_ms().saturating_sub(at_ms) / 1000
    }
}

/// Whole seconds, rounded up.
fn seconds(left: Duration) -> u64 {
    left.as_secs_f64().ceil() as u64
}
