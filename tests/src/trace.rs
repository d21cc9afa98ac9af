//! Reads what `strace -f -y` saw of an agent, and judges it: was a record's every byte in a file
//! that had been synced since, when its acknowledgement was written to a socket?
//!
//! Records are found by their bodies, which are made of numbered units ([`body`]), and by their
//! ids in answers. What a thread does after a call returns is only seen after the call's return
//! was, so the order of the lines is the order of causes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Length of a unit, `<rrrr:uuuuuu>`.
const UNIT_BYTES: usize = 13;
/// A larger record is cut into parts of at least this size; a cut may go through a unit.
const PART_BYTES: usize = 50_000;

/// The calls that have to be traced.
pub const CALLS: &str =
    "trace=pwrite64,write,fdatasync,fsync,sync_file_range,sendto,sendmsg,writev";

/// The id of record `nth`.
pub fn id(nth: usize) -> String {
    format!("id-{nth:04}")
}

/// A body of record `nth` with about `size` bytes.
pub fn body(nth: usize, size: usize) -> String {
    (0..units(size)).map(|unit| format!("<{nth:04}:{unit:06}>")).collect()
}

fn units(size: usize) -> usize {
    size.div_ceil(UNIT_BYTES).max(1)
}

/// What the trace shows.
#[derive(Debug, Default)]
pub struct Findings {
    /// Acknowledgements that came too early, and calls that should not be.
    pub faults: Vec<String>,
    /// Records whose acknowledgement was seen.
    pub acknowledged: BTreeSet<usize>,
    /// Syncs of databases that ended well.
    pub syncs: usize,
}

/// Judges a trace; `sizes` are the records' sizes as given to [`body`].
pub fn judge(trace: &str, sizes: &[usize]) -> Findings {
    let mut judge = Judge { sizes, ..Judge::default() };
    trace.lines().for_each(|line| judge.line(line));
    judge.findings
}

/// A unit: its record and its place there.
type Unit = (usize, usize);

/// A call on a database that has not returned.
enum Begun {
    Write(Vec<Unit>),
    /// How many of the database's writes had ended when it began: only those are synced by it.
    Sync(usize),
}

/// A database, as the trace has it so far.
#[derive(Default)]
struct Database {
    /// Units of each write that has ended, in that order.
    writes: Vec<Vec<Unit>>,
    /// How many of them are synced.
    synced: usize,
}

#[derive(Default)]
struct Judge<'a> {
    sizes: &'a [usize],
    /// By thread: the database's path and the call.
    begun: HashMap<&'a str, (&'a str, Begun)>,
    databases: BTreeMap<&'a str, Database>,
    /// Units on disk, by record.
    durable: HashMap<usize, BTreeSet<usize>>,
    findings: Findings,
}

impl<'a> Judge<'a> {
    /// `THREAD call(ARGUMENTS) = RESULT`, or one half of it.
    fn line(&mut self, line: &'a str) {
        let Some((thread, call)) = line.split_once(' ') else { return };
        let call = call.trim_start();
        if !call.starts_with("<... ") {
            self.begin(thread, call);
        }
        if !call.ends_with("<unfinished ...>") {
            self.end(thread, call);
        }
    }

    fn begin(&mut self, thread: &'a str, call: &'a str) {
        // Of `name(7</path>, ...`; signals and the like have no path.
        let parts = call.split_once('(').zip(call.split_once('<'));
        let Some(((name, _), (_, rest))) = parts else { return };
        let Some((path, arguments)) = rest.split_once('>') else { return };
        if path.contains("/blobs/") {
            self.findings.faults.push(format!("something goes to {path}"));
        }
        let database = path.ends_with("/db");
        match name {
            "pwrite64" | "write" | "writev" if database => {
                let write = Begun::Write(units_in(arguments));
                self.begun.insert(thread, (path, write));
            }
            "fdatasync" | "fsync" if database => {
                let covers = self.databases.entry(path).or_default().writes.len();
                self.begun.insert(thread, (path, Begun::Sync(covers)));
            }
            "write" | "writev" | "sendto" | "sendmsg" if path.starts_with("socket:") => {
                self.answered(arguments);
            }
            _ => {}
        }
    }

    fn end(&mut self, thread: &'a str, call: &str) {
        let Some((path, begun)) = self.begun.remove(thread) else { return };
        let result = call.rsplit_once(" = ").map_or("?", |(_, result)| result);
        let well = result.parse::<u64>().is_ok();
        let database = self.databases.entry(path).or_default();
        match begun {
            // The process ended in the middle of it: what never came back covers nothing.
            _ if result == "?" => {}
            _ if !well => self.findings.faults.push(format!("a call on {path} ended: {result}")),
            Begun::Write(units) => database.writes.push(units),
            Begun::Sync(covers) => {
                self.findings.syncs += 1;
                let synced = database.synced.min(covers);
                database.synced = database.synced.max(covers);
                for (record, unit) in database.writes[synced..covers].concat() {
                    self.durable.entry(record).or_default().insert(unit);
                }
            }
        }
    }

