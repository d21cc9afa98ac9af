//! What a request says outside its XML.

use hyper::http::request::Parts;
use spillway_protocol::record::Topic;
use spillway_protocol::rocketmq::http::fault::Code;
use spillway_protocol::rocketmq::http::resource::Parsed;

use super::Refusal;

/// Path and query of a request; the topic is one.
pub(crate) fn resource(parts: &Parts) -> Result<Parsed, Refusal> {
    let resource = parts.uri.path_and_query().map_or("/", |resource| resource.as_str());
    let parsed = Parsed::parse(resource)?;
    Topic::parse(parsed.topic.as_str())
        .map_err(|error| Refusal::argument(format!("the topic {}", error.message)))?;
    Ok(parsed)
}

/// Refuses a query with names that mean nothing to the operation.
pub(crate) fn only(target: &Parsed, known: &[&str]) -> Result<(), Refusal> {
    match target.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => {
            let message = format!("{name:?} means nothing here");
            Err(Refusal::new(Code::InvalidQueryString, message))
        }
    }
}

/// The instance (`ns`) or group (`consumer`), if one is named.
pub(crate) fn named<'a>(target: &'a Parsed, name: &str) -> Result<Option<&'a str>, Refusal> {
    match target.get(name) {
        Some(value) if Topic::parse(value).is_err() => {
            Err(Refusal::argument(format!("{name} has letters, digits, _ and - only")))
        }
        value => Ok(value),
    }
}

/// A request's body as text.
pub(crate) fn text(body: &[u8]) -> Result<&str, Refusal> {
    let not_utf8 = |_| Refusal::new(Code::MalformedXML, "the body is not UTF-8");
    std::str::from_utf8(body).map_err(not_utf8)
}
