use super::*;
use spillway_protocol::rocketmq::http::digest::body_md5;

const BODY: &[u8] = b"hello";
const NOW_MS: u64 = 1_767_225_600_000;

fn mq(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer { status, mq_header: true, body: body.into(), ..Answer::default() }
}

fn error(status: u16, code: &str) -> Answer {
    let body = ErrorBody { code: code.into(), message: "words".into(), ..ErrorBody::default() };
    Answer { mq_header: false, ..mq(status, body.to_xml()) }
}

fn page(status: u16) -> Answer {
    Answer {
        status,
        content_type: "text/html".into(),
        location: "http://portal.example/login".into(),
        body: b"<html><body>Please sign in</body></html>".to_vec(),
        ..Answer::default()
    }
}

fn published(md5: Option<&str>) -> Answer {
    let published = Published { message_id: "1E05".into(), body_md5: md5.map(Into::into) };
    mq(201, published.to_xml())
}

#[test]
fn delivered_needs_id_and_the_matching_md5() {
    let delivered = Outcome::Delivered { message_id: "1E05".into() };
    assert_eq!(published(Some(&body_md5(BODY))).outcome(BODY), delivered);
    let lower = body_md5(BODY).to_ascii_lowercase();
    assert_eq!(published(Some(&lower)).outcome(BODY), delivered);
    for answer in [
        published(None),
        published(Some(&body_md5(b"other"))),
        mq(201, "<Message><MessageId/></Message>"),
        mq(201, "<Message><MessageId>1E05</Message"),
        mq(201, ""),
        mq(201, vec![0xFF, 0xFE]),
        mq(200, Published { message_id: "1".into(), body_md5: None }.to_xml()),
        mq(204, ""),
    ] {
        let outcome = answer.outcome(BODY);
        assert!(matches!(outcome, Outcome::Unknown { link: false, .. }), "{answer:?} {outcome:?}");
    }
}

#[test]
fn a_captive_portal_is_a_broken_link_that_says_so() {
    for status in [200, 201, 302, 307, 403, 404, 411, 511] {
        match page(status).outcome(BODY) {
            Outcome::Stranger { reason, passed_on: false } => {
                assert!(reason.contains("captive portal"), "{reason}");
                assert!(reason.contains("portal.example"), "{reason}");
            }
            other => panic!("{status}: {other:?}"),
        }
    }
    assert_eq!(page(200).trusted_date_ms(), None);
}

#[test]
fn mqs_word_on_a_message_is_no_portals_page_even_without_its_header() {
    let bare = |answer: Answer| Answer { mq_header: false, ..answer };
    let other = Published { message_id: "1E05".into(), body_md5: Some(body_md5(b"other")) };
    for answer in [
        bare(published(None)),
        bare(mq(201, other.to_xml())),
        bare(mq(
            201,
            "<?xml version=\"1.0\"?><Message><MessageBodyMD5>00</MessageBodyMD5></Message>",
        )),
    ] {
        let outcome = answer.outcome(BODY);
        assert!(matches!(outcome, Outcome::Unknown { link: false, .. }), "{outcome:?}");
    }
}

#[test]
fn a_gateways_error_page_may_hide_a_stored_message() {
    for status in [500, 502, 503, 504] {
        let outcome = page(status).outcome(BODY);
        assert!(matches!(outcome, Outcome::Stranger { passed_on: true, .. }), "{status}");
    }
}

