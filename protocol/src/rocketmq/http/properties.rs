//! Message properties on the wire: `key:value` pairs joined by `|`.

use std::collections::BTreeSet;

pub use crate::record::START_DELIVER_TIME;

/// What no key and no value may hold, since the format has no escape for it.
const UNCARRIED: &[char] = &['"', '\'', '&', '<', '>', ':', '|'];

/// RocketMQ's KEYS.
pub const KEYS: &str = "KEYS";
/// Messages of one sharding key stay in order on an ordered topic.
pub const SHARDING_KEY: &str = "__SHARDINGKEY";
/// Seconds after which a transaction is asked about, 10 to 300.
pub const TRANSACTION_CHECK: &str = "__TransCheckT";

/// Why a property string is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the property {0:?} is not one name and one value, both without \"'&<>:| and not empty")]
pub struct PropertyError(pub String);

/// Joins `pairs`. They must already be free of what the format cannot carry; accepted records
/// are.
pub fn join<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('|');
        }
        out.extend([name, ":", value]);
    }
    out
}

/// Takes a property string apart as a server does: with or without a `|` at the end (the SDKs
/// differ), and refusing what a consumer's SDK would drop in silence.
pub fn split(text: &str) -> Result<Vec<(String, String)>, PropertyError> {
    let text = text.strip_suffix('|').unwrap_or(text);
    text.split('|')
        .map(|pair| split_pair(pair).ok_or_else(|| PropertyError(pair.chars().take(80).collect())))
        .collect()
}

/// Takes a property string apart as the SDKs' consumers do: what is not a pair is left out.
pub fn split_lenient(text: &str) -> Vec<(String, String)> {
    text.split('|').filter_map(split_pair).collect()
}

/// The properties of a publish request, told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sorted<'a> {
    /// KEYS.
    pub key: Option<&'a str>,
    /// Sharding key.
    pub sharding_key: Option<&'a str>,
    /// [`START_DELIVER_TIME`] as written; see [`super::delay`].
    pub start_deliver: Option<&'a str>,
    /// The app's own, in the order sent; reserved names may still be among them.
    pub custom: Vec<(&'a str, &'a str)>,
}

/// Why properties cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SortError {
    /// A name stands there twice.
    #[error("the property {0} is there twice")]
    Twice(String),
    /// One half of a transaction.
    #[error("{TRANSACTION_CHECK} begins a transaction; there are no transactions here")]
    Transaction,
}

impl<'a> Sorted<'a> {
    /// Tells `pairs` apart.
    pub fn of(pairs: &'a [(String, String)]) -> Result<Self, SortError> {
        let mut sorted = Self::default();
        let mut names = BTreeSet::new();
        for (name, value) in pairs {
            if !names.insert(name) {
                return Err(SortError::Twice(name.clone()));
            }
            match name.as_str() {
                KEYS => sorted.key = Some(value),
                SHARDING_KEY => sorted.sharding_key = Some(value),
                START_DELIVER_TIME => sorted.start_deliver = Some(value),
                TRANSACTION_CHECK => return Err(SortError::Transaction),
                _ => sorted.custom.push((name, value)),
            }
        }
        Ok(sorted)
    }
}

fn split_pair(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.split_once(':')?;
    let carried = |text: &str| !text.is_empty() && !text.contains(UNCARRIED);
    (carried(name) && carried(value)).then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    }

    #[test]
    fn both_endings_are_read_and_nothing_else_is() {
        let two = pairs(&[("a", "1"), ("b", "2")]);
        assert_eq!(split("a:1|b:2").unwrap(), two);
        assert_eq!(split("a:1|b:2|").unwrap(), two);
        for bad in ["", "|", "a", "a:", ":1", "a:1:2", "a:1||b:2", "a:<", "a:1|b"] {
            assert!(split(bad).is_err(), "{bad}");
        }
        assert_eq!(split_lenient("a:1|broken|x:1:2||b:2|"), two);
    }

    #[test]
    fn mqs_own_names_are_told_from_the_apps_and_none_stands_there_twice() {
        let list = pairs(&[("a", "1"), ("KEYS", "k"), ("__SHARDINGKEY", "s"), ("b", "2")]);
        let sorted = Sorted::of(&list).unwrap();
        assert_eq!((sorted.key, sorted.sharding_key), (Some("k"), Some("s")));
        assert_eq!((sorted.start_deliver, sorted.custom), (None, vec![("a", "1"), ("b", "2")]));
        let later = pairs(&[("__STARTDELIVERTIME", "5")]);
        assert_eq!(Sorted::of(&later).unwrap().start_deliver, Some("5"));
        for twice in ["a", "KEYS"] {
            let list = pairs(&[(twice, "1"), (twice, "1")]);
            assert_eq!(Sorted::of(&list), Err(SortError::Twice(twice.into())));
        }
        assert_eq!(Sorted::of(&pairs(&[("__TransCheckT", "30")])), Err(SortError::Transaction));
    }

    proptest! {
        #[test]
        fn what_is_joined_splits_into_the_same(
            list in proptest::collection::vec(("[^\"'&<>:|]{1,8}", "[^\"'&<>:|]{1,20}"), 1..20)
        ) {
            let joined = join(list.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            prop_assert_eq!(split(&joined).unwrap(), list.clone());
            prop_assert_eq!(split(&(joined.clone() + "|")).unwrap(), list.clone());
            prop_assert_eq!(split_lenient(&joined), list);
        }
    }
}
