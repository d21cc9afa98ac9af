//! The configuration as it is written, with where each setting comes from, to be shown to others:
//! what is not known to be harmless is hidden.

use std::net::Ipv6Addr;
use std::path::Path;

use super::fault::Findings;
use super::load::{Surroundings, read_files};
use super::merge::is_source;
use super::tree::{Node, Table, Value};
use super::unit;

/// In place of what is not shown.
pub const HIDDEN: &str = "(hidden)";

/// Texts that say nothing that nobody may know: settings by their path, without places in lists.
/// What is new is hidden until somebody has thought about it.
const SHOWN: [&str; 38] = [
    "client.lanes",
    "client.name",
    "control.ca",
    "control.public_key",
    "dead.when_full",
    "gateway.data_dir",
    "gateway.id",
    "lane.bundle.compress",
    "lane.compress",
    "lane.degrade.do",
    "lane.degrade.keep",
    "lane.degrade.when",
    "lane.name",
    "lane.on_reject",
    "lane.order",
    "lane.tag",
    "lane.topic",
    "lane.when_full",
    "listen.admin.address",
    "listen.admin.hosts",
    "listen.control",
    "listen.http.address",
    "listen.mode",
    "listen.mq_http.address",
    "listen.socket",
    "presence.client_group",
    "presence.topic",
    "report.topic",
    "route.lane",
    "route.order_key",
    "route.tag",
    "route.topic",
    "upstream.instance_id",
    "upstream.namespace",
    "upstream.tls.ca",
    "upstream.tls.certificate",
    "upstream.tls.server_name",
    "upstream.transport",
];
/// Addresses: shown without who asks and what for.
const URLS: [&str; 3] = ["control.url", "upstream.endpoint", "upstream.proxy.url"];
/// A number or a word behind such a name is hidden, too.
const TELLING: [&str; 5] = ["secret", "password", "token", "key", "credential"];

/// What is shorter, and no secret by its name, may be a lane's name or an ordinary word as well: it is
/// hidden where it stands, and not wherever else it may.
const WORD: usize = 8;

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its path, such as `lane[main].topic`.
    pub key: String,
    /// Its value, as far as it may be seen.
    pub value: String,
    /// File and line, or the environment variable.
    pub place: String,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// In the order written.
    pub settings: Vec<Setting>,
    /// What was hidden, to be found again wherever else it may stand.
    pub hidden: Vec<String>,
}

/// Reads the same files and variables as [`load()`](super::load()), also where they are faulty.
pub fn written(file: &Path, surroundings: &Surroundings) -> Written {
    let (tree, _) = read_files(file, surroundings, &mut Findings::default());
    let mut reader = Reader { surroundings, written: Written::default() };
    reader.table(&tree, "", "");
    reader.written
}

struct Reader<'a> {
    surroundings: &'a Surroundings,
    written: Written,
}

