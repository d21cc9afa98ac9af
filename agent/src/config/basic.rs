//! The sections that need nothing but themselves: gateway, listen, dead, drain, backoff.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use spillway_protocol::record::RecordId;

use super::load::Surroundings;
use super::section::{self, Section};
use super::tree::Value;
use super::{
    Backoff, Dead, Drain, Gateway, Listen, WhenFull, admin, encryption, front, listen_http, unit,
};

/// Where records come in, unless the configuration says otherwise.
pub const SOCKET: &str = "/run/spillway/spillway.sock";
/// Where the queue lives, unless the configuration says otherwise.
pub const DATA_DIR: &str = "/var/lib/spillway";

const MODE: u32 = 0o660;
const DEAD_KEEP_BYTES: u64 = 64 << 20;
const DEAD_KEEP_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
const BYTES_PER_SECOND: u64 = 256 << 10;
const BACKOFF_INITIAL: Duration = Duration::from_secs(5);
const BACKOFF_MAX: Duration = Duration::from_secs(120);
/// Longest path of a Unix socket (`sun_path` without its end), in bytes.
const SOCKET_PATH_MAX: usize = 107;

pub(super) fn gateway(section: Section<'_>, surroundings: &Surroundings) -> Gateway {
    let id = match section.node("id") {
        Some(_) => section.text("id", "\"gw-0042\"", |text| {
            RecordId::parse(text).map(String::from).map_err(|error| error.message)
        }),
        None => machine_hash(&surroundings.machine_id)
            .map_err(|problem| section.fault("id", problem, "write for example id = \"gw-0042\""))
            .ok(),
    };
    let data_dir = path(&section, "data_dir").unwrap_or_else(|| DATA_DIR.into());
    let (encryption_key, former_keys) = encryption::keys(&section, surroundings);
    section.finish();
    Gateway { id: id.unwrap_or_default(), data_dir, encryption_key, former_keys }
}

