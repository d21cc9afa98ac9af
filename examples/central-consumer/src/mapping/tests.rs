use std::collections::BTreeMap;

use super::*;

fn delivery(body: &str) -> Delivery {
    let properties = BTreeMap::from([("unit".to_owned(), "mmHg".to_owned())]);
    let mut delivery = Delivery {
        topic: "ward".into(),
        tag: Some("Sync".into()),
        keys: Some("patient-7".into()),
        message_id: "m-1".into(),
        order_key: Some("bed-12".into()),
        stored_ms: Some(1_700_000_001_000),
        body: body.to_owned().into(),
        ..Delivery::default()
    };
    let own = [("sw_id", "r-1"), ("sw_gw", "gw-1"), ("sw_lane", "critical")];
    let own = own.into_iter().chain([("sw_st", "00c0ffee"), ("sw_seq", "42")]);
    let own = own.chain([("sw_at", "1700000000123")]);
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    delivery.read_properties(properties.into_iter().chain(own));
    delivery
}

fn map(columns: &[(&str, &str)]) -> Mapping {
    let columns = columns
        .iter()
        .map(|(name, from)| format!("[[column]]\nname = \"{name}\"\nfrom = \"{from}\"\n"));
    let columns: String = columns.collect();
    Mapping::parse(&format!("table = \"t\"\nidentity = [\"a\"]\n{columns}")).unwrap()
}

#[test]
fn the_usual_table_is_filled_from_the_body() {
    let mapping = Mapping::parse(PATIENT_RECORDS).unwrap();
    let body = r#"{"patient_id":"p-9","notes":"à jeun","device_timestamp":"2026-11-21T13:00:00Z"}"#;
    let row = mapping.row(&delivery(body)).unwrap();
    let time = Value::Date(2026, 11, 21, 13, 0, 0, 0);
    assert_eq!(row.values, ["r-1".into(), "p-9".into(), "à jeun".into(), time]);
    let insert = mapping.insert(2);
    assert!(insert.ends_with("ON DUPLICATE KEY UPDATE `local_record_id` = `local_record_id`"));
    assert_eq!(insert.matches('?').count(), 8);
    assert!(mapping.create().contains("UNIQUE KEY `identity` (`local_record_id`)"));
}

#[test]
fn columns_come_from_anywhere_in_the_message() {
    let mapping = map(&[
        ("a", "id"),
        ("b", "key"),
        ("c", "tag"),
        ("d", "order_key"),
        ("e", "accepted"),
        ("f", "property.unit"),
        ("g", "property.none"),
        ("h", "body.vital.systolic"),
        ("i", "body.vital"),
        ("j", "seq"),
        ("k", "body"),
        ("l", "body.on"),
    ]);
    let body = r#"{"vital":{"systolic":120},"on":true}"#;
    let expected: [Value; 12] = [
        "r-1".into(),
        "patient-7".into(),
        "Sync".into(),
        "bed-12".into(),
        1_700_000_000_123_u64.into(),
        "mmHg".into(),
        Value::NULL,
        120_i64.into(),
        r#"{"systolic":120}"#.into(),
        42_u64.into(),
        body.into(),
        true.into(),
    ];
    assert_eq!(mapping.row(&delivery(body)).unwrap().values, expected);
}

#[test]
fn a_body_without_fields_is_the_messages_fault_only_where_fields_are_asked_for() {
    let fields = map(&[("a", "id"), ("b", "body.x")]);
    assert!(matches!(fields.row(&delivery("plain")), Err(Unfit::NoJson(_))));
    assert!(matches!(fields.row(&delivery("[1]")), Err(Unfit::NoJson(_))));
    assert!(map(&[("a", "id"), ("b", "body")]).row(&delivery("plain")).is_ok());
}

#[test]
fn a_wrong_file_says_what_is_wrong() {
    let column = "[[column]]\nname = \"a\"\nfrom = \"id\"\n";
    for (text, part) in [
        (format!("table = \"a b\"\nidentity = [\"a\"]\n{column}"), "a b"),
        (format!("table = \"t\"\nidentity = [\"b\"]\n{column}"), "\"b\""),
        (format!("table = \"t\"\nidentity = []\n{column}"), "identity"),
        (format!("table = \"t\"\nidentity = [\"a\"]\n{column}{column}"), "twice"),
        (format!("table = \"t\"\nidentity = [\"a\"]\nkept = 1\n{column}"), "kept"),
        (
            format!("table = \"t\"\nidentity = [\"a\"]\n{}", column.replace("id\"", "ident\"")),
            "ident",
        ),
    ] {
        let error = Mapping::parse(&text).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn the_newer_of_two_states_is_told_by_number_or_by_time() {
    let mut state = delivery("{}");
    let set: [Value; 3] =
        ["gw-1/critical/00c0ffee".into(), 42_u64.into(), 1_700_000_000_123_u64.into()];
    assert_eq!(source::version(&state), set);
    state.born_ms = Some(1_700_000_000_500);
    state.origin.as_mut().unwrap().clock_set = false;
    assert_eq!(source::version(&state)[2], 1_700_000_000_500_u64.into());
    state.origin.as_mut().unwrap().flags.push("resend".into());
    assert_eq!(source::version(&state)[2], 0_u64.into());
}
