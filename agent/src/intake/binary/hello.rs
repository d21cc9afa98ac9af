//! The first frame each way.

use std::io;

use bytes::BytesMut;
use spillway_protocol::local::frame::{self, HELLO_FORMAT, Hello, HelloReply, PREAMBLE};
use spillway_protocol::local::{Code, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::intake::wire::Wire;

/// Says hello; `None` if the two sides have no version in common, or the client spoke none of this.
pub(super) async fn hello(wire: &mut Wire) -> io::Result<Option<BytesMut>> {
    let mut preamble = [0; PREAMBLE.len()];
    wire.read_exact(&mut preamble).await?;
    if preamble != PREAMBLE {
        return Err(io::Error::other("the first bytes are of no known dialect"));
    }
    let mut inbox = BytesMut::new();
    let content = loop {
        match frame::take(&mut inbox).map_err(io::Error::other)? {
            Some(content) => break content,
            None if wire.read_buf(&mut inbox).await? == 0 => return Ok(None),
            None => {}
        }
    };
    let chosen = frame::read::<Hello>(HELLO_FORMAT, &content)
        .map_err(|error| Refusal::new(Code::Malformed, error.to_string()))
        .and_then(|hello| hello.choose());
    let reply = match &chosen {
        Ok(version) => {
            HelloReply::Welcome { version: *version, agent: env!("CARGO_PKG_VERSION").to_owned() }
        }
        Err(refusal) => HelloReply::Refused(refusal.clone()),
    };
    let mut out = Vec::new();
    frame::put(HELLO_FORMAT, &reply, &mut out).map_err(io::Error::other)?;
    wire.write_all(&out).await?;
    Ok(chosen.is_ok().then_some(inbox))
}

/// What a connection that will not be served is told.
pub(in crate::intake) fn turned_away(refusal: Refusal) -> Vec<u8> {
    let mut out = Vec::new();
    if let Err(error) = frame::put(HELLO_FORMAT, &HelloReply::Refused(refusal), &mut out) {
        tracing::error!(%error, "a refusal could not be written");
    }
    out
}
