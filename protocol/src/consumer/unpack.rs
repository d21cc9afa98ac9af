//! The records of a bundle as deliveries of their own, which share its receipt.

use super::origin::split_flags;
use super::{Delivery, Fault, Origin};
use crate::bundle::{self, Part};

impl Delivery {
    /// The records in it, in their order: of a bundle several, of any other message itself. They
    /// share the receipt, so it may be acknowledged when all of them are done.
    ///
    /// A bundle that cannot be read comes back as it is, as [unreadable](Self::unreadable).
    #[must_use]
    pub fn unpack(mut self) -> Vec<Self> {
        let Some(said) = self.packed else { return vec![self] };
        match self.parts(said) {
            Ok(parts) => parts.into_iter().map(|part| self.part(part)).collect(),
            Err(reason) => {
                self.faults.push(Fault::Unreadable(format!("flagged as a bundle, but {reason}")));
                vec![self]
            }
        }
    }

    fn parts(&self, said: u64) -> Result<Vec<Part>, String> {
        if let Some(fault) = self.faults.iter().find(|fault| matches!(fault, Fault::Base64(_))) {
            return Err(fault.to_string());
        }
        let parts = bundle::unpack(&self.body).map_err(|error| error.to_string())?;
        match parts.len() as u64 {
            found if found == said => Ok(parts),
            found => Err(format!("sw_n says {said} records, and there are {found}")),
        }
    }

    fn part(&self, part: Part) -> Self {
        let flags = || split_flags(&part.flags).map(str::to_owned).collect();
        let origin = self.origin.as_ref().map(|shared| Origin {
            gateway: shared.gateway.clone(),
            lane: shared.lane.clone(),
            stream: shared.stream,
            seq: part.seq,
            accepted_ms: part.accepted_ms,
            clock_set: part.clock_set,
            flags: flags(),
        });
        let (keys, sw_id) = match part.key {
            Some(key) => (key, Some(part.id)),
            None => (part.id, None),
        };
        Self {
            topic: self.topic.clone(),
            tag: self.tag.clone(),
            keys: Some(keys),
            message_id: self.message_id.clone(),
            order_key: self.order_key.clone(),
            attempt: self.attempt,
            born_ms: self.born_ms,
            stored_ms: self.stored_ms,
            properties: part.properties.into_iter().collect(),
            body: part.body,
            origin,
            faults: self.faults.clone(),
            sw_id,
            packed: None,
            receipt: self.receipt.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Compress, pack};
    use proptest::prelude::*;

    fn part(id: &str, key: Option<&str>, seq: u64) -> Part {
        Part {
            id: id.into(),
            key: key.map(str::to_owned),
            seq,
            accepted_ms: 5,
            clock_set: true,
            flags: "replay".into(),
            properties: vec![("unit".into(), "C".into())],
            body: "x".into(),
        }
    }

    fn received(body: Vec<u8>, count: &str) -> Delivery {
        let mut delivery = Delivery {
            topic: "ward".into(),
            tag: Some("t".into()),
            keys: Some("a k".into()),
            message_id: "m-1".into(),
            order_key: Some("bed".into()),
            body: body.into(),
            ..Delivery::default()
        };
        let properties = [
            ("sw_gw", "gw-1"),
            ("sw_lane", "bulk"),
            ("sw_st", "00c0ffee"),
            ("sw_seq", "1"),
            ("sw_at", "5"),
            ("sw_n", count),
            ("sw_flags", "bundle"),
        ];
        delivery.read_properties(properties.map(|(n, v)| (n.to_owned(), v.to_owned())));
        delivery
    }

    #[test]
    fn each_record_of_a_bundle_is_a_delivery_of_its_own() {
        let body = pack(&[part("a", None, 1), part("b", Some("k"), 3)], Compress::Deflate);
        let bundle = received(body, "2");
        assert!(bundle.flag("bundle") && bundle.packed == Some(2));
        let parts = bundle.unpack();
        let ids: Vec<_> = parts.iter().map(|part| (part.id(), part.keys.as_deref())).collect();
        assert_eq!(ids, [("a", Some("a")), ("b", Some("k"))]);
        let second = &parts[1];
        let origin = second.origin.as_ref().unwrap();
        assert_eq!(
            (origin.gateway.as_str(), origin.lane.as_str(), origin.seq),
            ("gw-1", "bulk", 3)
        );
        assert!(second.flag("replay") && !second.flag("bundle") && second.packed.is_none());
        assert_eq!((second.tag.as_deref(), second.order_key.as_deref()), (Some("t"), Some("bed")));
        assert_eq!((second.properties["unit"].as_str(), &second.body[..]), ("C", &b"x"[..]));
    }

    #[test]
    fn what_is_no_bundle_is_itself_and_what_only_says_so_is_unreadable() {
        let plain = Delivery { body: "x".into(), ..Delivery::default() };
        assert_eq!(plain.clone().unpack(), [plain]);
        let good = pack(&[part("a", None, 1)], Compress::None);
        for (body, count, says) in [
            (good.clone(), "2", "sw_n says 2 records, and there are 1"),
            (good.clone(), "many", "sw_n says 0"),
            (good[..good.len() - 1].to_vec(), "1", "inflated"),
            (b"hello".to_vec(), "1", "version 104"),
        ] {
            let read = received(body.clone(), count).unpack();
            let reason = read[0].unreadable().unwrap();
            assert!(reason.contains(says) && read.len() == 1, "{reason}");
            assert_eq!(&read[0].body[..], body);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_flagged_as_a_bundle_gives_deliveries_and_never_panics(
            body in proptest::collection::vec(any::<u8>(), 0..200), count in 0u64..5,
        ) {
            let read = received(body, &count.to_string()).unpack();
            prop_assert!(!read.is_empty());
        }
    }
}
