//! What the program says beside its answer goes to the log, but for what looks like a part of the
//! answer: a secret.

/// Shorter words of the answer are no secrets, and everywhere.
const SECRET_MIN: usize = 12;
/// Lines that are logged of one run.
const LINES_MAX: usize = 20;

/// Logs what `program` said on standard error.
pub(super) fn log(program: &str, said: &[u8], answer: &[u8]) {
    for line in shown(&String::from_utf8_lossy(said), &String::from_utf8_lossy(answer)) {
        tracing::warn!(program, "credential_command: {line}");
    }
}

/// The lines of `said`, without secrets and controls.
fn shown(said: &str, answer: &str) -> Vec<String> {
    let part_of_secret = |c: char| c.is_alphanumeric() || "+/=_.-~%".contains(c);
    let secrets = answer.split(|c| !part_of_secret(c)).filter(|word| word.len() >= SECRET_MIN);
    let hidden = secrets.fold(said.to_owned(), |said, secret| said.replace(secret, "***"));
    let lines = hidden.lines().map(|line| line.chars().filter(|c| !c.is_control()).collect());
    lines.filter(|line: &String| !line.trim().is_empty()).take(LINES_MAX).collect()
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
}
