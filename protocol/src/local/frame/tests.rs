use super::*;
use crate::local::Code;
use proptest::prelude::*;

fn bytes_of<T: Serialize>(version: u8, message: &T) -> Vec<u8> {
    let mut out = Vec::new();
    put(version, message, &mut out).unwrap();
    out
}

fn append() -> Append {
    let draft = Draft {
        id: Some("r1".into()),
        tag: Some("T".into()),
        properties: [("u".to_owned(), "C".to_owned())].into(),
        body: "xy".into(),
        ..Draft::default()
    };
    let request = Request { draft, lane: Some("l".into()), level: Level::Disk };
    Append::new(300, request)
}

fn receipt() -> Receipt {
    Receipt {
        id: RecordId::parse("r1").unwrap(),
        key: MessageKey::parse("k").unwrap(),
        lane: LaneName::parse("l").unwrap(),
        stream: StreamId(5),
        seq: 9,
        level: Level::Disk,
        duplicate: true,
    }
}

#[test]
fn golden_bytes_of_hello_and_its_replies() {
    let hello = Hello { min: 1, max: 3, client: "c".into() };
    assert_eq!(bytes_of(HELLO_FORMAT, &hello), [0, 0, 0, 5, 0, 1, 3, 1, b'c']);
    let welcome = HelloReply::Welcome { version: 1, agent: "0".into() };
    assert_eq!(bytes_of(HELLO_FORMAT, &welcome), [0, 0, 0, 5, 0, 0, 1, 1, b'0']);
    let refused = HelloReply::Refused(Refusal::new(Code::IncompatibleVersion, "m"));
    assert_eq!(bytes_of(HELLO_FORMAT, &refused), [0, 0, 0, 6, 0, 1, 17, 0, 1, b'm']);
}

#[test]
fn golden_bytes_of_an_append() {
    let golden = [
        0, 0, 0, 25, 1, 0, 251, 0x2c, 0x01, 1, 1, b'l', 0, 1, 2, b'r', b'1', 0, 0, 1, 1, b'T', 0,
        1, 1, b'u', 1, b'C', 2, b'x', b'y',
    ];
    let bytes = bytes_of(VERSION, &ToAgent::Append(append()));
    assert_eq!(bytes[4..], golden[4..]);
    assert_eq!(usize::from(bytes[3]), bytes.len() - 4);
    assert_eq!(correlation(VERSION, &bytes[4..4 + CORRELATION_BYTES]), Some(300));
}

#[test]
fn golden_bytes_of_answers() {
    let stored = ToClient::Answer { correlation: 2, result: Ok(receipt().into()) };
    let golden = [0, 0, 0, 15, 1, 0, 2, 0, 2, b'r', b'1', 1, b'k', 1, b'l', 5, 9, 0, 1];
    assert_eq!(bytes_of(VERSION, &stored), golden);
    let refused =
        ToClient::Answer { correlation: 2, result: Err(Refusal::of("id", Code::IdReused, "m")) };
    let golden = [0, 0, 0, 11, 1, 0, 2, 1, 5, 1, 2, b'i', b'd', 1, b'm'];
    assert_eq!(bytes_of(VERSION, &refused), golden);
}

#[test]
fn messages_come_back_and_frames_are_taken_whole() {
    let one = bytes_of(VERSION, &ToAgent::Append(append()));
    let mut buffer = BytesMut::from(&one[..one.len() - 1]);
    assert!(take(&mut buffer).unwrap().is_none());
    buffer.extend_from_slice(&one[one.len() - 1..]);
    buffer.extend_from_slice(&one[..6]);
    let content = take(&mut buffer).unwrap().unwrap();
    let ToAgent::Append(back) = read(VERSION, &content).unwrap();
    assert_eq!(back, append());
    assert_eq!(buffer.len(), 6);
    assert_eq!(Receipt::from(Stored::from(receipt())), receipt());
}

#[test]
fn a_length_beyond_the_limit_is_refused_at_once() {
    let mut buffer = BytesMut::from(&[0xff; 4][..]);
    assert!(matches!(take(&mut buffer), Err(FrameError::TooLong { .. })));
    let large = Append { body: vec![0; FRAME_MAX].into(), ..append() };
    let mut out = vec![7];
    assert!(put(VERSION, &ToAgent::Append(large), &mut out).is_err());
    assert_eq!(out, [7]);
}

#[test]
fn the_largest_record_fits_a_frame() {
    let append = Append {
        body: vec![0; BODY_MAX].into(),
        order_key: Some("x".repeat(1024)),
        properties: [("p".to_owned(), "x".repeat(14 * 1024))].into(),
        ..append()
    };
    let bytes = bytes_of(VERSION, &ToAgent::Append(append.clone()));
    let ToAgent::Append(back) = read(VERSION, &bytes[LENGTH_BYTES..]).unwrap();
    assert_eq!(back.body.len(), BODY_MAX);
}

#[test]
fn a_version_is_chosen_from_the_range_or_refused_with_both() {
    let hello = |min, max| Hello { min, max, client: String::new() };
    assert_eq!(hello(0, 9).choose(), Ok(VERSION));
    let refusal = hello(2, 3).choose().unwrap_err();
    assert_eq!(refusal.code, Code::IncompatibleVersion);
    assert!(refusal.message.contains("2 to 3"), "{refusal}");
    assert!(hello(3, 0).choose().is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(content in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read::<ToAgent>(VERSION, &content);
        let _ = read::<ToClient>(VERSION, &content);
        let _ = read::<Hello>(HELLO_FORMAT, &content);
        let _ = correlation(VERSION, &content);
        let _ = take(&mut BytesMut::from(&content[..]));
    }

    #[test]
    fn a_damaged_append_is_read_or_refused(at in 0usize..26, byte in any::<u8>()) {
        let mut bytes = bytes_of(VERSION, &ToAgent::Append(append()));
        let at = LENGTH_BYTES + at % (bytes.len() - LENGTH_BYTES);
        bytes[at] = byte;
        let _ = read::<ToAgent>(bytes[LENGTH_BYTES], &bytes[LENGTH_BYTES..]);
    }
}
