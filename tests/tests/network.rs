//! The real agent in a network of its own that is cut, filtered, slowed and renamed: each time all
//! records arrive in the end, none twice without a lost answer, and an agent that is offline costs
//! next to nothing. Needs root, iproute2, nftables and tinyproxy.
//!
//! All scenes play side by side, since most of each is waiting.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use spillway_protocol::local::status::{LinkState, Status};
use spillway_tests::broker::{HttpBroker, INSTANCE, KEY, SECRET};
use spillway_tests::gateway::Gateway;
use spillway_tests::ledger::Ledger;
use spillway_tests::namespace::{Namespace, connected_ports};
use spillway_tests::relay::Relay;
use spillway_tests::resolver::Resolver;
use spillway_tests::rocketmq::{Options, RocketMq};
use spillway_tests::{app, arrival::Arrival, oracle};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// For a scene's steps, with nine others beside it.
const PATIENCE: Duration = Duration::from_secs(180);
/// Port of the relays.
const PORT: u16 = 7_070;
/// Requests in flight: as many answers a cut may lose.
const IN_FLIGHT_MAX: usize = 160;
/// An agent that is offline and does more than this, in parts of one core, is at fault.
const CPU_ABSURD: f64 = 0.25;
/// Waits so short that a scene need not wait for them.
const SHORT_WAITS: &str = "[backoff]\ninitial = \"1s\"\nmax = \"3s\"\n";
/// Waits so long that only the kernel's word can cut them short.
const LONG_WAITS: &str = "[backoff]\ninitial = \"10m\"\nmax = \"10m\"\n";

/// A gateway, its network, and an embedded broker beyond it.
struct Scene {
    name: &'static str,
    ledger: Ledger,
    handed: u64,
    gateway: Gateway,
    broker: HttpBroker,
    network: Namespace,
}

impl Scene {
    /// The agent does not run yet; `upstream` makes the address and what else stands in `[upstream]`.
    async fn new(
        name: &'static str,
        waits: &str,
        upstream: impl FnOnce(&Namespace, &HttpBroker) -> String,
    ) -> Self {
        let network = Namespace::new();
        let broker = HttpBroker::start().await;
        let settings = format!(
            "{waits}[drain]\nadaptive = false\nbytes_per_second = \"16 MiB\"\n\
             reconnect_spread = \"0s\"\n[[lane]]\nname = \"main\"\ntopic = \"t\"\n\
             [upstream]\nplaintext = true\ninstance_id = \"{INSTANCE}\"\naccess_key_id = \"{KEY}\"\n\
             access_key_secret = \"{SECRET}\"\n{}\n",
            upstream(&network, &broker)
        );
        let gateway = Gateway::new(&settings).wrapped(&network.wrapper());
        Self { name, ledger: Ledger::default(), handed: 0, gateway, broker, network }
    }

    /// The agent runs, to a relay at the cable's far end.
    async fn direct(name: &'static str, waits: &str, delay: Duration) -> (Self, Relay) {
        let mut scene = Self::new(name, waits, |network, _| endpoint(network.far())).await;
        let relay = scene.relay(scene.network.far(), delay).await;
        scene.gateway.start_ready().await;
        (scene, relay)
    }

    async fn relay(&self, near: impl Into<IpAddr>, delay: Duration) -> Relay {
        Relay::between((near.into(), PORT), self.broker.port(), delay).await
    }

    /// Hands records over and waits until they are stored.
    async fn hand_over(&mut self, count: u64) {
        let drafts = app::drafts(self.name, self.handed..self.handed + count);
        self.handed += count;
        app::hand_over(&self.gateway.socket(), &self.ledger, "main", drafts).await;
    }

    async fn drained(&mut self) -> Status {
        self.gateway.until_delivered(PATIENCE).await
    }

    async fn offline(&mut self, because: &str) -> Status {
        let what = format!("it is offline because {because:?}");
        let offline = |s: &Status| {
            matches!(s.link.state, LinkState::Offline | LinkState::Probing)
                && s.link.reason.contains(because)
        };
        self.gateway.until_within(PATIENCE, &what, offline).await
    }

    /// What a core spent on the agent during `time`, in parts of it.
    async fn cpu(&self, time: Duration) -> f64 {
        let before = cpu_s(self.gateway.pid());
        sleep(time).await;
        (cpu_s(self.gateway.pid()) - before) / time.as_secs_f64()
    }

