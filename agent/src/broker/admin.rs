//! What tests and people look at beside the API: stored messages, and the faults' switch.

use bytes::Bytes;
use http_body_util::Full;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use spillway_protocol::rocketmq::http::resource::Parsed;

use super::faults::Plan;
use super::keys::Change;
use super::server::Server;
use super::store::{Stored, TopicId};

pub(super) fn handle(server: &Server, parts: &Parts, body: &[u8]) -> Response<Full<Bytes>> {
    match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/_faults") => answer(StatusCode::OK, &server.faults.plan()),
        (&Method::POST, "/_faults") => match serde_json::from_slice::<Plan>(body) {
            Ok(plan) => {
                server.faults.set(plan);
                answer(StatusCode::OK, &server.faults.plan())
            }
            Err(error) => answer(StatusCode::BAD_REQUEST, &json!({"error": error.to_string()})),
        },
        (&Method::GET, "/_keys") => answer(StatusCode::OK, &server.keys.ids()),
        (&Method::POST, "/_keys") => match serde_json::from_slice::<Change>(body) {
            Ok(change) => {
                server.keys.change(change);
                answer(StatusCode::OK, &server.keys.ids())
            }
            Err(error) => answer(StatusCode::BAD_REQUEST, &json!({"error": error.to_string()})),
        },
        (&Method::GET, "/_topics") => answer(StatusCode::OK, &server.store.topics()),
        (&Method::GET, _) => messages(server, parts),
        _ => not_found(),
    }
}

fn messages(server: &Server, parts: &Parts) -> Response<Full<Bytes>> {
    let resource = parts.uri.path_and_query().map_or("", |resource| resource.as_str());
    // The same shape as the API's own path, behind an underscore.
    let parsed = resource.strip_prefix("/_").map(|rest| Parsed::parse(&format!("/{rest}")));
    match parsed {
        Some(Ok(parsed)) => {
            let id = TopicId::new(parsed.get("ns"), &parsed.topic);
            let messages = server.store.list(&id);
            answer(StatusCode::OK, &messages.iter().map(AsRef::as_ref).collect::<Vec<&Stored>>())
        }
        _ => not_found(),
    }
}

fn not_found() -> Response<Full<Bytes>> {
    let known = "GET /_topics, GET /_topics/{topic}/messages?ns=, GET and POST /_faults, /_keys";
    answer(StatusCode::NOT_FOUND, &json!({"error": format!("there are {known}")}))
}

fn answer(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    // Types here serialise to JSON always: texts, numbers and lists of them.
    let json = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::from(json));
    *response.status_mut() = status;
    let json_type = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json_type);
    response
}
