//! What commands print, as a text that is the same each time: one for each command, kept under
//! tests/golden/commands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Values that differ from time to time, by their name in JSON.
const VOLATILE: [&str; 36] = [
    "accepted_ms",
    "accepted_per_s",
    "age_ms",
    "allowed_per_s",
    "attempts",
    "boot",
    "bytes",
    "bytes_per_record",
    "bytes_today",
    "clock_offset_s",
    "delivered_bytes_per_s",
    "delivered_per_s",
    "died_ms",
    "disk_bytes",
    "first_send_in_s",
    "headers_today",
    "live_bytes",
    "next_attempt_in_s",
    "next_probe_in_s",
    "oldest_accepted_ms",
    "oldest_age_s",
    "open",
    "overhead",
    "own_rate_per_s",
    "pid",
    "queue_delay_ms",
    "resets_at",
    "resets_in_s",
    "share",
    "since",
    "since_s",
    "stream",
    "uptime_s",
    "used",
    "used_bytes",
    "version",
];

/// Whether the text of a step may differ in times and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is the same to the letter.
    Fixed,
    /// It shows an agent that runs.
    Live,
}

/// All transcripts, by command.
pub struct Transcripts {
    /// What stands for itself, and what in its place.
    names: Vec<(String, String)>,
    texts: BTreeMap<String, String>,
}

impl Transcripts {
    /// None yet. `names`: texts of this run, and what is written in their place.
    pub fn new(names: Vec<(String, String)>) -> Self {
        Self { names, texts: BTreeMap::new() }
    }

    /// A heading in the transcript of `command`.
    pub fn heading(&mut self, command: &str, words: &str) {
        self.texts.entry(file(command)).or_default().push_str(&format!("## {words}\n"));
    }

    /// What `words` printed, in the transcript of `command`.
    pub fn step(&mut self, command: &str, words: &str, output: &Output, kind: Kind) {
        // A command line that is wrong shows times as they are to be written.
        let wrong = output.stderr.starts_with(b"error: ");
        let kind = if wrong { Kind::Fixed } else { kind };
        let text = |bytes: &[u8]| self.normal(&String::from_utf8_lossy(bytes), kind);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let err: String =
            err.lines().map(|line| format!("! {line}").trim_end().to_owned() + "\n").collect();
        let exit = output.status.code().map_or("signal".to_owned(), |code| code.to_string());
        let words =
            self.normal(&words.split_whitespace().collect::<Vec<_>>().join(" "), Kind::Fixed);
        let end = if out.is_empty() || out.ends_with('\n') { "" } else { "\n" };
        let step = format!("$ spillway {}\n{out}{end}{err}exit {exit}\n\n", words);
        self.texts.entry(file(command)).or_default().push_str(&step);
    }

    fn normal(&self, text: &str, kind: Kind) -> String {
        let mut text = text.to_owned();
        for (name, stands) in &self.names {
            text = text.replace(name, stands);
        }
        match kind {
            Kind::Fixed => text,
            Kind::Live => series(text.lines().map(live)),
        }
    }

    /// Compares with the files of `folder`, or writes them where `SPILLWAY_BLESS` is set. `without`:
    /// headings that this machine cannot try.
    #[track_caller]
    pub fn compare(&self, folder: &Path, without: &[&str]) {
        if std::env::var_os("SPILLWAY_BLESS").is_some() {
            assert!(without.is_empty(), "not everything was tried here: {without:?}");
            let _ = std::fs::remove_dir_all(folder);
            std::fs::create_dir_all(folder).unwrap();
            self.texts
                .iter()
                .for_each(|(name, text)| std::fs::write(folder.join(name), text).unwrap());
        }
        let kept = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let kept: BTreeMap<String, PathBuf> = kept
            .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path))
            .collect();
        let names: Vec<&String> = kept.keys().collect();
        assert_eq!(names, self.texts.keys().collect::<Vec<_>>(), "a command came or went");
        let differs: Vec<String> = kept
            .iter()
            .filter_map(|(name, path)| {
                let golden = std::fs::read_to_string(path).unwrap();
                difference(name, &leave_out(&golden, without), &self.texts[name])
            })
            .collect();
        let bless = "SPILLWAY_BLESS=1 writes them anew";
        assert!(differs.is_empty(), "{}\n{bless}", differs.join("\n"));
    }
}

/// The file of a command's transcript.
fn file(command: &str) -> String {
    format!(
        "{}.txt",
        if command.is_empty() { "spillway".to_owned() } else { command.replace(' ', "-") }
    )
}