    /// Everything is there, and at most `repeats` records twice.
    async fn check(mut self, repeats: usize) {
        self.drained().await;
        let arrived = self.broker.arrivals(&["t"]);
        check(self.name, &self.ledger, &arrived, repeats);
        self.gateway.stop(Duration::from_secs(30)).await;
    }
}

fn endpoint(far: impl Into<IpAddr>) -> String {
    format!("endpoint = \"http://{}:{PORT}\"", far.into())
}

fn check(name: &str, ledger: &Ledger, arrived: &[Arrival], repeats: usize) {
    oracle::assert_none(name, &oracle::losses(&ledger.snapshot(), arrived));
    oracle::assert_none(name, &oracle::gaps(arrived));
    let found = oracle::repeats(arrived).len();
    println!("{name}: {} records, {found} twice", ledger.snapshot().len());
    assert!(found <= repeats, "{name}: {found} came twice, of at most {repeats}");
}

/// Seconds of processor time that a process has used.
fn cpu_s(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_the_network_everything_arrives() {
    let mut scenes = JoinSet::new();
    let mut play = |name, scene: BoxFuture<'static, ()>| {
        scenes.spawn(async move { AssertUnwindSafe(scene).catch_unwind().await.map_err(|_| name) });
    };
    play("loss", all_packets_are_lost().boxed());
    play("half-open", connections_die_without_a_word().boxed());
    play("latency", two_seconds_of_latency().boxed());
    play("lossy", one_packet_in_twenty_is_lost().boxed());
    play("flapping", the_link_flaps().boxed());
    play("cable", the_cable_is_out_and_in().boxed());
    play("families", from_ipv6_to_ipv4_and_back().boxed());
    play("names", names_are_gone_and_mean_something_else_then().boxed());
    play("proxy", through_a_proxy_that_asks_who_is_there().boxed());
    play("grpc", the_same_over_grpc().boxed());
    let played = scenes.join_all().await;
    let failed: Vec<_> = played.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "scenes that failed, each with its own panic above: {failed:?}");
}

async fn all_packets_are_lost() {
    let (mut scene, _relay) = Scene::direct("loss", SHORT_WAITS, Duration::ZERO).await;
    scene.hand_over(50).await;
    scene.drained().await;
    scene.network.pass(false);
    scene.hand_over(200).await;
    scene.offline("").await;
    let share = scene.cpu(Duration::from_secs(10)).await;
    println!("loss: offline, {:.2} % of a core", share * 100.0);
    assert!(share < CPU_ABSURD, "{share}");
    scene.network.pass(true);
    scene.check(IN_FLIGHT_MAX).await;
}

/// As a NAT that forgot them, or a modem that came back: only new connections work.
async fn connections_die_without_a_word() {
    let (mut scene, _relay) = Scene::direct("half-open", SHORT_WAITS, Duration::ZERO).await;
    scene.hand_over(50).await;
    scene.drained().await;
    forget_connections(&scene.network, scene.gateway.pid());
    scene.hand_over(200).await;
    let begun = Instant::now();
    scene.drained().await;
    println!("half-open: drained after {:.1} s", begun.elapsed().as_secs_f64());
    scene.check(IN_FLIGHT_MAX).await;
}

fn forget_connections(network: &Namespace, pid: u32) {
    let ports = connected_ports(pid);
    assert!(!ports.is_empty(), "no connection was kept");
    let list: Vec<String> = ports.iter().map(u16::to_string).collect();
    let list = list.join(", ");
    let rule = |side: &str| vec![format!("tcp {side} {{ {list} }} drop")];
    network.filter(&rule("dport"), &rule("sport"));
}

async fn two_seconds_of_latency() {
    let (mut scene, _relay) = Scene::direct("latency", SHORT_WAITS, Duration::from_secs(1)).await;
    scene.hand_over(200).await;
    scene.check(0).await;
}

async fn one_packet_in_twenty_is_lost() {
    let (mut scene, _relay) = Scene::direct("lossy", SHORT_WAITS, Duration::ZERO).await;
    let rule = vec!["numgen random mod 100 < 5 drop".to_owned()];
    scene.network.filter(&rule, &rule);
    for _ in 0..5 {
        scene.hand_over(100).await;
        scene.drained().await;
    }
    scene.network.pass(true);
    scene.check(IN_FLIGHT_MAX).await;
}

