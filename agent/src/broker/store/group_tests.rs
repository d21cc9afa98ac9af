use super::*;

struct Scene {
    messages: VecDeque<Arc<Stored>>,
    group: Group,
    now: Now,
    counter: u64,
}

fn scene(keys_and_tags: &[(&str, &str)]) -> Scene {
    let stored = |(offset, (key, tag)): (usize, &(&str, &str))| {
        Arc::new(Stored {
            offset: offset as u64,
            message_id: format!("m{offset}"),
            publish_ms: 0,
            key: None,
            order_key: Some((*key).to_owned()),
            tag: Some((*tag).to_owned()),
            properties: Vec::new(),
            start_deliver_ms: None,
            body: format!("b{offset}"),
        })
    };
    Scene {
        messages: keys_and_tags.iter().enumerate().map(stored).collect(),
        group: Group::default(),
        now: Now { instant: Instant::now(), wall_ms: 1_000 },
        counter: 0,
    }
}

impl Scene {
    fn receive(&mut self, count: usize, orderly: bool, tags: Option<&str>) -> Vec<Consumed> {
        let invisible = Duration::from_secs(60);
        let ask = Ask { group: "G", tags, count, orderly, invisible };
        self.group.receive(&self.messages, 0, &ask, self.now, &mut self.counter).messages
    }

    fn bodies(&mut self, count: usize, orderly: bool) -> Vec<String> {
        self.receive(count, orderly, None).into_iter().map(|m| m.body).collect()
    }

    fn ack(&mut self, consumed: &Consumed) -> bool {
        let handle = Handle::parse(&consumed.receipt_handle).unwrap();
        self.group.ack(handle, self.now.instant).is_some()
    }

    fn pass(&mut self, seconds: u64) {
        self.now.instant += Duration::from_secs(seconds);
        self.now.wall_ms += seconds * 1_000;
    }
}

#[test]
fn what_is_out_comes_back_with_a_new_handle_until_it_is_acknowledged() {
    let mut scene = scene(&[("a", "T"), ("b", "T")]);
    let first = scene.receive(16, false, None);
    assert_eq!(first.len(), 2);
    assert!(scene.ack(&first[0]) && !scene.ack(&first[0]));
    scene.pass(59);
    assert!(scene.bodies(16, false).is_empty());
    scene.pass(1);
    assert!(!scene.ack(&first[1]), "an expired handle");
    let again = scene.receive(16, false, None);
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].consumed_times, again[0].first_consume_ms), (2, 1_000));
    assert_ne!(again[0].receipt_handle, first[1].receipt_handle);
    assert!(!scene.ack(&first[1]), "a handle replaced by a newer one");
    assert!(scene.ack(&again[0]));
    scene.pass(1_000);
    assert!(scene.bodies(16, false).is_empty());
}

#[test]
fn in_order_a_key_waits_for_its_own_and_for_nobody_else() {
    let mut scene = scene(&[("a", ""), ("b", ""), ("a", ""), ("b", ""), ("a", "")]);
    let first = scene.receive(1, true, None);
    assert_eq!(first[0].body, "b0");
    assert_eq!(scene.bodies(16, true), ["b1", "b3"], "a is blocked, b goes on");
    assert!(scene.bodies(16, true).is_empty());
    assert!(scene.ack(&first[0]));
    assert_eq!(scene.bodies(16, true), ["b2", "b4"]);
}

#[test]
fn in_order_what_was_not_acknowledged_comes_back_before_its_successors() {
    let mut scene = scene(&[("a", ""), ("a", ""), ("a", "")]);
    let both = scene.receive(2, true, None);
    assert!(scene.ack(&both[1]), "out of turn, but its own");
    scene.pass(60);
    assert_eq!(scene.bodies(16, true), ["b0", "b2"]);
}

#[test]
fn tags_filter_and_what_they_leave_out_is_passed_over() {
    let mut scene = scene(&[("a", "A"), ("b", "B"), ("c", "C")]);
    let wanted = scene.receive(16, false, Some("A||C"));
    assert_eq!(wanted.iter().map(|m| &*m.body).collect::<Vec<_>>(), ["b0", "b2"]);
    assert!(scene.bodies(16, false).is_empty(), "B was passed over for this group");
}

#[test]
fn a_delayed_message_is_not_handed_out_before_its_time() {
    let mut scene = scene(&[("a", ""), ("b", "")]);
    Arc::make_mut(&mut scene.messages[0]).start_deliver_ms = Some(6_000);
    assert_eq!(scene.bodies(16, false), ["b1"]);
    scene.pass(5);
    assert_eq!(scene.bodies(16, false), ["b0"]);
}

#[test]
fn a_message_refused_288_times_is_given_up() {
    let mut scene = scene(&[("a", "")]);
    for time in 1..=288 {
        assert_eq!(scene.receive(1, false, None)[0].consumed_times, time);
        scene.pass(60);
    }
    assert!(scene.bodies(1, false).is_empty());
}

#[test]
fn messages_gone_from_the_topic_are_forgotten_by_the_group() {
    let mut scene = scene(&[("a", ""), ("b", ""), ("c", "")]);
    assert_eq!(scene.bodies(1, false), ["b0"]);
    scene.messages.drain(..2);
    let ask = Ask { group: "G", tags: None, count: 16, orderly: false, invisible: Duration::ZERO };
    let received = scene.group.receive(&scene.messages, 2, &ask, scene.now, &mut scene.counter);
    assert_eq!(received.messages.len(), 1);
    assert!(scene.group.out.keys().all(|offset| *offset >= 2));
}