/// A transcript without these headings and what is below them.
fn leave_out(text: &str, headings: &[&str]) -> String {
    let mut kept = String::new();
    let mut keep = true;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            keep = !headings.contains(&heading);
        }
        if keep {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The first line that differs, with what led there.
fn difference(name: &str, golden: &str, found: &str) -> Option<String> {
    let (mut old, mut new) = (golden.lines(), found.lines());
    let mut step = "";
    loop {
        match (old.next(), new.next()) {
            (None, None) => return None,
            (old, new) if old == new => {
                step = old.filter(|line| line.starts_with("$ ")).unwrap_or(step);
            }
            (old, new) => {
                return Some(format!(
                    "{name}: {step}\n  was: {}\n  is:  {}",
                    old.unwrap_or("(the end)"),
                    new.unwrap_or("(the end)")
                ));
            }
        }
    }
}

/// A line without what differs from time to time. Columns lose their width with it, JSON keeps its
/// indentation.
fn live(line: &str) -> String {
    let line = json(line);
    let indent = line.len() - line.trim_start().len();
    let line_words: Vec<&str> = line[indent..].split(' ').filter(|word| !word.is_empty()).collect();
    let mut words = line_words.as_slice();
    let mut out: Vec<String> = Vec::new();
    while !words.is_empty() {
        let (shown, taken) = one(words, out.last().map_or("", String::as_str));
        words = &words[taken..];
        let again = bare(&shown) == "AGO" && out.last().is_some_and(|last| last == "AGO");
        if again {
            out.pop();
        }
        out.push(shown);
    }
    format!("{}{}", &line[..indent], out.join(" "))
}

/// What is written for the first of these words, and how many it stands for.
fn one(words: &[&str], last: &str) -> (String, usize) {
    let (word, next) = (words[0], words.get(1).copied().unwrap_or_default());
    let this = bare(word);
    let (unit, rest) =
        next.split_at(next.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(next.len()));
    let replaced = |by: &str| (word.replacen(this, by, 1), 1);
    match () {
        () if this.is_empty() => (word.to_owned(), 1),
        () if is_number(this) && SIZES.contains(&unit) => match rest.strip_prefix('/') {
            Some(bound) if is_number(bound) && words.len() > 2 => ("SIZE/SIZE".to_owned(), 3),
            _ => (format!("{}{rest}", word.replacen(this, "SIZE", 1)), 2),
        },
        () if is_number(this) && TIMES.contains(&unit) => {
            (format!("{}{rest}", word.replacen(this, "AGO", 1)), 2)
        }
        () if is_time(this) => replaced("TIME"),
        () if is_duration(this) => replaced("AGO"),
        () if is_uuid(this) => replaced("UUID"),
        () if is_stream(this) && last == "stream" => replaced("STREAM"),
        () if last == "(request" || (["attempts", "pid"].contains(&last) && is_number(this)) => {
            replaced("N")
        }
        () => match word.split_once('=') {
            Some((name @ ("oldest" | "disk"), _)) => (format!("{name}=…"), 1),
            _ => (word.to_owned(), 1),
        },
    }
}

const SIZES: [&str; 5] = ["B", "KiB", "MiB", "GiB", "ms"];
const TIMES: [&str; 4] = ["s", "min", "h", "d"];

/// A word without what stands around it.
fn bare(word: &str) -> &str {
    word.trim_start_matches(['(', '"']).trim_end_matches([',', ';', ':', ')', '"', '.'])
}

fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
        && word.chars().all(|c| c.is_ascii_digit() || c == '.')
}

fn is_stream(word: &str) -> bool {
    word.len() == 8 && word.chars().all(|c| c.is_ascii_hexdigit())
}

fn is_time(word: &str) -> bool {
    word.len() >= 20 && word.starts_with("20") && word.ends_with('Z') && word.contains('T')
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

fn is_duration(word: &str) -> bool {
    let number = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    is_number(number) && ["ms", "s", "m", "h", "d"].contains(&&word[number.len()..])
}

/// The lines, without the numbers of a curve.
fn series(lines: impl Iterator<Item = String>) -> String {
    let in_curve = |line: &str| is_number(line.trim().trim_end_matches(',')) && line.contains('.');
    lines.filter(|line| !in_curve(line)).map(|line| line + "\n").collect()
}

/// A line of JSON without the values that differ.
fn json(line: &str) -> String {
    let mut line = line.to_owned();
    for name in VOLATILE {
        let quoted = format!("\"{name}\":");
        let mut from = 0;
        while let Some(at) = line[from..].find(&quoted) {
            let start = from + at + quoted.len();
            let space = line[start..].len() - line[start..].trim_start().len();
            let start = start + space;
            let end = start + scalar(&line[start..]);
            if end > start {
                line.replace_range(start..end, "…");
            }
            from = start;
        }
    }
    line
}

/// Bytes of the number or text at the beginning; none of `null`, a list or a section.
fn scalar(text: &str) -> usize {
    match text.strip_prefix('"') {
        Some(rest) => rest.find('"').map_or(0, |end| end + 2),
        None => {
            text.find(|c: char| !(c.is_ascii_digit() || ".-e".contains(c))).unwrap_or(text.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_time_to_time_is_taken_out_and_nothing_else() {
        for (line, shown) in [
            ("up 2h 5m, pid 7", "up AGO, pid N"),
            ("in 11 h 44 min; if", "in AGO; if"),
            ("oldest  40s  8.0 MiB/64.0 MiB x", "oldest AGO SIZE/SIZE x"),
            ("at 2026-05-01T12:00:00Z; then", "at TIME; then"),
            ("8.0 KiB/1.3 GiB 7", "SIZE/SIZE 7"),
            ("no (request 0000001).", "no (request N)."),
            ("oldest=3s disk=4B x=1", "oldest=… disk=… x=1"),
            ("gw, stream 0438c2ee", "gw, stream STREAM"),
            ("  \"took 5.7 ms\",", "  \"took SIZE\","),
            (
                "{\"pid\":12,\"seq\":3,\"stream\": \"ab12\",\"since\":null}",
                "{\"pid\":…,\"seq\":3,\"stream\": …,\"since\":null}",
            ),
            ("reading-1 of lane 5m-x has 3 records", "reading-1 of lane 5m-x has 3 records"),
        ] {
            assert_eq!(live(line), shown);
        }
    }

    #[test]
    fn a_difference_names_the_command() {
        assert_eq!(difference("a", "$ x\n1\n", "$ x\n1\n"), None);
        assert_eq!(difference("a", "$ x\n1\n", "$ x\n2\n").unwrap(), "a: $ x\n  was: 1\n  is:  2");
        assert_eq!(leave_out("## a\n1\n## b\n2\n", &["a"]), "## b\n2\n");
    }
}