async fn the_link_flaps() {
    let (mut scene, _relay) = Scene::direct("flapping", SHORT_WAITS, Duration::ZERO).await;
    scene.hand_over(50).await;
    let mut before = scene.drained().await.lanes[0].delivered;
    let mut progress = 0;
    for _ in 0..5 {
        scene.network.plug(false);
        scene.hand_over(50).await;
        sleep(Duration::from_secs(3)).await;
        scene.network.plug(true);
        sleep(Duration::from_secs(3)).await;
        let delivered = scene.gateway.ready().await.lanes[0].delivered;
        progress += u32::from(delivered > before);
        before = delivered;
    }
    println!("flapping: something arrived in {progress} of 5 times");
    assert!(progress > 0, "nothing arrives while it flaps");
    scene.check(5 * IN_FLIGHT_MAX).await;
}

/// Ten minutes until the next attempt, but for the kernel.
async fn the_cable_is_out_and_in() {
    let (mut scene, _relay) = Scene::direct("cable", LONG_WAITS, Duration::ZERO).await;
    scene.hand_over(50).await;
    scene.drained().await;
    for (what, why) in [("cable", "has no carrier"), ("device", "no route to")] {
        set(&scene.network, what, false);
        let begun = Instant::now();
        scene.offline(why).await;
        let noticed_s = begun.elapsed().as_secs_f64();
        scene.hand_over(100).await;
        set(&scene.network, what, true);
        let begun = Instant::now();
        scene.gateway.until("it is up", |s| s.link.state == LinkState::Online).await;
        let back_s = begun.elapsed().as_secs_f64();
        scene.drained().await;
        let drained_s = begun.elapsed().as_secs_f64();
        println!(
            "{what} out: offline after {noticed_s:.2} s; in: up after {back_s:.2} s, drained after {drained_s:.2} s"
        );
    }
    scene.check(0).await;
}

fn set(network: &Namespace, what: &str, whole: bool) {
    match what {
        "cable" => network.plug(whole),
        _ => network.switch(whole),
    }
}

async fn from_ipv6_to_ipv4_and_back() {
    let mut resolver = None;
    let mut scene = Scene::new("families", SHORT_WAITS, |network, _| {
        network.resolve_at(network.far().into());
        let addresses = vec![network.far6().into(), network.far().into()];
        resolver = Some(Resolver::start(network.far().into(), addresses));
        format!("endpoint = \"http://mq.test:{PORT}\"")
    })
    .await;
    let _resolver = resolver.unwrap().await;
    let _six = scene.relay(scene.network.far6(), Duration::ZERO).await;
    let _four = scene.relay(scene.network.far(), Duration::ZERO).await;
    scene.gateway.start_ready().await;
    let [six, four] = ["ipv6", "ipv4"];
    let refuse =
        |family: &str, port: &str| vec![format!("meta nfproto {family} tcp {port} {PORT} drop")];
    scene.hand_over(50).await;
    scene.drained().await;
    for family in [six, four, six] {
        scene.network.filter(&refuse(family, "sport"), &refuse(family, "dport"));
        scene.hand_over(100).await;
        scene.drained().await;
    }
    scene.check(3 * IN_FLIGHT_MAX).await;
}

async fn names_are_gone_and_mean_something_else_then() {
    let mut resolver = None;
    let mut scene = Scene::new("names", SHORT_WAITS, |network, _| {
        network.resolve_at(network.far().into());
        resolver = Some(Resolver::start(network.far().into(), vec![network.far().into()]));
        format!("endpoint = \"http://mq.test:{PORT}\"")
    })
    .await;
    let resolver = resolver.unwrap().await;
    let relay = scene.relay(scene.network.far(), Duration::ZERO).await;
    scene.gateway.start_ready().await;
    scene.hand_over(50).await;
    scene.drained().await;
    resolver.say(None);
    // A connection that is there needs no name.
    scene.hand_over(1).await;
    scene.drained().await;
    relay.cut();
    drop(relay);
    scene.hand_over(100).await;
    scene.offline("dns").await;
    let beyond: IpAddr = scene.network.beyond().into();
    let _relay = scene.relay(beyond, Duration::ZERO).await;
    resolver.say(Some(vec![beyond]));
    scene.check(IN_FLIGHT_MAX).await;
}

/// tinyproxy on this machine, which alone reaches the broker: that listens on loopback.
struct TinyProxy {
    child: Child,
    _folder: tempfile::TempDir,
}