impl Reader<'_> {
    fn table(&mut self, table: &Table, key: &str, path: &str) {
        for (name, node) in &table.entries {
            let below =
                |of: &str| if of.is_empty() { name.clone() } else { format!("{of}.{name}") };
            self.node(node, &below(key), &below(path));
        }
    }

    /// `key` is for people, `path` the same without places in lists.
    fn node(&mut self, node: &Node, key: &str, path: &str) {
        let value = match &node.value {
            Value::Table(table) if is_source(table) => self.source(table),
            Value::Table(table) => return self.table(table, key, path),
            Value::List(items) => {
                for (nth, item) in items.iter().enumerate() {
                    let place = named(item).unwrap_or_else(|| nth.to_string());
                    self.node(item, &format!("{key}[{place}]"), path);
                }
                return;
            }
            Value::Text(text) | Value::Raw(text) => self.text(text, path),
            Value::Integer(number) if tells(path) => self.hide(&number.to_string()),
            Value::Integer(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::Other(kind) => (*kind).to_owned(),
        };
        let place = node.place.to_string();
        self.written.settings.push(Setting { key: key.to_owned(), value, place });
    }

    /// Where a secret comes from may be seen.
    fn source(&mut self, table: &Table) -> String {
        let mut parts = Vec::new();
        for (source, node) in &table.entries {
            let (Value::Text(from) | Value::Raw(from)) = &node.value else { continue };
            let variable = |name: &str| self.surroundings.variables.get(name).cloned();
            let secret = match source.as_str() {
                "env" => variable(from),
                "file" => std::fs::read_to_string(from).ok(),
                _ => variable("CREDENTIALS_DIRECTORY")
                    .and_then(|folder| std::fs::read_to_string(Path::new(&folder).join(from)).ok()),
            };
            secret.iter().for_each(|secret| self.remember(secret));
            parts.push(format!("{source} = {from:?}"));
        }
        format!("{{ {} }}", parts.join(", "))
    }

    fn text(&mut self, text: &str, path: &str) -> String {
        if URLS.contains(&path) {
            return self.url(text);
        }
        let number = text.parse::<i64>().is_ok() || text.parse::<bool>().is_ok();
        let measure = unit::duration(text).is_ok() || unit::size_bytes(text).is_ok();
        let share = text.strip_suffix('%').is_some_and(|part| part.parse::<u32>().is_ok());
        let word = ["auto", "none"].contains(&text);
        let harmless = !tells(path) && (number || measure || share || word);
        match harmless || SHOWN.contains(&path) {
            true => format!("{text:?}"),
            false if is_secret(path) || text.chars().count() >= WORD => self.hide(text),
            false => HIDDEN.to_owned(),
        }
    }

    /// Scheme, machine and port.
    fn url(&mut self, text: &str) -> String {
        let Some((scheme, rest)) = text.split_once("://") else { return self.hide(text) };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, machine) = authority.rsplit_once('@').unwrap_or(("", authority));
        let user_shown = if user.is_empty() { "" } else { "(hidden)@" };
        user.split(':').chain([user]).for_each(|part| self.remember(part));
        let known = is_scheme(scheme) && is_machine(machine);
        if let (false, Some((_, secret))) = (known, machine.split_once(':')) {
            self.remember(secret);
        }
        let path_shown = match path {
            "" | "/" => path,
            _ => "/(hidden)",
        };
        if !["", "/"].contains(&path) {
            let values = path.split(['?', '&', '#']).filter_map(|part| part.split_once('='));
            values.for_each(|(_, value)| self.remember(value));
            self.remember(path);
        }
        if !known {
            return self.hide(text);
        }
        format!("{:?}", format!("{scheme}://{user_shown}{machine}{path_shown}"))
    }

    fn hide(&mut self, text: &str) -> String {
        self.remember(text);
        HIDDEN.to_owned()
    }

    fn remember(&mut self, text: &str) {
        let text = text.trim();
        if !text.is_empty() {
            self.written.hidden.push(text.to_owned());
        }
    }
}

/// An address of which nothing can be a secret, as it is: it holds a machine and perhaps a port, but
/// not who asks, with which password and for what.
pub(super) fn without_secrets(address: &str) -> Option<&str> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let machine = rest.strip_suffix('/').unwrap_or(rest);
    (is_scheme(scheme) && is_machine(machine)).then_some(address)
}

