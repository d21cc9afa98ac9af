//! Where a record goes by its properties: what its app left open is filled in from the first
//! route that it matches. What the app said stays.

use spillway_protocol::local::Request;
use spillway_protocol::record::{OrderKey, RecordError, Tag, Topic};

use crate::config::{Route, Template};

/// Fills `request` in.
///
/// # Errors
/// A property whose value does not fit where a route puts it.
pub(super) fn fill_in(routes: &[Route], request: &mut Request) -> Result<(), RecordError> {
    let Some(route) = routes.iter().find(|route| matches(route, request)) else {
        return Ok(());
    };
    // First, so that whoever hears of an error knows which lane it concerns.
    if request.lane.is_none() {
        request.lane = route.lane.as_ref().map(ToString::to_string);
    }
    let draft = &mut request.draft;
    let properties = &draft.properties;
    let fill = |open: bool, template: &Option<Template>, check: fn(&str) -> Result<(), _>| {
        let Some(template) = template.as_ref().filter(|_| open) else {
            return Ok(None);
        };
        let text = template.fill(|name| properties.get(name).map(String::as_str));
        let text = text.unwrap_or_default();
        check(&text).map(|()| Some(text)).map_err(|error| blame(template, error))
    };
    let topic = fill(draft.topic.is_none(), &route.topic, |text| Topic::parse(text).map(drop))?;
    let tag = fill(draft.tag.is_none(), &route.tag, |text| Tag::parse(text).map(drop))?;
    let order_key =
        fill(draft.order_key.is_none(), &route.order_key, |text| OrderKey::parse(text).map(drop))?;
    draft.topic = draft.topic.take().or(topic);
    draft.tag = draft.tag.take().or(tag);
    draft.order_key = draft.order_key.take().or(order_key);
    Ok(())
}

fn matches(route: &Route, request: &Request) -> bool {
    let elsewhere = match (&route.lane, &request.lane) {
        (Some(route), Some(named)) => route.as_str() != named,
        _ => false,
    };
    let has = |(name, wanted): &(String, Option<String>)| {
        let value = request.draft.properties.get(name);
        value.is_some_and(|value| wanted.as_ref().is_none_or(|wanted| wanted == value))
    };
    !elsewhere && route.when.iter().all(has)
}

/// The app knows its properties, not the routes.
fn blame(template: &Template, error: RecordError) -> RecordError {
    let properties: Vec<&str> = template.properties().collect();
    let message = format!("goes into the {} by a [[route]], which {}", error.field, error.message);
    RecordError::new(format!("properties.{}", properties.join("+")), error.fault, message)
}

#[cfg(test)]
mod tests {
    use spillway_protocol::record::{Draft, LaneName};

    use super::*;

    fn routes() -> Vec<Route> {
        let template = |text: &str| Template::parse(text).ok();
        let when = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        let alarm = Route {
            when: vec![when("kind", Some("alarm")), when("zone", None)],
            lane: LaneName::parse("critical").ok(),
            topic: template("ward-{zone}"),
            tag: template("{kind}"),
            order_key: None,
        };
        let rest = Route {
            when: vec![when("device", None)],
            lane: None,
            topic: None,
            tag: None,
            order_key: template("{device}"),
        };
        vec![alarm, rest]
    }

    fn request(properties: &[(&str, &str)]) -> Request {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let properties = properties.iter().map(own).collect();
        Request { draft: Draft { properties, ..Draft::default() }, ..Request::default() }
    }

    fn filled(mut request: Request) -> [Option<String>; 4] {
        fill_in(&routes(), &mut request).unwrap();
        let draft = request.draft;
        [request.lane, draft.topic, draft.tag, draft.order_key]
    }

    fn texts(texts: [&str; 4]) -> [Option<String>; 4] {
        texts.map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()))
    }

    #[test]
    fn the_first_route_that_matches_fills_in_what_was_left_open() {
        let alarm = [("kind", "alarm"), ("zone", "7"), ("device", "d1")];
        assert_eq!(filled(request(&alarm)), texts(["critical", "ward-7", "alarm", ""]));
        assert_eq!(filled(request(&[("device", "d1")])), texts(["", "", "", "d1"]));
        assert_eq!(filled(request(&[("kind", "alarm")])), texts(["", "", "", ""]));
    }

    #[test]
    fn what_the_app_says_stays() {
        let mut said = request(&[("kind", "alarm"), ("zone", "7")]);
        said.draft.topic = Some("own".to_owned());
        assert_eq!(filled(said), texts(["critical", "own", "alarm", ""]));
        let mut elsewhere = request(&[("kind", "alarm"), ("zone", "7")]);
        elsewhere.lane = Some("bulk".to_owned());
        assert_eq!(filled(elsewhere), texts(["bulk", "", "", ""]));
    }

    #[test]
    fn a_value_that_does_not_fit_is_named_by_its_property() {
        let mut bad = request(&[("kind", "alarm"), ("zone", "a b")]);
        let error = fill_in(&routes(), &mut bad).unwrap_err();
        assert_eq!(error.field, "properties.zone");
        assert!(error.message.contains("goes into the topic by a [[route]]"), "{error}");
    }
}
