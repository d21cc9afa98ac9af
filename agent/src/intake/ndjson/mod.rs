//! Many records in one request, one line of JSON each, answered with one line each, in order.
//!
//! Reading the request never waits for the client to read answers: lines are submitted as they
//! come, and their answers are kept, small, until they are read. When too many are unread, the
//! rest of the request is refused (`overloaded`), which needs no memory however long it is.
//!
//! A refused line does not stop those behind it, except those of the same order key: they are
//! answered `not_attempted`, whichever lane they name. In lanes that keep an order without a key
//! (`order = "lane"`, or records without a key where `order = "key"`) the same holds for the lane.
//! Where the order key of a refused line could not be read (it is no JSON, or too long), it may be
//! any: all later lines to lanes that keep an order are `not_attempted`; other lanes go on.

mod answers;
mod chains;
mod compact;
mod lines;
mod pump;

use bytes::Bytes;
use http_body_util::{BodyExt, Either};
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(super) use self::answers::AnswerBody;
use self::pump::Pump;
use super::Intake;
use super::http::Out;

/// Answers a request; the answer begins once the body does.
pub(super) async fn answer(
    mut body: Incoming,
    intake: Intake,
    stop: CancellationToken,
) -> Response<Out> {
    // Asking for the first piece is what makes a client that expects "100 Continue" send.
    let first = match timeout(intake.options.idle_max, body.frame()).await {
        Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        // The pump finds the same silence, and ends it.
        _ => Bytes::new(),
    };
    let (writer, reader) = answers::channel(&intake.budget, intake.budget.max_bytes() / 4);
    let pump = Pump::new(intake, stop, writer);
    tokio::spawn(pump.run(first, body));
    let mut response = Response::new(Either::Right(reader));
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
