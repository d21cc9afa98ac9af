//! Whole files in, configuration or faults out.

mod access;
mod admin;
mod budget;
mod client;
mod control;
mod default_file;
mod encryption;
mod faults;
mod front;
mod good;
mod kept;
mod listen_http;
mod merging;
mod proxy;
mod secrets;

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;

use super::load::Surroundings;
use super::{Config, Warning, load};

/// The smallest configuration there is.
const SMALL: &str = "[[lane]]\nname = \"main\"\ntopic = \"t\"\n";

/// A folder with `spillway.toml`, what lies beside it, and an environment.
pub(super) struct Setup {
    folder: TempDir,
    variables: BTreeMap<String, String>,
}

impl Setup {
    pub(super) fn new(main: &str) -> Self {
        let setup = Self { folder: tempfile::tempdir().unwrap(), variables: BTreeMap::new() };
        setup.file("spillway.toml", main).file("machine-id", "0123456789abcdef0123456789abcdef\n")
    }

    pub(super) fn file(self, name: &str, content: &str) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// As if `main` lay in /etc/spillway, with all files that examples name.
    pub(super) fn in_etc(main: &str) -> Self {
        let setup = Self::new("");
        let folder = format!("{}/", setup.folder.path().display());
        let files = [
            "ca.pem",
            "gateway.pem",
            "gateway.key",
            "access_key_secret",
            "security_token",
            "local_app_secret",
            "admin_token",
            "his_token",
            "http_token",
            "proxy_password",
        ];
        files
            .iter()
            .fold(setup, |setup, file| setup.file(file, "0123456789abcdef"))
            .file("encryption_key", &"0123456789abcdef".repeat(4))
            .file("former_key", &"fedcba9876543210".repeat(4))
            .file("spillway.toml", &main.replace("/etc/spillway/", &folder))
    }

    pub(super) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn surroundings(&self) -> Surroundings {
        Surroundings { variables: self.variables.clone(), machine_id: self.path("machine-id") }
    }

    pub(super) fn load(&self) -> Result<(Config, Vec<Warning>), String> {
        load(&self.path("spillway.toml"), &self.surroundings()).map_err(|e| self.bare(&e))
    }

    /// The text without the folder, so that tests can spell it.
    fn bare(&self, text: &impl ToString) -> String {
        text.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }

    #[track_caller]
    pub(super) fn good(&self) -> Config {
        self.load().map(|(config, _)| config).unwrap()
    }

    #[track_caller]
    pub(super) fn faults(&self) -> Vec<String> {
        let text = self.load().unwrap_err();
        text.lines().map(str::to_owned).collect()
    }

    /// The same without the file's name.
    #[track_caller]
    fn faults_by_line(&self) -> Vec<String> {
        self.faults().iter().map(|fault| fault.replace("spillway.toml:", "")).collect()
    }

    #[track_caller]
    fn warnings(&self) -> Vec<String> {
        let (_, warnings) = self.load().unwrap();
        warnings.iter().map(|warning| self.bare(warning)).collect()
    }
}
