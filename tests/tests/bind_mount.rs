//! Apps in containers reach the agent over its restarts through the mount that they began with: of
//! the sockets' folder always, since the agent puts its sockets into the folder that is there; of a
//! socket's file only as long as a service manager holds the socket. Needs root (mount namespaces),
//! python3 and curl.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use spillway_tests::container::Container;
use spillway_tests::gateway::{Gateway, lane};
use spillway_tests::manager::Manager;
use spillway_tests::python_app::PythonApp;
use tempfile::TempDir;

const LANE: &str = "[[lane]]\nname = \"main\"\ntopic = \"main\"\n";
const GRACE: Duration = Duration::from_secs(40);

/// A gateway whose sockets lie in a folder of their own, as in `/run/spillway`.
fn gateway() -> (Gateway, PathBuf) {
    let gateway = Gateway::new("");
    let run = gateway.file("run");
    fs::create_dir(&run).unwrap();
    gateway.write(&gateway.data_dir(), &run.join("spillway.sock"), LANE);
    // Where this test looks for it.
    symlink("run/spillway.sock", gateway.socket()).unwrap();
    (gateway, run)
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_with_a_mount_of_the_folder_goes_on_over_stops_and_kills() {
    let (mut gateway, run) = gateway();
    let (place, folder) = (TempDir::new().unwrap(), inode(&run));
    let container = Container::with(&run, place.path(), &run);
    gateway.start_ready().await;
    let mut app = PythonApp::start(&container.wrapper(), &place.path().join("spillway.sock"));
    app.measure(0..10);
    for life in 0..4 {
        let before = inode(&run.join("spillway.sock"));
        match life % 2 {
            0 => gateway.stop(GRACE).await,
            _ => gateway.kill(),
        }
        // What a stop leaves is nothing, what a kill leaves is a file on which nobody listens.
        let left = fs::read_dir(&run).unwrap().count();
        assert_eq!(left, if life % 2 == 0 { 0 } else { 2 });
        // It asks before there is anybody, and again.
        app.take(10 + life * 10..20 + life * 10);
        gateway.start_ready().await;
        app.stored(10);
        assert_eq!(inode(&run), folder, "the folder is not the one that is mounted");
        if life % 2 == 1 {
            assert_ne!(inode(&run.join("spillway.sock")), before, "the dead socket is still there");
        }
    }
    app.end();
    let status = gateway.status().await.unwrap();
    assert_eq!((lane(&status, "main").accepted, lane(&status, "main").waiting), (50, 50));
}

/// Whether somebody answers in the container; if not, what curl says.
fn answers(container: &Container, socket: &Path) -> Result<(), String> {
    let path = socket.display().to_string();
    let words = ["curl", "-sS", "--fail", "--max-time", "30", "--unix-socket", &path];
    let url = ["http://agent/v1/status"];
    let curl = container.command(&[&words[..], &url].concat()).stdin(Stdio::null()).output();
    let output = curl.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or(said)
}

/// Why docs/install.md says to mount the folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_made_again_and_a_file_that_is_are_not_seen_in_there() {
    let (mut gateway, run) = gateway();
    let place = TempDir::new().unwrap();
    let (folder, file) = (place.path().join("folder"), place.path().join("file"));
    fs::create_dir(&folder).unwrap();
    fs::write(&file, "").unwrap();
    gateway.start_ready().await;
    let with_folder = Container::with(&run, &folder, &run);
    let with_file = Container::with(&run.join("spillway.sock"), &file, &run);
    let by_folder = || answers(&with_folder, &folder.join("spillway.sock"));
    assert_eq!((by_folder(), answers(&with_file, &file)), (Ok(()), Ok(())));
    gateway.stop(GRACE).await;
    gateway.start_ready().await;
    assert_eq!(by_folder(), Ok(()));
    let said = answers(&with_file, &file).unwrap_err();
    assert!(said.contains("connect"), "{said}");
    // As systemd would without RuntimeDirectoryPreserve=.
    gateway.stop(GRACE).await;
    fs::remove_dir(&run).unwrap();
    fs::create_dir(&run).unwrap();
    gateway.start_ready().await;
    let said = by_folder().unwrap_err();
    assert!(said.contains("connect"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_of_the_file_is_good_while_a_manager_holds_the_socket() {
    let (gateway, run) = gateway();
    let socket = run.join("spillway.sock");
    let manager = Arc::new(Manager::new().holding("intake", &socket));
    let mut gateway = gateway.managed(&manager);
    let place = TempDir::new().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let container = Container::with(&socket, &file, &run);
    let mut app = PythonApp::start(&container.wrapper(), &file);
    for life in 0..3 {
        app.take(life * 10..10 + life * 10);
        gateway.start_ready().await;
        app.stored(10);
        match life % 2 {
            0 => gateway.stop(GRACE).await,
            _ => gateway.kill(),
        }
    }
    app.end();
}