/// What stands before the first colon of an address may be a user, and a password behind it.
fn is_scheme(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// A host and perhaps a port; what is behind a colon and no port may be a password.
fn is_machine(text: &str) -> bool {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let rest = match bracketed {
        Some((address, rest)) if address.parse::<Ipv6Addr>().is_ok() => rest,
        _ => text,
    };
    let port = rest.split_once(':').map(|(_, port)| port);
    !rest.contains(['@', '/', '?', '#']) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// The words of a program's command line are ordinary ones.
fn is_secret(path: &str) -> bool {
    tells(path) && path != "upstream.credential_command"
}

fn tells(path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
    TELLING.iter().any(|word| name.contains(word))
}

fn named(item: &Node) -> Option<String> {
    let Value::Table(table) = &item.value else { return None };
    match &table.get("name")?.value {
        Value::Text(name) => Some(name.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, variables: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.toml");
        std::fs::write(&file, text).unwrap();
        let variables = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let surroundings = Surroundings { variables, machine_id: "/nowhere".into() };
        let Written { settings, hidden } = written(&file, &surroundings);
        let line = |setting: Setting| {
            let place = setting.place.rsplit('/').next().unwrap_or_default().to_owned();
            format!("{} = {} {place}", setting.key, setting.value)
        };
        (settings.into_iter().map(line).collect(), hidden)
    }

    #[test]
    fn what_is_known_is_shown_and_all_else_is_hidden() {
        let text = "[gateway]\nid = 'gw'\nunknown = 'words'\n[upstream]\naccess_key_secret = 's3'\n\
                    endpoint = 'https://u:pw@mq.example:80/in/x?token=t1'\ntoken = 12345678\n\
                    [[lane]]\nname = 'main'\nquota = '1 GiB'\nfreshness = '5s'\n\
                    [[route]]\nwhen = { ward = 'oncology' }\n";
        let (lines, hidden) = read(text, &[]);
        let shown = [
            "gateway.id = \"gw\" s.toml:2",
            "gateway.unknown = (hidden) s.toml:3",
            "upstream.access_key_secret = (hidden) s.toml:5",
            "upstream.endpoint = \"https://(hidden)@mq.example:80/(hidden)\" s.toml:6",
            "upstream.token = (hidden) s.toml:7",
            "lane[main].name = \"main\" s.toml:9",
            "lane[main].quota = \"1 GiB\" s.toml:10",
            "lane[main].freshness = \"5s\" s.toml:11",
            "route[0].when.ward = (hidden) s.toml:13",
        ];
        assert_eq!(lines, shown);
        for secret in ["s3", "u:pw", "pw", "t1", "12345678", "oncology"] {
            assert!(hidden.iter().any(|text| text == secret), "{secret}: {hidden:?}");
        }
        for word in ["words", "token"] {
            assert!(!hidden.iter().any(|text| text == word), "{word}: {hidden:?}");
        }
    }

    #[test]
    fn a_secret_from_elsewhere_is_known_by_its_place_and_hidden_everywhere() {
        let text = "[upstream]\naccess_key_secret = { env = 'KEY' }\n";
        let variables = [("KEY", "of env"), ("SPILLWAY__LISTEN__ADMIN__TOKEN", "from variable")];
        let (lines, hidden) = read(text, &variables);
        let shown = [
            "upstream.access_key_secret = { env = \"KEY\" } s.toml:2",
            "listen.admin.token = (hidden) environment variable SPILLWAY__LISTEN__ADMIN__TOKEN",
        ];
        assert_eq!(lines, shown);
        assert_eq!(hidden, ["of env", "from variable"]);
    }

    #[test]
    fn ordinary_words_of_a_command_are_hidden_where_they_stand_and_not_everywhere() {
        let text = "[listen.http]\naddress = '127.0.0.1:80'\n[upstream]\nnamespace = 'MQ_1'\n\
                    credential_command = ['/bin/sts', 'name', '--for=ward-gateway', 'pw']\n";
        let (lines, hidden) = read(text, &[]);
        assert_eq!(lines[0], "listen.http.address = \"127.0.0.1:80\" s.toml:2");
        assert_eq!(lines[1], "upstream.namespace = \"MQ_1\" s.toml:4");
        assert!(lines[2..].iter().all(|line| line.contains(" = (hidden) ")), "{lines:?}");
        assert_eq!(
            (lines.len(), hidden.as_slice()),
            (6, &["/bin/sts", "--for=ward-gateway"].map(String::from)[..])
        );
    }

    #[test]
    fn an_address_whose_machine_was_forgotten_is_hidden() {
        for (url, secret) in [
            ("https://u:12345678", "12345678"),
            ("https://u:s3cret:443", "s3cret:443"),
            ("u:s3cret://h:1", "u:s3cret://h:1"),
        ] {
            let (lines, hidden) = read(&format!("[upstream]\nendpoint = '{url}'\n"), &[]);
            assert_eq!(lines, ["upstream.endpoint = (hidden) s.toml:2"]);
            assert!(hidden.iter().any(|text| text == secret), "{hidden:?}");
        }
        let (lines, _) = read("[upstream]\nendpoint = 'https://[::1]:443'\n", &[]);
        assert_eq!(lines, ["upstream.endpoint = \"https://[::1]:443\" s.toml:2"]);
    }

    #[test]
    fn what_is_shown_is_in_order() {
        assert!(SHOWN.is_sorted());
    }
}
