//! The end of writing: whoever still holds the letters of a queue that was opened anew must not write
//! beside the new ones.

use std::io;

use super::{Dead, Inner};

impl Dead {
    /// Closes the open segment. Nothing is written from now on.
    pub(in crate::queue) fn close(&self) {
        let mut inner = self.lock();
        inner.tail.seal(true);
        inner.closed = true;
    }
}

impl Inner {
    pub(super) fn is_open(&self) -> io::Result<()> {
        let closed = || io::Error::other("the queue was closed meanwhile; it is tried again");
        if self.closed { Err(closed()) } else { Ok(()) }
    }
}
