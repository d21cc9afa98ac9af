//! The agent in a container as docs/install.md tells it: `packaging/Containerfile` is built and run
//! by Debian's podman, with the page's own commands; records survive restarts, kills and a new
//! container. `tests/run --full` runs it: it builds the agent in the container.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::engine::Engine;
use spillway_tests::gateway::PATIENCE;
use spillway_tests::http;
use spillway_tests::ledger::Ledger;
use tokio::time::sleep;

/// User and group of the image.
const USER: u32 = 990;

/// The page's commands, one a line, on folders of this test.
fn commands(run: &Path, etc: &Path) -> Vec<String> {
    let page = std::fs::read_to_string("../docs/install.md").unwrap();
    let at = page.find("podman build").unwrap();
    let block = page[at..].split_once("```").unwrap().0.replace("\\\n", "");
    let own = |line: &str| {
        let line = line.split_once("  #").map_or(line, |(command, _)| command);
        let line = line.replace("/run/spillway-container", &run.display().to_string());
        line.replace("-v /etc/spillway:", &format!("-v {}:", etc.display()))
    };
    block.lines().map(own).collect()
}

async fn accepted(socket: &Path) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(answer) = http::get(socket, "/v1/status").await {
            return answer.json()["lanes"][0]["accepted"].as_u64().unwrap();
        }
        assert!(Instant::now() < deadline, "nobody answers at {socket:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn inspected(engine: &Engine, what: &str) -> String {
    engine.said(&format!("podman inspect -f '{{{{{what}}}}}' spillway"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds the agent in a container: tests/run --full"]
async fn the_image_is_built_and_run_as_the_page_says_and_keeps_what_was_stored() {
    let (engine, folder) = (Engine::start(), tempfile::tempdir().unwrap());
    engine.make_bases();
    let (run, etc) = (folder.path().join("run"), folder.path().join("etc"));
    std::fs::create_dir(&etc).unwrap();
    std::fs::copy("../packaging/spillway.toml", etc.join("spillway.toml")).unwrap();
    let [build, install, start, look] = commands(&run, &etc).try_into().unwrap();
    let build =
        build.replace("podman build", &format!("podman build -q {}", engine.build_options()));
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    engine.said(&format!("cd {}; {build}", repository.display()));
    engine.said(&install);
    engine.said(&start);

    let socket = run.join("spillway.sock");
    assert_eq!(accepted(&socket).await, 0);
    let meta = std::fs::symlink_metadata(&socket).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o777), (USER, USER, 0o660));
    let pid = inspected(&engine, ".State.Pid");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let uid = format!("Uid:\t{USER}\t{USER}\t{USER}\t{USER}");
    assert!(status.lines().any(|line| line == uid), "{status}");
    assert!(engine.said(&look).contains("main"));
    let send =
        async |name| hand_over(&socket, &Ledger::default(), "main", drafts(name, 0..5)).await;
    send("a").await;

    engine.said("podman stop spillway");
    assert_eq!(inspected(&engine, ".State.ExitCode"), "0");
    engine.said("podman start spillway");
    assert_eq!(accepted(&socket).await, 5);
    send("b").await;

    // --restart=always
    let pid = inspected(&engine, ".State.Pid");
    engine.said(&format!("kill -KILL {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.1; done"));
    assert_eq!(accepted(&socket).await, 10);
    send("c").await;

    // As after an upgrade of the image: another container on the same volume.
    engine.said("podman rm -f spillway");
    engine.said(&start);
    assert_eq!(accepted(&socket).await, 15);
    let said = engine.said("podman exec spillway spillway status --json");
    let status: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&status["lanes"][0]["waiting"], &status["lanes"][0]["damaged"]),
        (&15.into(), &0.into())
    );
}
