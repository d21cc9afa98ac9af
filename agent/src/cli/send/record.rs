//! A record as the agent's JSON takes it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Serialize;

/// What a record has beside its body; all of it optional.
#[derive(Debug, Default, Args, Serialize)]
pub(super) struct Fields {
    /// Its lane [default: the default lane]
    #[arg(long, value_name = "LANE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<String>,
    /// Its topic [default: the lane's]
    #[arg(long, value_name = "TOPIC")]
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// Its tag [default: the lane's]
    #[arg(long, value_name = "TAG")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    /// Its id: the same id again is the same record [default: one made by the agent]
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// RocketMQ's KEYS, for search [default: the id]
    #[arg(long, value_name = "KEY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Records of one order key stay in order
    #[arg(long, value_name = "KEY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    order_key: Option<String>,
    /// A message property; may be given several times
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    #[serde(skip)]
    properties: Vec<(String, String)>,
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    fields: &'a Fields,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    properties: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl Fields {
    /// The record with this body, on one line.
    pub(super) fn to_json(&self, body: &[u8]) -> String {
        let text = std::str::from_utf8(body).ok();
        let json = Json {
            fields: self,
            properties: self.properties.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect(),
            body: text,
            body_base64: text.is_none().then(|| STANDARD.encode(body)),
        };
        // Texts only: this cannot fail.
        serde_json::to_string(&json).unwrap_or_default()
    }
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("has no =; write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use spillway_protocol::local::json;

    use super::*;

    #[test]
    fn the_agent_reads_what_was_meant() {
        let fields = Fields {
            lane: Some("critical".into()),
            order_key: Some("bed 1".into()),
            properties: vec![("unit".into(), "a=b".into())],
            ..Fields::default()
        };
        let request = json::parse(fields.to_json("a\"\n🩺".as_bytes()).as_bytes()).unwrap();
        assert_eq!(request.lane.as_deref(), Some("critical"));
        assert_eq!(request.draft.order_key.as_deref(), Some("bed 1"));
        assert_eq!(request.draft.properties["unit"], "a=b");
        assert_eq!(&request.draft.body[..], "a\"\n🩺".as_bytes());
        let binary = json::parse(Fields::default().to_json(&[0, 255]).as_bytes()).unwrap();
        assert_eq!(&binary.draft.body[..], [0, 255]);
    }

    #[test]
    fn a_property_is_split_at_its_first_equals_sign() {
        assert_eq!(property("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(property("a").is_err());
    }
}
