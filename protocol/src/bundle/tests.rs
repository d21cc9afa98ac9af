use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::message::{Defaults, Flags, Message, Stamp, StreamId};
use crate::record::{Draft, LaneName, Record, RecordId, Topic};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn part(id: &str, seq: u64) -> Part {
    Part {
        id: id.into(),
        seq,
        accepted_ms: 1_700_000_000_000 + seq,
        clock_set: true,
        body: Bytes::from_static(b"{}"),
        ..Part::default()
    }
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let id = prop_oneof![
        "[a-zA-Z0-9é-]{1,64}",
        any::<u128>().prop_map(|n| uuid::Uuid::from_u128(n).to_string())
    ];
    let trace = prop_oneof![Just(TRACE.to_owned()), "[0-9a-fA-F-]{1,60}"];
    let properties = (vec(("[a-s]{1,9}", ".{1,20}"), 0..4), proptest::option::of(trace)).prop_map(
        |(mut pairs, trace)| {
            pairs.extend(trace.map(|trace| ("traceparent".to_owned(), trace)));
            pairs
        },
    );
    let head = (id, proptest::option::of("[a-z]{1,9}"), 1..=u64::MAX, any::<u64>(), any::<bool>());
    let part = (head, "[a-z,]{0,9}", properties, vec(any::<u8>(), 0..300)).prop_map(
        |((id, key, seq, accepted_ms, clock_set), flags, properties, body)| Part {
            id,
            key,
            seq,
            accepted_ms,
            clock_set,
            flags,
            properties,
            body: body.into(),
        },
    );
    vec(part, 1..20)
}

proptest! {
    #[test]
    fn what_is_packed_is_unpacked(parts in parts(), deflate: bool) {
        let compress = if deflate { Compress::Deflate } else { Compress::None };
        prop_assert_eq!(unpack(&pack(&parts, compress)).unwrap(), parts);
    }

    #[test]
    fn a_cut_or_changed_bundle_is_refused_or_read_but_never_panics(
        parts in parts(), deflate: bool, cut: prop::sample::Index, at: prop::sample::Index, byte: u8,
    ) {
        let compress = if deflate { Compress::Deflate } else { Compress::None };
        let mut body = pack(&parts, compress);
        prop_assert!(unpack(&body[..cut.index(body.len())]).is_err());
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(read) = unpack(&body) {
            prop_assert!(read.len() <= RECORDS_MAX);
        }
    }

    #[test]
    fn noise_never_panics(noise in vec(any::<u8>(), 0..400), method in 0u8..2) {
        let _ = unpack(&noise);
        let headed: Vec<u8> = [1, method, 50].into_iter().chain(noise).collect();
        let _ = unpack(&headed);
    }
}

#[test]
fn golden_bytes_of_a_bundle() {
    let second = Part {
        key: Some("k".into()),
        properties: vec![("unit".into(), "C".into())],
        flags: "replay".into(),
        clock_set: false,
        accepted_ms: 4,
        ..part("b", 3)
    };
    let first = Part { accepted_ms: 5, ..part("a", 2) };
    let golden: &[u8] = b"\x01\x00\x22\x02\x00\x04\x0a\x01a\x02{}\
        \x36\x02\x01\x01b\x01k\x06replay\x01\x04unit\x01C\x02{}";
    assert_eq!(pack(&[first, second], Compress::None), golden);
}

#[test]
fn ids_and_traces_of_the_usual_form_take_their_bytes_only() {
    let plain = Part { id: "x".repeat(16), ..part("", 1) };
    let uuid = Part { id: "0190b7a2-7c1e-7d3f-8a51-2f0c9be0a001".into(), ..part("", 1) };
    let size = |part: &Part| pack(std::slice::from_ref(part), Compress::None).len();
    assert_eq!(size(&uuid) + 1, size(&plain));
    let traced = Part { properties: vec![("traceparent".into(), TRACE.into())], ..uuid.clone() };
    assert_eq!(size(&traced), size(&uuid) + 25);
    let upper = Part { id: uuid.id.to_uppercase(), ..uuid };
    assert_eq!(unpack(&pack(std::slice::from_ref(&upper), Compress::None)).unwrap(), [upper]);
}

#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    let huge = Part { body: vec![0; CONTENT_MAX + 1].into(), ..part("a", 1) };
    let bomb = pack(&[huge], Compress::Deflate);
    assert!(bomb.len() < 10_000, "{}", bomb.len());
    assert!(matches!(unpack(&bomb), Err(BundleError::TooLarge { what: "bytes", .. })));
    // The same, saying that it is small.
    let deflated = &bomb[bomb.iter().skip(2).position(|byte| byte & 0x80 == 0).unwrap() + 3..];
    let liar: Vec<u8> = [1, 1, 100].into_iter().chain(deflated.iter().copied()).collect();
    assert_eq!(unpack(&liar), Err(BundleError::Inflate(100)));
}