    /// Bytes go to a client: every record whose id is in them has to be on disk.
    fn answered(&mut self, bytes: &str) {
        for (at, _) in bytes.match_indices("id-") {
            let digits = bytes.get(at + 3..at + 7).and_then(|digits| digits.parse().ok());
            let Some(record) = digits.filter(|record| *record < self.sizes.len()) else { continue };
            self.findings.acknowledged.insert(record);
            let size = self.sizes[record];
            let durable = self.durable.get(&record).map_or(0, BTreeSet::len);
            if durable + size / PART_BYTES < units(size) {
                let units = units(size);
                let fault = format!("{} was answered with {durable} of {units} synced", id(record));
                self.findings.faults.push(fault);
            }
        }
    }
}

fn units_in(arguments: &str) -> Vec<Unit> {
    let unit = |(at, _): (usize, &str)| {
        let unit = arguments.get(at..at + UNIT_BYTES)?.strip_suffix('>')?;
        let (record, unit) = unit[1..].split_once(':')?;
        Some((record.parse().ok()?, unit.parse().ok()?))
    };
    arguments.match_indices('<').filter_map(unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 2] = [20, 20];
    const WRITE: &str = r#"11 pwrite64(9</q/s-1/db>, "\1<0000:000000><0000:000001>", 30, 0) = 30"#;
    const SYNC: &str = "12 fdatasync(8</q/s-1/db>) = 0";
    const ANSWER: &str =
        r#"13 sendto(7<socket:[55]>, "{\"id\":\"id-0000\"}", 40, 0, NULL, 0) = 40"#;

    fn faults(lines: &[&str]) -> Vec<String> {
        judge(&lines.join("\n"), &SIZES).faults
    }

    #[test]
    fn an_answer_after_write_and_sync_is_well() {
        let findings = judge(&[WRITE, SYNC, ANSWER].join("\n"), &SIZES);
        assert_eq!(findings.faults, [""; 0]);
        assert_eq!((findings.syncs, findings.acknowledged), (1, BTreeSet::from([0])));
    }

    #[test]
    fn an_answer_before_the_sync_is_a_fault() {
        let fault = ["id-0000 was answered with 0 of 2 synced"];
        assert_eq!(faults(&[WRITE, ANSWER, SYNC]), fault);
        assert_eq!(faults(&[SYNC, WRITE, ANSWER]), fault);
        let ranged = "12 sync_file_range(8</q/s-1/db>, 0, 30, 7) = 0";
        assert_eq!(faults(&[WRITE, ranged, ANSWER]), fault);
        let other = "12 fdatasync(8</q/s-2/db>) = 0";
        assert_eq!(faults(&[WRITE, other, ANSWER]), fault);
    }

    #[test]
    fn a_sync_that_began_before_the_write_ended_does_not_count() {
        let begun = "12 fdatasync(8</q/s-1/db> <unfinished ...>";
        let ended = "12 <... fdatasync resumed>) = 0";
        assert_eq!(faults(&[WRITE, begun, ended, ANSWER]), [""; 0]);
        assert_eq!(faults(&[begun, WRITE, ended, ANSWER]).len(), 1);
        assert_eq!(faults(&[WRITE, begun, ANSWER, ended]).len(), 1);
    }

    #[test]
    fn a_record_that_is_only_partly_written_is_not_stored() {
        let part = r#"11 pwrite64(9</q/s-1/db>, "<0000:000000>", 30, 0) = 13"#;
        assert_eq!(faults(&[part, SYNC, ANSWER]), ["id-0000 was answered with 1 of 2 synced"]);
    }

    #[test]
    fn a_failed_sync_and_a_blob_are_faults() {
        let failed = "12 fdatasync(8</q/s-1/db>) = -1 EIO (Input/output error)";
        assert_eq!(faults(&[WRITE, failed, ANSWER]).len(), 2);
        assert_eq!(faults(&[r#"11 write(9</q/s-1/blobs/7>, "x", 1) = 1"#]).len(), 1);
    }

    #[test]
    fn a_body_is_made_of_units_that_are_found_again() {
        let body = body(7, 100_000);
        assert_eq!(body.len(), units(100_000) * UNIT_BYTES);
        assert_eq!(units_in(&body).len(), units(100_000));
    }
}
