//! A gateway's own network: a namespace with a cable to this machine, which can be cut, filtered
//! and named in. Needs root, iproute2 and nftables. Its addresses are those that RFC 2544 keeps for
//! tests of networks, so that none is this machine's own; one test program has those from 1 up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU8, Ordering};

static COUNT: AtomicU8 = AtomicU8::new(1);

/// See the module. It goes with its cable when this is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// The cable's end on this machine; the other one is `eth0`.
    far_end: String,
    number: u8,
}

impl Namespace {
    /// A namespace with both families' addresses and a default route over the cable.
    pub fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        if number == 1 {
            remove_leftovers();
        }
        Self::numbered(number)
    }

    /// The one with this number, for a test program that runs beside the one that counts from 1.
    pub fn numbered(number: u8) -> Self {
        let process = std::process::id();
        let own = Self {
            name: format!("spillway-{process}-{number}"),
            far_end: format!("sw{process}x{number}"),
            number,
        };
        let Self { name, far_end, .. } = &own;
        must("ip", &format!("netns add {name}"));
        must("ip", &format!("link add {far_end} type veth peer name eth0 netns {name}"));
        must("ip", &format!("addr add {}/24 dev {far_end}", own.far()));
        // Without duplicate address detection, it is there at once.
        must("ip", &format!("addr add {}/64 dev {far_end} nodad", own.far6()));
        own.ip("link set lo up");
        own.plug(true);
        own.ip(&format!("addr add {}/64 dev eth0 nodad", own.near6()));
        own.ip(&format!("addr add {}/24 dev eth0", own.near()));
        own.switch(true);
        own
    }

    /// Put before a command, so that it runs in there.
    pub fn wrapper(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// The gateway's address.
    pub fn near(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.number, 2)
    }

    /// The gateway's other address.
    pub fn near6(&self) -> Ipv6Addr {
        self.ipv6(2)
    }

    /// This machine's address at the cable's far end.
    pub fn far(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.number, 1)
    }

    /// This machine's other address there.
    pub fn far6(&self) -> Ipv6Addr {
        self.ipv6(1)
    }

    /// A further address of this machine, which only the default route leads to.
    pub fn beyond(&self) -> Ipv4Addr {
        let address = Ipv4Addr::new(198, 19, self.number, 1);
        must("ip", &format!("addr replace {address}/32 dev {}", self.far_end));
        address
    }

    /// A second cable to this machine, such as a technician plugs in, which stays when the other is
    /// pulled; the gateway's address there.
    pub fn service_port(&self) -> Ipv4Addr {
        let [far, near] = [1, 2].map(|last| Ipv4Addr::new(198, 19, self.number, last));
        let (device, name) = (self.service_end(), &self.name);
        must("ip", &format!("link add {device} type veth peer name eth1 netns {name}"));
        must("ip", &format!("addr add {far}/24 dev {device}"));
        must("ip", &format!("link set {device} up"));
        self.ip(&format!("addr add {near}/24 dev eth1"));
        self.ip("link set eth1 up");
        near
    }

    fn service_end(&self) -> String {
        format!("{}s", self.far_end)
    }

    fn ipv6(&self, last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd5a, 0, u16::from(self.number), 0, 0, 0, 0, last)
    }

    /// The cable in, or out at the far end: the gateway's device keeps its addresses and routes and
    /// has no carrier.
    pub fn plug(&self, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        must("ip", &format!("link set {} {state}", self.far_end));
        if plugged {
            must("ip", &format!("addr replace {}/64 dev {} nodad", self.far6(), self.far_end));
        }
    }

    /// The gateway's device on, with a default route as DHCP would bring it, or off: its routes go.
    pub fn switch(&self, on: bool) {
        match on {
            true => {
                self.ip("link set eth0 up");
                self.ip(&format!("route replace default via {}", self.far()));
            }
            false => self.ip("link set eth0 down"),
        }
    }

    /// `ip WORDS` in there.
    pub fn ip(&self, words: &str) {
        must("ip", &format!("-n {} {words}", self.name));
    }

    /// Puts rules of nftables in force for what comes in and what goes out, in place of all before;
    /// each is the end of a line.
    pub fn filter(&self, input: &[String], output: &[String]) {
        let chain = |hook: &str, rules: &[String]| {
            let rules: String = rules.iter().map(|rule| format!("{rule}\n")).collect();
            format!("chain {hook} {{\ntype filter hook {hook} priority 0;\n{rules}}}\n")
        };
        let (input, output) = (chain("input", input), chain("output", output));
        let text = format!("flush ruleset\ntable inet line {{\n{input}{output}}}\n");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        must("ip", &format!("netns exec {} nft -f {}", self.name, file.path().display()));
    }

    /// Nothing gets through, or everything does.
    pub fn pass(&self, passes: bool) {
        let rules = if passes { vec![] } else { vec!["oifname \"eth0\" drop".to_owned()] };
        self.filter(&[], &rules);
    }

    /// Names are asked of `server` alone, within a second.
    pub fn resolve_at(&self, server: IpAddr) {
        let folder = self.settings();
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("nameserver {server}\noptions timeout:1 attempts:1\n");
        std::fs::write(folder.join("resolv.conf"), text).unwrap();
        std::fs::write(folder.join("nsswitch.conf"), "hosts: files dns\n").unwrap();
    }

    fn settings(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The namespace may live on for what its connections have not sent: its cables must not.
        for device in [self.far_end.clone(), self.service_end()] {
            run("ip", &format!("link del {device}"));
        }
        run("ip", &format!("netns del {}", self.name));
        let _ = std::fs::remove_dir_all(self.settings());
    }
}

/// Local ports of a process's connections over IPv4.
pub fn connected_ports(pid: u32) -> Vec<u16> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let established = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = fields.get(1)?.rsplit_once(':')?.1;
        (*fields.get(3)? == "01").then(|| u16::from_str_radix(port, 16).unwrap())
    });
    established.collect()
}

/// A test that was killed leaves its namespaces behind.
fn remove_leftovers() {
    let listed = run("ip", "netns list").map(|output| output.stdout).unwrap_or_default();
    for line in String::from_utf8_lossy(&listed).lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let process = name.strip_prefix("spillway-").and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !PathBuf::from("/proc").join(process).exists()) {
            run("ip", &format!("netns del {name}"));
        }
    }
}

fn run(program: &str, words: &str) -> Option<Output> {
    Command::new(program).args(words.split(' ')).output().ok()
}

#[track_caller]
fn must(program: &str, words: &str) {
    let missing = || panic!("{program} is missing: apt-get install iproute2 nftables");
    let output = run(program, words).unwrap_or_else(missing);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {words}: {said}(network namespaces need root, iproute2 and nftables)"
    );
}
