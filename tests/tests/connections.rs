//! One user of the machine opens all the connections to the socket that he can, and says nothing: the others, and who
//! looks after the gateway, are served all the while. Needs root, which may be anybody.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, built};
use spillway_tests::room::settings;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

const GREEDY: u32 = 64981;
const OTHER: u32 = 64982;
/// Opens so many, says so, and keeps them until its standard input ends.
const FLOOD: &str = "
import socket, sys
kept = []
for _ in range(int(sys.argv[2])):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    kept.append(s)
print('open', flush=True)
sys.stdin.read()
";

async fn flood(socket: &Path) -> Child {
    let mut command = Command::new("python3");
    command.uid(GREEDY).gid(GREEDY).current_dir("/").kill_on_drop(true);
    command.args(["-c", FLOOD]).arg(socket).arg("600");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(told.next_line().await.unwrap().as_deref(), Some("open"));
    child
}

/// The status with which a record of `uid` is answered, and the answer.
async fn post(uid: u32, socket: &Path) -> (String, String) {
    let mut command = Command::new("curl");
    command.uid(uid).gid(uid).current_dir("/").stdin(Stdio::null());
    command.args(["-sS", "--max-time", "60", "-w", "\n%{http_code}", "--unix-socket"]).arg(socket);
    command.args(["-H", "content-type: application/octet-stream", "--data-binary", "x"]);
    let output = command.arg("http://agent/v1/records").output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_opens_all_connections_he_can_shuts_out_nobody() {
    let own = UnixStream::pair().unwrap().0.peer_cred().unwrap().uid();
    assert_eq!(own, 0, "this test starts processes of other users: run it as root");
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let text = format!("listen.mode = \"0666\"\n{}", settings(&broker, "", ""));
    let mut gateway = Gateway::new(&text);
    std::fs::set_permissions(gateway.file(""), Permissions::from_mode(0o711)).unwrap();
    gateway.start_ready().await;
    let socket = gateway.socket();
    let flood = flood(&socket).await;
    for uid in [0, OTHER] {
        assert_eq!(post(uid, &socket).await.0, "201", "{uid}");
    }
    let mut status = Command::new(built("spillway"));
    let status = status.args(["status", "--socket"]).arg(&socket).output().await.unwrap();
    assert!(status.status.success(), "{status:?}");
    let told = gateway.log();
    let warnings = told.lines().filter(|line| line.contains("too many connections"));
    let warnings: Vec<_> = warnings.collect();
    assert!(warnings.len() == 1 && warnings[0].contains(&format!("uid={GREEDY}")), "{told}");
    let refused = gateway.until("refused ones are counted", |s| s.open_files.refused > 400).await;
    assert_eq!(refused.open_files.refused, 600 - 128);
    // As soon as fewer of his are being told than are told at a time.
    let why = loop {
        let (status, body) = post(GREEDY, &socket).await;
        if status == "503" {
            break body;
        }
        assert_eq!(status, "000", "{body}");
    };
    assert!(why.contains("as many connections open as one user may"), "{why}");
    drop(flood);
}