#[test]
fn every_code_has_its_treatment() {
    for code in Code::ALL {
        let outcome = error(code.status(), code.as_str()).outcome(BODY);
        let right = match code {
            Code::QpsLimitExceeded => matches!(outcome, Outcome::Throttled { after: None, .. }),
            Code::AccessDenied | Code::HTTPForbidden => {
                matches!(
                    outcome,
                    Outcome::Misconfigured { scope: Scope::Topic, code: "permission", .. }
                )
            }
            Code::InvalidAccessKeyId
            | Code::InvalidSecurityToken
            | Code::SignatureDoesNotMatch
            | Code::InvalidAuthorizationHeader
            | Code::MissingAuthorizationHeader => {
                let (scope, code) = (Scope::Link, "credentials");
                matches!(&outcome, Outcome::Misconfigured { scope: s, code: c, .. } if (*s, *c) == (scope, code))
            }
            Code::TopicNotExist | Code::SubscriptionNotExist => {
                matches!(
                    outcome,
                    Outcome::Misconfigured { scope: Scope::Topic, code: "topic_missing", .. }
                )
            }
            Code::TimeExpired | Code::InvalidDateHeader | Code::MissingDateHeader => {
                matches!(outcome, Outcome::Misconfigured { scope: Scope::Link, code: "clock", .. })
            }
            Code::InternalError
            | Code::InternalServerError
            | Code::RequestTimeout
            | Code::StateConflict
            | Code::MessageNotExist => matches!(outcome, Outcome::Unknown { link: false, .. }),
            code => {
                matches!(&outcome, Outcome::Rejected { code: c, own: false, .. } if c == code.as_str())
            }
        };
        assert!(right, "{code:?}: {outcome:?}");
    }
}

#[test]
fn throttling_is_told_by_code_or_status_and_carries_the_wish() {
    let after = |outcome: Outcome| match outcome {
        Outcome::Throttled { after, .. } => after,
        other => panic!("{other:?}"),
    };
    let seven = Some(Duration::from_secs(7));
    assert_eq!(after(page(429).outcome(BODY)), None);
    for status in [429, 503] {
        let wishing = Answer { retry_after: seven, ..page(status) };
        assert_eq!(after(wishing.outcome(BODY)), seven);
    }
    assert_eq!(retry_after("7", None), seven);
    let date = "Thu, 07 Mar 2024 18:49:58 GMT";
    assert_eq!(retry_after("Thu, 07 Mar 2024 18:50:05 GMT", http_date_ms(date)), seven);
    assert_eq!(
        retry_after("Thu, 07 Mar 2024 18:49:05 GMT", http_date_ms(date)),
        Some(Duration::ZERO)
    );
    assert_eq!(retry_after("soon", http_date_ms(date)), None);
    assert_eq!(retry_after(date, None), None);
}

#[test]
fn a_refused_date_is_told_from_other_refusals() {
    let dated = |answer: Answer, date_ms| Answer { date_ms: Some(date_ms), ..answer };
    let hour_ms = 3_600_000;
    assert!(error(408, "TimeExpired").refuses_date(NOW_MS));
    assert!(dated(error(403, "SignatureDoesNotMatch"), NOW_MS + hour_ms).refuses_date(NOW_MS));
    assert!(dated(mq(408, ""), NOW_MS - hour_ms).refuses_date(NOW_MS));
    assert!(!dated(error(403, "SignatureDoesNotMatch"), NOW_MS).refuses_date(NOW_MS));
    assert!(!dated(error(400, "MalformedXML"), NOW_MS + hour_ms).refuses_date(NOW_MS));
    assert!(!dated(page(403), NOW_MS + hour_ms).refuses_date(NOW_MS));
    assert!(!dated(mq(500, ""), NOW_MS + hour_ms).refuses_date(NOW_MS));
}

#[test]
fn what_is_forbidden_here_stops_this_topic_and_what_nobody_may_stops_all() {
    for (answer, expected) in [
        (error(403, "AccessDenied"), (Scope::Topic, "permission")),
        (error(403, "BrandNew"), (Scope::Topic, "permission")),
        (mq(403, ""), (Scope::Topic, "permission")),
        (error(403, "SignatureDoesNotMatch"), (Scope::Link, "credentials")),
        (error(403, "InvalidAccessKeyId"), (Scope::Link, "credentials")),
        (mq(401, ""), (Scope::Link, "credentials")),
    ] {
        match answer.outcome(BODY) {
            Outcome::Misconfigured { scope, code, .. } => assert_eq!((scope, code), expected),
            other => panic!("{answer:?}: {other:?}"),
        }
    }
}
