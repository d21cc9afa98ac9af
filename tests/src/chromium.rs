//! Debian's Chromium without a screen, driven over WebDriver: what a person at a phone or a desk
//! sees of a page, what the browser complains about, and whom it asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{PATIENCE, built};
use crate::port;

const POLL: Duration = Duration::from_millis(50);
/// Nothing but the page: no questions to its maker, no profile of before.
const FLAGS: [&str; 14] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
];

/// Width and height of a phone that is held upright, in its own pixels.
pub const PHONE: (u32, u32) = (360, 740);
/// The narrowest there is.
pub const NARROW: (u32, u32) = (320, 640);
/// The narrowest on which tables are tables.
pub const TABLET: (u32, u32) = (962, 700);
/// A desk's.
pub const DESK: (u32, u32) = (1280, 900);

/// Where a picture of this name is kept, for people to look at.
pub fn picture(name: &str) -> PathBuf {
    let target = built("spillway").parent().and_then(Path::parent).unwrap().to_owned();
    target.join("pictures").join(format!("{name}.png"))
}

/// See the module. Both processes end when this is dropped.
pub struct Chromium {
    driver: Child,
    port: u16,
    session: String,
    profile: TempDir,
}

impl Chromium {
    /// A browser with one empty page.
    pub fn start() -> Self {
        let (port, profile) = (port::free(), tempfile::tempdir().unwrap());
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).env("HOME", profile.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = command.spawn().expect("chromedriver: apt-get install chromium-driver");
        let mut chromium = Self { driver, port, session: String::new(), profile };
        chromium.open_session();
        chromium
    }

    fn open_session(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.connect().is_err() {
            let ended = self.driver.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "no chromedriver: {ended:?}");
            std::thread::sleep(POLL);
        }
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let arguments: Vec<&str> = FLAGS.into_iter().chain([profile.as_str()]).collect();
        let options = json!({"args": arguments});
        let logs = json!({"browser": "ALL", "performance": "ALL"});
        let wanted = json!({"goog:chromeOptions": options, "goog:loggingPrefs": logs});
        let answer =
            self.ask("POST", "/session", &json!({"capabilities": {"alwaysMatch": wanted}}));
        self.session = answer["sessionId"].as_str().unwrap().to_owned();
        // What the page that it begins with asks for is its maker's.
        self.open("about:blank");
        self.requests();
    }

    /// Goes to `url`.
    pub fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// What a function's body of JavaScript returns.
    pub fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({"script": script, "args": []}))
    }

    /// The text that a person reads in the element that `selector` finds.
    pub fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?})?.innerText ?? ''");
        self.run(&script).as_str().unwrap().to_owned()
    }

    /// Waits until the text of an element is as wanted.
    #[track_caller]
    pub fn until(&self, selector: &str, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text(selector);
            if wanted(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "in vain until {what}; {selector} says: {text}");
            std::thread::sleep(POLL);
        }
    }

    /// Waits until an element's text has this in it.
    #[track_caller]
    pub fn until_says(&self, selector: &str, part: &str) -> String {
        self.until(selector, part, |text| text.contains(part))
    }

    /// Waits until a function's body of JavaScript returns true.
    #[track_caller]
    pub fn until_true(&self, script: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.run(script) != true {
            assert!(Instant::now() < deadline, "in vain until {script}");
            std::thread::sleep(POLL);
        }
    }

    /// Makes the window so large, and dark or light.
    pub fn look(&self, (width, height): (u32, u32), dark: bool) {
        let phone = width < 700;
        let size = json!({"width": width, "height": height, "mobile": phone,
            "deviceScaleFactor": if phone { 2 } else { 1 }});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &media);
    }

    /// How many pixels of the page's width do not fit into the window.
    pub fn overflow(&self) -> i64 {
        let script = "const r = document.documentElement; return r.scrollWidth - r.clientWidth";
        self.run(script).as_i64().unwrap()
    }

    /// The whole page as a picture.
    pub fn picture(&self, file: &Path) {
        self.shoot(file, true);
    }

    /// What the window shows of it.
    pub fn glance(&self, file: &Path) {
        self.shoot(file, false);
    }

    fn shoot(&self, file: &Path, whole: bool) {
        let asked = json!({"format": "png", "captureBeyondViewport": whole});
        let picture = self.devtools("Page.captureScreenshot", &asked);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let bytes = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    /// What the browser complained about since this was asked last.
    pub fn complaints(&self) -> Vec<String> {
        let severe = |entry: &Value| entry["level"] == "SEVERE" || entry["level"] == "WARNING";
        let log = self.log("browser");
        log.iter().filter(|entry| severe(entry)).map(|entry| entry["message"].to_string()).collect()
    }

    /// The addresses that were asked for since this was asked last.
    pub fn requests(&self) -> Vec<String> {
        let events = self.log("performance").into_iter().map(|entry| {
            let text = entry["message"].as_str().unwrap().to_owned();
            serde_json::from_str::<Value>(&text).unwrap()["message"].clone()
        });
        let sent = events.filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// A command of the browser's own protocol.
    pub fn devtools(&self, name: &str, parameters: &Value) -> Value {
        self.command("goog/cdp/execute", &json!({"cmd": name, "params": parameters}))
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        self.command("se/log", &json!({ "type": kind })).as_array().unwrap().clone()
    }

    fn command(&self, name: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}/{name}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.exchange(method, path, body).expect("chromedriver answers");
        let value = &answer["value"];
        assert!(value.get("error").is_none_or(Value::is_null), "{method} {path}: {value}");
        value.clone()
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Value> {
        let (mut stream, body, port) = (self.connect()?, body.to_string(), self.port);
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        // It keeps the connection open whatever it is asked.
        let mut reader = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line)? > 0 && line.trim() != "" {
            let header = line.to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut text = vec![0; length];
        reader.read_exact(&mut text)?;
        Ok(serde_json::from_slice(&text).expect("JSON of a whole answer"))
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It ends its browser, also one whose session is still being made.
        drop(self.exchange("GET", "/shutdown", &json!({})));
        self.driver.kill().unwrap();
        self.driver.wait().unwrap();
    }
}
