//! What the program says beside its answer may hold a secret: one that traces itself or its requests fails
//! before there is an answer to compare with. The log tells how much it is. Its words stand there at level
//! debug only, but for what looks like a secret: parts of the answer, what follows a word that announces
//! one, and long words that are none of a language.

use std::process::ExitStatus;

/// Shorter words are no secrets, and everywhere.
const SECRET_MIN: usize = 12;
/// Lines that are logged of one run.
const LINES_MAX: usize = 20;
/// Nothing of a line is shown behind these.
const TELLING: [&str; 5] = ["authorization", "token", "secret", "password", "signature"];
const HIDDEN: &str = "***";

/// Logs that `program` said so much on standard error before it ended so, and at level debug what.
pub(super) fn log(program: &str, said: &[u8], answer: &[u8], status: ExitStatus) {
    if !status.success() && !said.is_empty() {
        let bytes = said.len();
        tracing::warn!(program, bytes, %status, "credential_command failed; what it said on standard error is logged with --log-level info,spillway::credential_command=debug");
    }
    for line in shown(&String::from_utf8_lossy(said), &String::from_utf8_lossy(answer)) {
        tracing::debug!(program, "credential_command: {line}");
    }
}

/// The lines of `said`, without secrets and controls.
fn shown(said: &str, answer: &str) -> Vec<String> {
    let secrets = answer.split(|c| !part_of_secret(c)).filter(|word| word.len() >= SECRET_MIN);
    let hidden = secrets.fold(said.to_owned(), |said, secret| said.replace(secret, HIDDEN));
    let bare = |line: &str| line.chars().filter(|c| !c.is_control()).collect::<String>();
    let lines = hidden.lines().map(|line| masked(&bare(line)));
    lines.filter(|line: &String| !line.trim().is_empty()).take(LINES_MAX).collect()
}

fn part_of_secret(c: char) -> bool {
    c.is_alphanumeric() || "+/=_.-~%".contains(c)
}

/// The line up to where a secret is announced, without words that may be one.
fn masked(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let told = TELLING.iter().filter_map(|word| Some((lower.find(word)?, word.len()))).min();
    let (at, length) = told.unwrap_or((line.len(), 0));
    let (before, telling) = (&line[..at], &line[at..at + length]);
    let rest = &line[at + length..];
    let mut shown = String::new();
    for part in before.split_inclusive(|c| !part_of_secret(c)) {
        let word = part.trim_end_matches(|c| !part_of_secret(c));
        shown += if may_be_secret(word) { HIDDEN } else { word };
        shown += &part[word.len()..];
    }
    shown += telling;
    if !rest.trim().is_empty() {
        shown += HIDDEN;
    }
    shown
}

/// Keys are drawn from letters of both cases and digits; words, names and paths mostly are not.
fn may_be_secret(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || "._-/".contains(c);
    word.len() >= SECRET_MIN && !word.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_answer_is_logged_and_no_control() {
        let answer = r#"{"access_key_secret": "sk/Very+Secret==0123"}"#;
        let said = "+ curl \u{1b}[31mhttps://sts\n\ngot sk/Very+Secret==0123 for 3600 s\n";
        assert_eq!(shown(said, answer), ["+ curl [31mhttps://sts", "got *** for 3600 s"]);
        assert_eq!(shown(&"x\n".repeat(500), "").len(), LINES_MAX);
    }
    #[test]
    fn what_a_program_traces_before_it_fails_holds_no_secret() {
        let said = "> Authorization: Bearer abc\n+ curl -H 'X-Token: short' https://sts.example/v1\n\
                    + get --client-secret s3 --quiet\nkey LTAI5tQx9ZabcDEF12 is denied\n\
                    curl: (6) Could not resolve host: sts.example\n";
        let expected = [
            "> Authorization***",
            "+ curl -H 'X-Token***",
            "+ get --client-secret***",
            "key *** is denied",
            "curl: (6) Could not resolve host: sts.example",
        ];
        assert_eq!(shown(said, ""), expected);
    }
}
