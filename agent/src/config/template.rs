//! A text with places for a record's properties, such as `ward-{zone}`.

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Property(String),
}

impl Template {
    /// Reads `text`; a brace of its own is written twice.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let (mut plain, mut rest) = (String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let close = rest.find('}').filter(|close| brace == "{" && *close > 0);
            let close = close.ok_or("has a brace without a property's name and its other half")?;
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Property(rest[..close].to_owned()));
            rest = &rest[close + 1..];
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self(parts))
    }

    /// The properties it names.
    pub fn properties(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Property(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with each property's value in its place; `None` if `value` does not know one.
    pub fn fill<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
        let mut filled = String::new();
        for part in &self.0 {
            filled.push_str(match part {
                Part::Text(text) => text,
                Part::Property(name) => value(name)?,
            });
        }
        Some(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Option<String> {
        let value = |name: &str| [("a", "1"), ("b c", "2")].iter().find(|(n, _)| *n == name);
        Template::parse(text).unwrap().fill(|name| value(name).map(|(_, value)| *value))
    }

    #[test]
    fn properties_take_their_places() {
        assert_eq!(filled("x-{a}-{b c}").unwrap(), "x-1-2");
        assert_eq!(filled("{a}{a}").unwrap(), "11");
        assert_eq!(filled("plain").unwrap(), "plain");
        assert_eq!(filled("{{a}}{a}").unwrap(), "{a}1");
        assert_eq!(filled("{other}"), None);
    }

    #[test]
    fn a_single_brace_is_a_fault() {
        for text in ["{", "}", "a{b", "a}b", "{}", "x{}y"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
