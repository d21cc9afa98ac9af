//! What a container is to an app in it: a mount namespace in which a folder or file of this machine
//! is mounted elsewhere and not to be seen in its own place. Needs root.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// It mounts `$1` at `$2`, hides the folder `$3`, and keeps the namespace until it is killed.
const KEEP: &str = "mount --bind \"$1\" \"$2\"; mount -t tmpfs none \"$3\"; echo mounted; \
                    exec sleep infinity";

/// See the module. It goes when this is dropped.
#[derive(Debug)]
pub struct Container {
    keeper: Child,
    namespace: String,
}

impl Container {
    /// Mounts `what` at `place`, which is there and of the same kind; `hidden` is empty in it.
    ///
    /// # Panics
    /// If this process may not.
    pub fn with(what: &Path, place: &Path, hidden: &Path) -> Self {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private", "sh", "-ec", KEEP, "sh"]);
        unshare.args([what, place, hidden]).stdout(Stdio::piped());
        let mut keeper = unshare.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n", "mount namespaces need root");
        let namespace = format!("--mount=/proc/{}/ns/mnt", keeper.id());
        Self { keeper, namespace }
    }

    /// Put before a command, so that it runs in there.
    pub fn wrapper(&self) -> [&str; 2] {
        ["nsenter", &self.namespace]
    }

    /// A command in there.
    pub fn command(&self, words: &[&str]) -> Command {
        let [program, argument] = self.wrapper();
        let mut command = Command::new(program);
        command.arg(argument).args(words);
        command
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