/// 16 hex digits that stand for this machine in Spillway only: the machine id itself must not
/// leave it (machine-id(5)).
fn machine_hash(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        format!("is missing and cannot be made from {}: {error}", file.display())
    })?;
    let text = text.trim();
    if text.len() != 32 || !text.chars().all(|c| c.is_ascii_hexdigit()) {
        let file = file.display();
        return Err(format!("is missing and cannot be made from {file}: there is no machine id"));
    }
    let digest = Sha256::new()
        .chain_update(b"spillway gateway id, version 1\n")
        .chain_update(text)
        .finalize();
    Ok(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

pub(super) fn listen(section: Section<'_>, surroundings: &Surroundings) -> Listen {
    let socket = socket(&section, "socket").unwrap_or_else(|| SOCKET.into());
    let mode = section.text("mode", "\"0660\"", |text| {
        let octal = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        octal.ok_or_else(|| "is not an octal mode".to_owned())
    });
    let control = self::socket(&section, "control").unwrap_or_else(|| control_beside(&socket));
    if control == socket {
        section.fault("control", "is the intake socket too", "give each its own path");
    }
    let mq_http = section.section("mq_http");
    let mq_http = mq_http.and_then(|section| front::read(section, surroundings));
    let admin = section.section("admin");
    let admin = admin.and_then(|section| admin::read(section, surroundings));
    let http = section.section("http");
    let http = http.and_then(|section| listen_http::read(section, surroundings));
    section.finish();
    Listen { socket, mode: mode.unwrap_or(MODE), control, http, mq_http, admin }
}

/// The control socket of an agent whose intake socket is `socket`, unless it is told otherwise.
pub fn control_beside(socket: &Path) -> PathBuf {
    socket.with_file_name("control.sock")
}

fn socket(section: &Section<'_>, name: &str) -> Option<PathBuf> {
    section.text(name, "\"/run/spillway/spillway.sock\"", |text| match text.len() {
        0..=SOCKET_PATH_MAX => Ok(PathBuf::from(text)),
        long => Err(format!("has {long} bytes, a socket's path at most {SOCKET_PATH_MAX}")),
    })
}

fn path(section: &Section<'_>, name: &str) -> Option<PathBuf> {
    let path = section.text(name, "\"/var/lib/spillway\"", |text| {
        let from_root =
            std::path::absolute(text).map_err(|error| format!("is no path: {error}"))?;
        Ok((Path::new(text).is_relative(), from_root))
    });
    let (relative, path) = path?;
    if relative {
        let message = format!(
            "leads elsewhere from another working folder, here to {}; write it from / on",
            path.display()
        );
        section.warn(name, message);
    }
    Some(path)
}

pub(super) fn dead(section: Section<'_>) -> Dead {
    let keep_bytes =
        section.with_unit("keep", "\"64 MiB\"", unit::size_bytes).unwrap_or(DEAD_KEEP_BYTES);
    let keep_for = section.with_unit("keep_for", "\"30d\"", |text| {
        unit::duration(text).and_then(|time| positive(time, !time.is_zero()))
    });
    let words = [("hold", WhenFull::Reject), ("drop-oldest", WhenFull::DropOldest)];
    let when_full = section.choice("when_full", &words).unwrap_or_default();
    section.finish();
    Dead { keep_bytes, keep_for: keep_for.unwrap_or(DEAD_KEEP_FOR), when_full }
}

pub(super) fn drain(section: Section<'_>) -> Drain {
    let adaptive = section.flag("adaptive").unwrap_or(true);
    let records_per_second = section.parsed("records_per_second", "\"auto\" or 500", |value| {
        auto(value, |value| section::count(value, 1))
    });
    let bytes_per_second = section.with_unit("bytes_per_second", "\"256 KiB\"", |text| {
        unit::size_bytes(text).and_then(|bytes| positive(bytes, bytes > 0))
    });
    let reconnect_spread = section.parsed("reconnect_spread", "\"auto\" or \"30s\"", |value| {
        auto(value, |value| match value {
            Value::Text(text) | Value::Raw(text) => unit::duration(text),
            Value::Integer(_) => Err("is a number without its unit".to_owned()),
            other => Err(format!("is {}", other.kind())),
        })
    });
    let records_per_second = records_per_second.flatten();
    if !adaptive && records_per_second.is_none() {
        let message =
            "is false while records_per_second is \"auto\": only bytes_per_second bounds the pace";
        section.warn("adaptive", message);
    }
    section.finish();
    Drain {
        adaptive,
        records_per_second,
        bytes_per_second: bytes_per_second.unwrap_or(BYTES_PER_SECOND),
        reconnect_spread: reconnect_spread.flatten(),
    }
}

fn auto<T>(
    value: &Value,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match value {
        Value::Text(text) | Value::Raw(text) if text == "auto" => Ok(None),
        value => read(value).map(Some),
    }
}

fn positive<T>(value: T, is_positive: bool) -> Result<T, String> {
    if is_positive { Ok(value) } else { Err("is nothing at all".to_owned()) }
}

pub(super) fn backoff(section: Section<'_>) -> Backoff {
    let wait = |name, example, default| {
        let read = section.with_unit(name, example, |text| {
            unit::duration(text).and_then(|wait| positive(wait, !wait.is_zero()))
        });
        read.unwrap_or(default)
    };
    let initial = wait("initial", "\"5s\"", BACKOFF_INITIAL);
    let max = wait("max", "\"2m\"", BACKOFF_MAX);
    if initial > max {
        let name = if section.node("initial").is_some() { "initial" } else { "max" };
        section.fault(name, "initial is longer than max", "make initial the smaller one");
    }
    section.finish();
    Backoff { initial, max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_id_is_a_hash_of_the_machine_id_and_not_the_id() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("machine-id");
        std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
        let id = machine_hash(&file).unwrap();
        assert_eq!(id.len(), 16);
        assert!(id.chars().all(|c| c.is_ascii_hexdigit()) && !id.starts_with("0123"));
        assert_eq!(machine_hash(&file).unwrap(), id);
        std::fs::write(&file, "uninitialized\n").unwrap();
        assert!(machine_hash(&file).unwrap_err().contains("there is no machine id"));
    }
}
