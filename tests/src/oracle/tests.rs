use super::*;

fn arrival(id: &str, seq: u64, place: u64) -> Arrival {
    Arrival {
        id: id.into(),
        key: id.into(),
        tag: None,
        order_key: None,
        lane: "main".into(),
        stream: "00000001".into(),
        seq,
        body: id.to_owned().into(),
        place: (0, place),
        at_ms: place,
    }
}

/// `a`, `b` and `c`, sent in that order and acknowledged as 1, 2 and 3.
fn sent() -> Records {
    let record = |(nth, id): (u64, &str)| {
        let record = Sent { nth, acknowledged: Some(nth + 1), ..Sent::new("main", id.to_owned()) };
        (id.to_owned(), record)
    };
    (0..).zip(["a", "b", "c"]).map(record).collect()
}

fn good() -> Vec<Arrival> {
    vec![arrival("a", 1, 0), arrival("b", 2, 1), arrival("c", 3, 2)]
}

fn lane(arrival: &Arrival) -> Option<&str> {
    Some(&arrival.lane)
}

#[test]
fn what_is_well_has_no_faults() {
    let mut arrived = good();
    arrived.insert(2, arrival("a", 1, 3));
    assert_eq!(losses(&sent(), &arrived), [""; 0]);
    assert_eq!(gaps(&arrived), [""; 0]);
    assert_eq!(disorder(&sent(), &arrived, lane), [""; 0]);
    assert_eq!(repeats(&arrived).len(), 1);
    assert!(repeats(&good()).is_empty());
}

#[test]
fn a_loss_is_found_and_what_was_never_acknowledged_may_be_missing() {
    let mut sent = sent();
    assert_eq!(losses(&sent, &good()[..2]), ["c was acknowledged and is lost"]);
    sent.get_mut("c").unwrap().acknowledged = None;
    assert_eq!(losses(&sent, &good()[..2]), [""; 0]);
}

#[test]
fn what_was_invented_or_changed_is_found() {
    let mut arrived = good();
    arrived.push(arrival("d", 4, 3));
    arrived[0].body = "other".into();
    arrived[1].key = "other".into();
    arrived[2].seq = 9;
    let faults = [
        "a arrived with another body",
        "b arrived with another key",
        "c arrived with another number",
        "d was never sent",
    ];
    assert_eq!(losses(&sent(), &arrived), faults);
}

#[test]
fn a_gap_and_a_number_given_twice_are_found() {
    let (first, third) = (arrival("a", 1, 0), arrival("c", 3, 2));
    assert_eq!(gaps(&[first.clone(), third]), ["number 2 of main in stream 00000001 is missing"]);
    assert_eq!(gaps(&[first.clone(), arrival("b", 1, 1)]).len(), 1);
    assert_eq!(gaps(&[first, arrival("a", 2, 1)]).len(), 1);
}

#[test]
fn first_arrivals_out_of_order_are_found() {
    let swapped = [arrival("b", 2, 0), arrival("a", 1, 1), arrival("b", 2, 2)];
    assert_eq!(disorder(&sent(), &swapped, lane), ["main: b came before a"]);
    assert_eq!(disorder(&sent(), &swapped, |_| None), [""; 0]);
    // Numbers that contradict the order of sending.
    let renumbered = [arrival("b", 1, 0), arrival("a", 2, 1)];
    assert_eq!(disorder(&sent(), &renumbered, lane).len(), 1);
}