impl TinyProxy {
    async fn start(listen: IpAddr, user: &str, password: &str, to: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tinyproxy.conf");
        let text = format!(
            "Port {PORT}\nListen {listen}\nTimeout 600\nMaxClients 500\n\
             BasicAuth {user} {password}\nConnectPort {to}\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("tinyproxy");
        command.args(["-d", "-c"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("tinyproxy is missing: apt-get install tinyproxy-bin");
        let listens = async {
            while tokio::net::TcpStream::connect((listen, PORT)).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(30), listens).await.expect("tinyproxy does not listen");
        Self { child, _folder: folder }
    }
}

impl Drop for TinyProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn through_a_proxy_that_asks_who_is_there() {
    let with_password = |network: &Namespace, broker: &HttpBroker, password: &str| {
        let url = format!("http://{}:{PORT}", network.far());
        let proxy = format!("{{ url = \"{url}\", user = \"gw\", password = \"{password}\" }}");
        format!("endpoint = \"{}\"\nproxy = {proxy}", broker.endpoint())
    };
    let mut scene = Scene::new("proxy", SHORT_WAITS, |n, b| with_password(n, b, "wrong")).await;
    let far = scene.network.far();
    let proxy = TinyProxy::start(far.into(), "gw", "right", scene.broker.port()).await;
    scene.gateway.start_ready().await;
    scene.hand_over(100).await;
    let status = scene.offline("proxy refuses this user and password (4").await;
    let place = format!("through the proxy {far}:{PORT}");
    assert!(status.link.reason.contains(&place), "{:?}", status.link);
    let file = scene.gateway.file("spillway.toml");
    let mut words: Vec<&str> = scene.network.wrapper().to_vec();
    let binary = spillway_tests::gateway::binary();
    words.extend([binary.to_str().unwrap(), "check", "--connect", "--config"]);
    let output = Command::new(words[0]).args(&words[1..]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains(&place), "{said}");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"wrong\"", "\"right\"");
    scene.gateway.stop(Duration::from_secs(30)).await;
    std::fs::write(&file, text).unwrap();
    scene.gateway.start_ready().await;
    scene.drained().await;
    drop(proxy);
    scene.hand_over(50).await;
    scene.offline("no way to the proxy").await;
    let _proxy = TinyProxy::start(far.into(), "gw", "right", scene.broker.port()).await;
    scene.check(IN_FLIGHT_MAX).await;
}

/// A real RocketMQ, half-open connections and a cable.
async fn the_same_over_grpc() {
    let mut mq = tokio::task::spawn_blocking(|| {
        let mut mq = RocketMq::start(Options::default());
        mq.create_topic("t", "NORMAL");
        mq
    })
    .await
    .unwrap();
    let network = Namespace::new();
    let near = (IpAddr::from(network.far()), PORT);
    let _relay = Relay::between(near, mq.grpc_port(), Duration::ZERO).await;
    let settings = format!(
        "{SHORT_WAITS}[drain]\nadaptive = false\nreconnect_spread = \"0s\"\n\
         [[lane]]\nname = \"main\"\ntopic = \"t\"\n\
         [upstream]\ntransport = \"grpc\"\nplaintext = true\nendpoint = \"{}:{PORT}\"\n",
        network.far()
    );
    let mut gateway = Gateway::new(&settings).wrapped(&network.wrapper());
    gateway.start_ready().await;
    let ledger = Ledger::default();
    hand_over_more(&gateway, &ledger, 0..50).await;
    gateway.until_delivered(PATIENCE).await;
    network.plug(false);
    gateway.until("it is offline", |s| s.link.reason.contains("carrier")).await;
    hand_over_more(&gateway, &ledger, 50..150).await;
    network.plug(true);
    gateway.until_delivered(PATIENCE).await;
    forget_connections(&network, gateway.pid());
    hand_over_more(&gateway, &ledger, 150..250).await;
    let begun = Instant::now();
    gateway.until_delivered(PATIENCE).await;
    println!("grpc half-open: drained after {:.1} s", begun.elapsed().as_secs_f64());
    gateway.stop(Duration::from_secs(30)).await;
    let stored = tokio::task::spawn_blocking(move || mq.read_all("t")).await.unwrap();
    let arrived: Vec<Arrival> = stored.iter().map(Arrival::from).collect();
    check("grpc", &ledger, &arrived, IN_FLIGHT_MAX);
}

async fn hand_over_more(gateway: &Gateway, ledger: &Ledger, range: std::ops::Range<u64>) {
    app::hand_over(&gateway.socket(), ledger, "main", app::drafts("grpc", range)).await;
}
