//! Debian's container engine (podman with crun), with images, volumes and settings of its own in
//! `tests/.cache/container`. No registry is asked: the base images are made of debootstrap's folder
//! and this machine's Rust. Needs root, podman and crun.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const CONTAINERFILE: &str = include_str!("../../packaging/Containerfile");
/// Bounds within those of a machine that may not raise its own, and no control groups, which crun
/// refuses where two versions are mounted.
const SETTINGS: &str = "[containers]\ncgroups = \"disabled\"\n\
    default_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n\
    [engine]\nruntime = \"crun\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
/// The first stage's base, as far as it is asked for; the compiler is mounted. The binary is built
/// quickly, not small.
const RUST_BASE: &str = "RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev\n\
    ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
    ENV CARGO_HOME=/usr/local/cargo CARGO_BUILD_BUILD_DIR=/var/cache/cargo-build\n\
    ENV CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16\n\
    ENV CARGO_PROFILE_RELEASE_OPT_LEVEL=1\n";
/// Keeps a mount namespace in which control groups are where engines look for them.
const KEEP: &str = "mount -t cgroup2 none /sys/fs/cgroup; echo mounted; exec sleep infinity";

/// See the module. Its containers go when this is dropped; images and what was built stay.
#[derive(Debug)]
pub struct Engine {
    folder: PathBuf,
    keeper: Child,
}

impl Engine {
    /// With nothing that a former run left but images.
    ///
    /// # Panics
    /// If it is not there, or this process may not.
    pub fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/container");
        for name in ["run", "cargo-build"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        std::fs::write(folder.join("containers.conf"), SETTINGS).unwrap();
        let (root, run) = (folder.join("root"), folder.join("run"));
        let storage =
            format!("[storage]\ndriver = \"overlay\"\ngraphroot = {root:?}\nrunroot = {run:?}\n");
        std::fs::write(folder.join("storage.conf"), storage).unwrap();
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private", "sh", "-ec", KEEP]);
        let mut keeper = unshare.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n", "mounting needs root");
        let engine = Self { folder, keeper };
        engine.clear();
        engine
    }

    fn clear(&self) {
        drop(self.command("podman rm -f -t 0 -a && podman volume rm -f -a").output());
    }

    /// A command line of a shell to which `podman` is this engine.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id()));
        command.args(["sh", "-ec", line]).stdin(Stdio::null());
        command.env("CONTAINERS_CONF", self.folder.join("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.folder.join("storage.conf"));
        command.env("BUILDAH_ISOLATION", "chroot");
        command
    }

    /// What it says, trimmed; it has to succeed.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn said(&self, line: &str) -> String {
        let Output { status, stdout, stderr } = self.command(line).output().unwrap();
        let also = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{line}: {also}");
        String::from_utf8(stdout).unwrap().trim().to_owned()
    }

    /// Makes the images that the Containerfile begins with, where they are missing.
    ///
    /// # Panics
    /// If debootstrap's folder is missing, or Debian's packages cannot be fetched.
    pub fn make_bases(&self) {
        let below = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/debian/bookworm");
        assert!(Path::new(below).join("usr/bin/dpkg").exists(), "{below}: tests/run makes it");
        let [rust, debian] = bases();
        self.said(&format!(
            "podman image exists {debian} || tar -C {below} -c . | podman import -q - {debian}"
        ));
        let file = self.folder.join("rust");
        std::fs::write(&file, format!("FROM {debian}\n{RUST_BASE}")).unwrap();
        let (file, nothing) = (file.display(), self.folder.join("run"));
        let build =
            format!("podman build -q --pull=never -t {rust} -f {file} {}", nothing.display());
        self.said(&format!("podman image exists {rust} || {build}"));
    }

    /// Options of `podman build`: this machine's compiler and the sources that it has fetched, and
    /// what was built in there before.
    ///
    /// # Panics
    /// If there is no rustc.
    pub fn build_options(&self) -> String {
        let rustc = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
        let rust = String::from_utf8(rustc.stdout).unwrap();
        let home = std::env::home_dir().unwrap().join(".cargo");
        let cargo = std::env::var_os("CARGO_HOME").map_or(home, PathBuf::from);
        format!(
            "--pull=never -v {}:/usr/local/rust:ro -v {}/registry:/usr/local/cargo/registry \
             -v {}/cargo-build:/var/cache/cargo-build",
            rust.trim(),
            cargo.display(),
            self.folder.display()
        )
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.clear();
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// The images that the Containerfile's two stages begin with.
fn bases() -> [&'static str; 2] {
    let stages = CONTAINERFILE.lines().filter_map(|line| line.strip_prefix("FROM "));
    let names: Vec<&str> = stages.filter_map(|rest| rest.split(' ').next()).collect();
    names.try_into().expect("two stages")
}
