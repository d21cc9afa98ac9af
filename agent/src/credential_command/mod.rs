//! Runs the program of `[upstream] credential_command`, which brings an access key that ends by
//! itself, such as one of STS. No shell, an environment of its own, bounds on time and output; what it
//! says on standard output is never shown.

mod answer;
mod words;

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, copy, sink};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::clock::WallClock;
use crate::config::Credentials;

/// What the program may take.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// Most bytes of its answer.
const ANSWER_MAX: u64 = 64 * 1024;
/// Most bytes of its words that are kept.
const WORDS_MAX: u64 = 8 * 1024;
/// Its environment, beside `CREDENTIALS_DIRECTORY` where the service manager passed that.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8")];
const PASSED: &str = "CREDENTIALS_DIRECTORY";

/// An access key, and how long it is good from now on, where the program says so.
#[derive(Debug, PartialEq, Eq)]
pub struct Brought {
    /// The key.
    pub credentials: Credentials,
    /// `None` as well while this machine's clock is not set.
    pub lasts: Option<Duration>,
}

/// The program brought no key. Nothing that it printed is in the message.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It cannot be started.
    #[error("cannot be run: {0}; may this user execute it, also in the unit's sandbox?")]
    Start(std::io::Error),
    /// It takes too long; it was killed.
    #[error("has not ended within {} s", .0.as_secs())]
    Deadline(Duration),
    /// Its output cannot be read.
    #[error("cannot be read: {0}")]
    Read(std::io::Error),
    /// It says that it failed.
    #[error("failed ({0}); run it by hand as the agent's user")]
    Failed(ExitStatus),
    /// It says too much.
    #[error("prints more than {ANSWER_MAX} bytes")]
    TooMuch,
    /// It says something else than a key.
    #[error("{0}")]
    Answer(#[from] answer::AnswerError),
}

/// Runs the program `words[0]` with the arguments behind it, for at most `deadline`.
///
/// # Errors
/// See [`CommandError`].
pub async fn run(
    words: &[String],
    deadline: Duration,
    clock: &dyn WallClock,
) -> Result<Brought, CommandError> {
    let mut child = start(words).map_err(CommandError::Start)?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let Ok(ended) = timeout(deadline, outcome(&mut child)).await else {
        drop(group);
        let _ = child.wait().await;
        return Err(CommandError::Deadline(deadline));
    };
    let (status, answer, said) = ended.map_err(CommandError::Read)?;
    // It was waited for, so its number may be another's.
    group.0 = None;
    words::log(&words[0], &said, &answer, status);
    match answer.len() as u64 {
        _ if !status.success() => Err(CommandError::Failed(status)),
        0..=ANSWER_MAX => Ok(answer::read(&answer, clock)?),
        _ => Err(CommandError::TooMuch),
    }
}

/// The program and its children; dropped before the program has ended, it kills them.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Perhaps all have ended by themselves.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn start(words: &[String]) -> std::io::Result<Child> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_clear().envs(ENVIRONMENT).current_dir("/");
    if let Some(folder) = std::env::var_os(PASSED) {
        command.env(PASSED, folder);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true).spawn()
}

/// How it ended, what it answered and what it said beside.
async fn outcome(child: &mut Child) -> std::io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let (answer, said) = (child.stdout.take(), child.stderr.take());
    let both = async { tokio::try_join!(up_to(answer, ANSWER_MAX + 1), up_to(said, WORDS_MAX)) };
    let (answer, said) = both.await?;
    Ok((child.wait().await?, answer, said))
}

/// The beginning of what comes; the rest is read too, so that nobody waits to write it.
async fn up_to(from: Option<impl AsyncRead + Unpin>, max: u64) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(max).read_to_end(&mut kept).await?;
        copy(&mut from, &mut sink()).await?;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    async fn shell(script: &str, deadline: Duration) -> Result<Brought, CommandError> {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        run(&words, deadline, &SystemClock).await
    }

    #[tokio::test]
    async fn it_gets_no_environment_no_input_and_its_arguments_as_they_are() {
        let script = r#"test "$(env | cut -d= -f1 | sort | tr '\n' ' ')" = "LANG PATH PWD " || exit 3
            test -z "$(cat)" && test "$PWD" = / || exit 4
            echo '{"access_key_id": "id", "access_key_secret": "secret"}'"#;
        // A service manager's folder is passed on, and tests have none.
        assert!(std::env::var_os(PASSED).is_none());
        let brought = shell(script, DEADLINE).await.unwrap();
        assert_eq!((&*brought.credentials.id, brought.lasts), ("id", None));
        let words = ["/bin/echo", "$(id)"].map(str::to_owned);
        let read = run(&words, DEADLINE, &SystemClock).await;
        assert!(matches!(read, Err(CommandError::Answer(_))), "{read:?}");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        let ended = shell(&script, Duration::from_millis(500)).await;
        assert!(matches!(ended, Err(CommandError::Deadline(_))), "{ended:?}");
        until_gone(&file).await;
        // Nobody waits for the key any more.
        std::fs::remove_file(&file).unwrap();
        let run = tokio::spawn(async move { shell(&script, DEADLINE).await });
        while !std::fs::read_to_string(&file).is_ok_and(|pid| pid.ends_with('\n')) {
            tokio::task::yield_now().await;
        }
        run.abort();
        until_gone(&file).await;
    }

    /// Until the process whose number stands there has ended.
    async fn until_gone(file: &std::path::Path) {
        let pid = std::fs::read_to_string(file).unwrap();
        let status = format!("/proc/{}/stat", pid.trim());
        while let Ok(stat) = std::fs::read_to_string(&status) {
            // Nobody may be there to wait for it.
            if stat.contains(") Z ") {
                break;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_failure_a_flood_and_a_program_that_is_not_there_are_told_without_its_output() {
        let failed = shell("echo top-secret-0123456789; exit 3", DEADLINE).await.unwrap_err();
        assert!(failed.to_string().contains("exit status: 3"), "{failed}");
        assert!(!failed.to_string().contains("top-secret"));
        let flood = shell("head -c 200000 /dev/zero; head -c 200000 /dev/zero >&2", DEADLINE).await;
        assert!(matches!(flood, Err(CommandError::TooMuch)), "{flood:?}");
        let gone = run(&["/no/such/program".to_owned()], DEADLINE, &SystemClock).await;
        assert!(matches!(gone, Err(CommandError::Start(_))), "{gone:?}");
    }
}
