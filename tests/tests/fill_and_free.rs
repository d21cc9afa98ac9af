//! A disk that is filled to its last byte or inode, and freed again, round after round: what was acknowledged arrives,
//! and intake goes on by itself each time.

use spillway_protocol::local::status::Status;
use spillway_tests::broker::HttpBroker;
use spillway_tests::full;
use spillway_tests::gateway::lane;
use spillway_tests::ledger::Ledger;
use spillway_tests::room::{check, fill, on_tmpfs, post, settings, settle};

/// Of a lane that is drained: its open segment.
const GIVEN_BACK_BYTES: u64 = 2 << 20;

/// What fills the disk.
#[derive(Debug, Clone, Copy)]
enum Filler {
    /// The queue alone.
    Queue,
    /// Another program takes all that is left of the bytes.
    Bytes,
    /// Or of the inodes.
    Inodes,
}

/// The agent may take all there is, so that it meets the end of the disk itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_filled_and_freed_again_and_again_and_nothing_is_lost() {
    let mut broker = HttpBroker::start().await;
    let limits =
        "limits.disk = \"1 GiB\"\nlimits.keep_free = \"0 B\"\nlimits.memory = \"16 MiB\"\n";
    let text = format!("{limits}{}", settings(&broker, "", ""));
    let (mut gateway, tmpfs) = on_tmpfs(&text, "size=12m,nr_inodes=300");
    gateway.start_ready().await;
    let ledger = Ledger::default();
    let (rounds, mut number) = (if full() { 100 } else { 10 }, 0);
    for round in 0..rounds {
        let filler = [Filler::Queue, Filler::Bytes, Filler::Inodes][round % 3];
        broker.stop().await;
        assert_eq!(post(&gateway, &ledger, "bulk", number).await.status, 201, "{round}");
        let others = gateway.data_dir().join("others");
        match filler {
            Filler::Queue => {}
            Filler::Bytes => tmpfs.run(&format!("cat /dev/zero 2>&- > {others:?} || true")),
            Filler::Inodes => tmpfs.run(&format!(
                "mkdir {others:?}; i=0; while touch {others:?}/$i 2>&-; do i=$((i+1)); done"
            )),
        }
        let (refused, words) = fill(&gateway, &ledger, "bulk", number + 1).await;
        number = refused;
        if round % 2 == 1 {
            // A start needs no room either.
            gateway.kill();
            gateway.start_ready().await;
        }
        let status = gateway.until("it answers", |_| true).await;
        check(&status, &ledger);
        assert!(lane(&status, "bulk").waiting > 0, "{filler:?} {words}");
        broker.restart().await;
        settle(&mut gateway, &broker, &ledger).await;
        // Also where there is no room for the tables of ids, which else come first.
        let given_back = |status: &Status| lane(status, "bulk").disk_bytes < GIVEN_BACK_BYTES;
        gateway.until("the disk is given back", given_back).await;
        tmpfs.run(&format!("rm -rf {others:?}"));
    }
    assert_eq!(post(&gateway, &ledger, "bulk", number).await.status, 201);
    settle(&mut gateway, &broker, &ledger).await;
}
