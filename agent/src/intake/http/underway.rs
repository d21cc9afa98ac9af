//! An answer's body, until the end of which its request is under way.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};

use crate::intake::seats::Working;

pub(super) struct Underway<B> {
    body: B,
    _working: Working,
}

impl<B> Underway<B> {
    pub(super) fn new(body: B, working: Working) -> Self {
        Self { body, _working: working }
    }
}

impl<B: Body + Unpin> Body for Underway<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