#[test]
fn wrong_counts_versions_methods_and_forms_are_named() {
    let body = |content: &[u8]| [&[1, 0, content.len() as u8][..], content].concat();
    for (body, expected) in [
        (vec![], BundleError::Cut("its version")),
        (vec![2, 0, 0], BundleError::Version(2)),
        (vec![1, 9, 0], BundleError::Method(9)),
        (vec![1, 0, 5, 1], BundleError::Inflate(5)),
        (body(&[0]), BundleError::Form("it has no record")),
        (body(b"\x02\x00\x02\x00\x01a\x01x"), BundleError::Cut("a record")),
        (
            body(b"\x01\x00\x02\x00\x01a\x01xx"),
            BundleError::Form("something follows its last record"),
        ),
        (body(b"\x01\x00\x00\x00\x01a\x01x"), BundleError::Form("a record of it has the number 0")),
        (
            body(b"\x01\x40\x02\x00\x01a\x01x"),
            BundleError::Form("a record of it has a form that this build does not know"),
        ),
        (body(b"\x01\x00\x02\x00\x01\xff\x01x"), BundleError::Form("a text of it is not UTF-8")),
        (body(&[0xff; 12]), BundleError::Form("a number of it has more than 64 bits")),
        (body(&[0x81, 0x08]), BundleError::TooLarge { what: "records", found: 1025, max: 1024 }),
    ] {
        assert_eq!(unpack(&body), Err(expected));
    }
}

fn record(id: &str, key: Option<&str>) -> Record {
    let draft = Draft {
        id: Some(id.into()),
        key: key.map(str::to_owned),
        body: "x".into(),
        ..Draft::default()
    };
    draft.parse(|| RecordId::parse("drawn").unwrap()).unwrap()
}

fn stamp(seq: u64) -> Stamp {
    Stamp {
        gateway: "gw-1".into(),
        lane: LaneName::parse("bulk").unwrap(),
        stream: StreamId(0x00c0_ffee),
        seq,
        accepted_ms: 7,
        clock_set: false,
        flags: Flags::NONE,
    }
}

#[test]
fn the_message_of_a_bundle_says_what_its_records_share() {
    let topic = Topic::parse("ward").unwrap();
    let defaults = Defaults { topic: &topic, tag: None };
    let records = [record("a", None), record("b", Some("bed-1")), record("c", Some("bed-1"))];
    let stamps = [stamp(42), stamp(43), stamp(45)];
    let all: Vec<_> = records.iter().zip(&stamps).collect();
    let message = Message::bundle(&all, &defaults, Some("bed 1"), Compress::Deflate).unwrap();
    assert_eq!((message.id.as_str(), message.key.as_str()), ("a", "a bed-1"));
    assert_eq!(message.order_key.as_deref().map(str::len), Some(32));
    let expected = [
        ("sw_gw", "gw-1"),
        ("sw_lane", "bulk"),
        ("sw_st", "00c0ffee"),
        ("sw_seq", "42"),
        ("sw_at", "~7"),
        ("sw_n", "3"),
        ("sw_flags", "bundle"),
    ];
    let properties: Vec<_> =
        message.properties.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(properties, expected);
    let parts = unpack(&message.body).unwrap();
    assert_eq!(parts.iter().map(|part| part.seq).collect::<Vec<_>>(), [42, 43, 45]);
    assert_eq!(parts[1], Part::of(&records[1], &stamps[1]));
    // Over HTTP it is base64 like any body that is no text.
    let safe = message.into_xml_safe().unwrap();
    assert_eq!(safe.properties.last().unwrap().1, "bundle,base64");
    assert_eq!(Message::bundle(&[], &defaults, None, Compress::None), None);
}

#[test]
fn keys_are_bounded_and_the_first_records_is_there() {
    let topic = Topic::parse("ward").unwrap();
    let defaults = Defaults { topic: &topic, tag: None };
    let records: Vec<Record> =
        (0..50).map(|n| record(&format!("r{n}"), Some(&format!("{n:0>60}")))).collect();
    let stamp = stamp(1);
    let all: Vec<_> = records.iter().map(|record| (record, &stamp)).collect();
    let message = Message::bundle(&all, &defaults, None, Compress::None).unwrap();
    assert!(message.key.starts_with(&format!("{:0>60} ", 0)) && message.key.len() <= 256);
    assert_eq!(message.key.split(' ').count(), 4);
}

#[test]
fn the_largest_bundle_that_a_sender_makes_fits_over_http_and_is_read() {
    let topic = Topic::parse("ward").unwrap();
    let body: Bytes = (0..BYTES_MAX / RECORDS_MAX).map(|n| (n * n % 251) as u8).collect();
    let records: Vec<Record> = (0..RECORDS_MAX)
        .map(|n| Record { body: body.clone(), ..record(&n.to_string(), None) })
        .collect();
    let stamp = stamp(1);
    let all: Vec<_> = records.iter().map(|record| (record, &stamp)).collect();
    let defaults = Defaults { topic: &topic, tag: None };
    let message = Message::bundle(&all, &defaults, None, Compress::None).unwrap();
    assert_eq!(unpack(&message.body).unwrap().len(), RECORDS_MAX);
    assert!(message.into_xml_safe().is_some());
}
