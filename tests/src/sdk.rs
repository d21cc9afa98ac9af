//! Programs written against the official SDKs of the MQ HTTP API. What they need lies under
//! `tests/.cache/sdk/`, where `tests/run` puts it.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

const DEADLINE: Duration = Duration::from_secs(120);

/// Which SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    /// `@aliyunmq/mq-http-sdk`
    Node,
    /// `mq-http-sdk` of the Python index.
    Python,
    /// `com.aliyun.mq:mq-http-sdk`
    Java,
}

impl Sdk {
    /// Runs `tests/sdk/PROGRAM` to its end, which has to be a success, and returns what it said.
    pub async fn run(self, program: &str, arguments: &[&str]) -> String {
        let mut command = self.command();
        command.arg(below("sdk").join(program)).args(arguments);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(DEADLINE, command.output()).await;
        let Output { status, stdout, stderr } = ended
            .unwrap_or_else(|_| panic!("{program} did not end in time"))
            .unwrap_or_else(|error| panic!("{program} cannot be run: {error}; install {self:?}"));
        let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(status.success(), "{program}\n{}{}", words(&stdout), words(&stderr));
        words(&stdout)
    }

    fn command(self) -> Command {
        let (name, packages) = match self {
            Self::Node => ("node", "node/node_modules"),
            Self::Python => ("python3", "python"),
            Self::Java => ("java", "java/lib"),
        };
        let packages = below(".cache/sdk").join(packages);
        assert!(
            packages.is_dir(),
            "{} is missing: run tests/run, which puts the SDKs there",
            packages.display()
        );
        let mut command = Command::new(name);
        match self {
            Self::Node => command.env("NODE_PATH", &packages),
            Self::Python => {
                command.env("PYTHONPATH", &packages).env("PYTHONDONTWRITEBYTECODE", "1")
            }
            Self::Java => command
                .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
                .arg(format!("{}/*", packages.display())),
        };
        command
    }
}

fn below(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}
