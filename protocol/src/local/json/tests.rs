use super::*;
use crate::record::property::COUNT_MAX;
use proptest::prelude::*;

fn refusal(text: &str) -> Refusal {
    parse(text.as_bytes()).unwrap_err().refusal
}

#[test]
fn every_field_lands_in_its_place() {
    let text = r#"{"body":"t","lane":"l","topic":"to","tag":"ta","id":"i","key":"k",
        "order_key":"o","properties":{"unit":"C"},"traceparent":"00-a-b-01","level":"disk"}"#;
    let request = parse(text.as_bytes()).unwrap();
    let draft = &request.draft;
    assert_eq!((&draft.body[..], request.lane.as_deref()), (&b"t"[..], Some("l")));
    assert_eq!((draft.topic.as_deref(), draft.tag.as_deref()), (Some("to"), Some("ta")));
    assert_eq!((draft.id.as_deref(), draft.key.as_deref()), (Some("i"), Some("k")));
    assert_eq!((draft.order_key.as_deref(), request.level), (Some("o"), Level::Disk));
    assert_eq!(draft.properties["unit"], "C");
    assert_eq!(draft.properties["traceparent"], "00-a-b-01");
}

#[test]
fn a_null_is_left_out_and_base64_may_lack_its_padding() {
    let request = parse(br#"{"body_base64":"AJ8","id":null,"properties":null}"#).unwrap();
    assert_eq!((&request.draft.body[..], request.draft.id), (&[0u8, 0x9f][..], None));
}

#[test]
fn a_wrong_field_is_named() {
    for (text, field) in [
        (r#"{"body":"x","colour":"red"}"#, "colour"),
        (r#"{"body":5}"#, "body"),
        (r#"{"body":["x"]}"#, "body"),
        (r#"{"body":"x","id":7}"#, "id"),
        (r#"{"body":"x","id":"a","id":"b"}"#, "id"),
        (r#"{"body":"x","properties":"p"}"#, "properties"),
        (r#"{"body":"x","properties":{"n":1}}"#, "properties.n"),
        (r#"{"body":"x","properties":{"n":{"m":1}}}"#, "properties.n"),
        (r#"{"body":"x","level":"memory"}"#, "level"),
        (r#"{"body":"x","body_base64":"eA=="}"#, "body_base64"),
        (r#"{"body_base64":"%%"}"#, "body_base64"),
        (r#"{}"#, "body"),
        (r#"{"body":"x","traceparent":"a","properties":{"traceparent":"b"}}"#, "traceparent"),
    ] {
        let refusal = refusal(text);
        assert_eq!(refusal.field.as_deref(), Some(field), "{text}");
        assert_eq!(refusal.code, Code::BadRecord, "{text}");
    }
}

#[test]
fn what_is_not_one_object_is_malformed() {
    for text in
        ["", "x", "[]", "\"x\"", "{\"body\":\"x\"", "{\"body\":\"x\"} {}", "{\"body\":\"\u{1}\"}"]
    {
        assert_eq!(refusal(text).code, Code::Malformed, "{text}");
    }
    assert_eq!(parse(b"{\"body\":\"\xff\"}").unwrap_err().refusal.code, Code::Malformed);
}

#[test]
fn the_order_key_of_an_unreadable_record_is_known_where_it_was_read() {
    let key = |text: &str| parse(text.as_bytes()).unwrap_err().order_key;
    assert_eq!(key(r#"{"id":5,"order_key":"k","body":"x"}"#), KnownKey::Key("k".into()));
    assert_eq!(key(r#"{"order_key":"k","body":"x"#), KnownKey::Key("k".into()));
    assert_eq!(key(r#"{"id":5,"body":"x"}"#), KnownKey::None);
    assert_eq!(key(r#"{"order_key":"k"}"#), KnownKey::Key("k".into()));
    assert_eq!(key(r#"{"order_key":5,"body":"x"}"#), KnownKey::Unknown);
    assert_eq!(key("garbage"), KnownKey::Unknown);
}

#[test]
fn more_properties_than_may_be_are_refused_without_keeping_them_all() {
    let many: Vec<String> = (0..10_000).map(|i| format!("\"p{i}\":\"v\"")).collect();
    let text = format!("{{\"body\":\"x\",\"properties\":{{{}}}}}", many.join(","));
    let request = parse(text.as_bytes()).unwrap();
    assert_eq!(request.draft.properties.len(), COUNT_MAX + 1);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&text);
    }

    #[test]
    fn any_text_body_comes_back(body in "\\PC*", id in "[a-z]{1,8}") {
        let text = serde_json::json!({"body": body, "id": id}).to_string();
        let request = parse(text.as_bytes()).unwrap();
        prop_assert_eq!(&request.draft.body[..], body.as_bytes());
        prop_assert_eq!(request.draft.id, Some(id));
    }
}
