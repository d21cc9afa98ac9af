//! The Debian package: what it puts where, that the agent takes records in right away, that an upgrade
//! keeps queue and local edits, and that only a purge removes the queue.

use std::path::Path;

use spillway_tests::debian::{Agent, CONFIG, Debian, SOCKET, package};
use spillway_tests::gateway::lane;
use spillway_tests::{golden, http};

const QUEUE: &str = "/var/lib/spillway";

async fn store(debian: &Debian) -> u16 {
    http::post(&debian.path(SOCKET), "/v1/records", "application/octet-stream", b"36.6")
        .await
        .unwrap()
        .status
}

/// Puts the queue of an agent of format 1 in place of what is there.
fn lay_golden(debian: &Debian) {
    std::fs::remove_dir_all(debian.path(QUEUE)).unwrap();
    golden::level_1(&debian.path(QUEUE));
    debian.said(&["chown", "-R", "spillway:spillway", QUEUE]);
    debian.said(&["chmod", "0700", QUEUE]);
}

fn there(debian: &Debian, path: &str) -> bool {
    std::fs::symlink_metadata(debian.path(path)).is_ok()
}

/// Mode and owner of what the package brings and makes.
fn has_its_files(debian: &Debian) {
    for (path, expected) in [
        ("/usr/bin/spillway", "755 root:root"),
        (CONFIG, "644 root:root"),
        ("/usr/lib/systemd/system/spillway.service", "644 root:root"),
        ("/usr/lib/systemd/system/spillway.socket", "644 root:root"),
        ("/usr/lib/sysusers.d/spillway.conf", "644 root:root"),
        ("/usr/lib/tmpfiles.d/spillway.conf", "644 root:root"),
        ("/usr/share/doc/spillway/install.md", "644 root:root"),
        ("/usr/share/doc/spillway/sbom.cdx.json", "644 root:root"),
        (QUEUE, "700 spillway:spillway"),
        ("/run/spillway", "755 spillway:spillway"),
    ] {
        let found = debian.said(&["stat", "-c", "%a %U:%G", path]);
        assert_eq!(found.trim(), expected, "{path}");
    }
    for (target, unit) in [("multi-user", "service"), ("sockets", "socket")] {
        let link = format!("/etc/systemd/system/{target}.target.wants/spillway.{unit}");
        let to = std::fs::read_link(debian.path(&link)).unwrap();
        assert_eq!(to, Path::new(&format!("/lib/systemd/system/spillway.{unit}")).to_owned());
    }
}

#[tokio::test]
async fn installed_used_upgraded_removed_purged() {
    let (debian, made) = (Debian::new(), tempfile::tempdir().unwrap());
    let [first, second] = ["0.1.0~1", "0.1.0~2"].map(|version| package(version, made.path()));
    debian.install(&first);
    has_its_files(&debian);

    let (agent, status) = Agent::start(&debian, &[]).await;
    assert_eq!((store(&debian).await, status.link.state.word()), (201, "unconfigured"));
    agent.stop();

    lay_golden(&debian);
    let lanes = "[[lane]]\nname = \"critical\"\ntopic = \"a\"\ndefault = true\n\
                 [[lane]]\nname = \"bulk\"\ntopic = \"b\"\norder = \"key\"\n";
    std::fs::write(debian.path(CONFIG), lanes).unwrap();
    std::fs::write(debian.path("/etc/spillway/secret"), "s").unwrap();
    debian.install(&second);
    has_its_files(&debian);
    let version = debian.said(&["dpkg-query", "-W", "-f", "${Version}", "spillway"]);
    assert_eq!(version, "0.1.0~2");
    assert_eq!(std::fs::read_to_string(debian.path(CONFIG)).unwrap(), lanes);
    let (agent, status) = Agent::start(&debian, &[]).await;
    for (name, waiting) in golden::waiting().iter().filter(|(name, _)| !name.starts_with('_')) {
        assert_eq!(lane(&status, name).waiting, waiting.len() as u64, "{name}");
    }
    assert_eq!((store(&debian).await, status.format.level), (201, 1));
    agent.stop();

    let said = debian.said(&["dpkg", "-r", "spillway"]);
    assert!(said.contains("what waits in /var/lib/spillway stays there"), "{said}");
    assert!(!there(&debian, "/usr/bin/spillway") && there(&debian, CONFIG));
    assert!(there(&debian, &format!("{QUEUE}/lanes/critical")));

    let said = debian.said(&["dpkg", "--purge", "spillway"]);
    assert!(said.contains("removing the queue with all that waits in it"), "{said}");
    for gone in
        [QUEUE, CONFIG, "/run/spillway", "/etc/systemd/system/sockets.target.wants/spillway.socket"]
    {
        assert!(!there(&debian, gone), "{gone} is still there");
    }
    assert!(there(&debian, "/etc/spillway/secret"));
}

#[test]
fn a_purge_removes_the_queue_where_it_really_lies() {
    let (debian, made) = (Debian::new(), tempfile::tempdir().unwrap());
    let package = package("0.1.0~1", made.path());
    // What its folder is, and whether the folder it lies in can go.
    for (laid, goes) in [
        ("mv /var/lib/spillway /srv/queue", true),
        ("rmdir /var/lib/spillway; mkdir /srv/queue; mount -t tmpfs none /srv/queue", false),
    ] {
        debian.install(&package);
        debian.said(&["sh", "-ec", laid]);
        debian.said(&["ln", "-s", "/srv/queue", QUEUE]);
        debian.said(&["mkdir", "-p", "/srv/queue/lanes/main"]);
        let said = debian.said(&["dpkg", "--purge", "spillway"]);
        assert!(said.contains("all that waits in it: /srv/queue ("), "{said}");
        assert!(!there(&debian, QUEUE) && !there(&debian, "/srv/queue/lanes"), "{laid}");
        assert_eq!(there(&debian, "/srv/queue"), !goes, "{laid}");
    }
    debian.said(&["umount", "/srv/queue"]);
}

#[test]
fn a_unit_that_was_disabled_stays_so_over_an_upgrade() {
    let (debian, made) = (Debian::new(), tempfile::tempdir().unwrap());
    let link = "/etc/systemd/system/multi-user.target.wants/spillway.service";
    debian.install(&package("0.1.0~1", made.path()));
    std::fs::remove_file(debian.path(link)).unwrap();
    debian.install(&package("0.1.0~2", made.path()));
    assert!(!there(&debian, link));
}
