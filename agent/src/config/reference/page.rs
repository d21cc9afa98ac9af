//! The page: sections and settings as tables.

use super::{Default, Key, Section};

/// Which values of it are a variable's text.
const SCALARS: [&str; 3] = ["list", "section", "properties"];

const HEAD: &str = "# Configuration: every setting

Made by `agent/src/config/reference` from what the parser takes, and compared by a test: defaults and examples are read by it, and what is
refused is told in its own words. [packaging/spillway.toml](../packaging/spillway.toml) is the same as a file to begin with.

- `/etc/spillway/spillway.toml`, or `--config FILE`. `conf.d/*.toml` beside it are read after it, by name, and change single settings; lanes and
  clients go by name. `spillway check` says what is wrong: file, line, setting, what would be right.
- An unknown setting is an error. So is a duration or a size without its unit: `\"250ms\"`, `\"5s\"`, `\"2m\"`, `\"1h 30m\"`, `\"30d\"`, `\"1w\"`;
  `\"512 B\"`, `\"256 KiB\"`, `\"64 MiB\"`, `\"1 GB\"`.
- Any single value can come from the environment, which goes before the files: the variable is named beside each. For a lane or a client `NAME` is its name
  in capitals, with `_` for `-`. Lists come from files only.
- A **secret** is `{ file = \"/path\" }`, `{ credential = \"name\" }` (of systemd) or `{ env = \"VARIABLE\" }`. As it is (`\"...\"`) it is taken with a warning.
- What is **refused** is shown by examples, with what `spillway check` says of them: it ends with 78, and names what would be right.
";

/// The whole page; `words` is what the parser says of a refused value.
pub(super) fn page(words: impl Fn(&Section, &Key, &str) -> String) -> String {
    let mut text = HEAD.to_owned();
    for section in super::sections() {
        text.push_str(&format!("\n## {}\n", section.header));
        if !section.about.is_empty() {
            text.push_str(&format!("{}\n\n", section.about));
        }
        text.push_str("| setting | takes | default | meaning |\n|---|---|---|---|\n");
        section.keys.iter().for_each(|key| text.push_str(&row(section, key)));
        text.push_str("\nRefused:\n");
        for (key, value) in
            section.keys.iter().flat_map(|key| key.refused.iter().map(move |value| (key, value)))
        {
            let mut lines = value.lines();
            let written = format!("{} = {}", key.name, lines.next().unwrap_or_default());
            let beside: Vec<String> = lines.map(code).collect();
            let with = if beside.is_empty() {
                String::new()
            } else {
                format!(" with {}", beside.join(", "))
            };
            text.push_str(&format!("- {}{with}: {}\n", code(&written), words(section, key, value)));
        }
    }
    text
}

fn row(section: &Section, key: &Key) -> String {
    let default = match &key.default {
        Default::Is(value) => code(value),
        Default::Needed(value) => format!("**needed**, such as {}", code(first(value))),
        Default::Words(words, value) => format!("{words}; such as {}", code(first(value))),
    };
    let variable = variable(section, key).map(|name| format!("<br>`{name}`")).unwrap_or_default();
    let cells =
        [format!("`{}`{variable}", key.name), key.takes.to_owned(), default, key.about.to_owned()];
    let cells = cells.map(|cell| cell.replace('|', "\\|"));
    format!("| {} |\n", cells.join(" | "))
}

fn first(value: &str) -> &str {
    value.lines().next().unwrap_or_default()
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// The variable that it can come from.
pub(super) fn variable(section: &Section, key: &Key) -> Option<String> {
    let scalar = !SCALARS.iter().any(|word| key.takes.starts_with(word));
    let named = key.name == "name" && section.variable.ends_with("NAME");
    let there = scalar && !named && !section.variable.is_empty();
    there.then(|| format!("SPILLWAY__{}__{}", section.variable, key.name.to_ascii_uppercase()))
}
