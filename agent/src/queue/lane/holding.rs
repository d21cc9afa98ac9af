//! What the lane takes up of the disk.

use super::Lane;

impl Lane {
    /// Closed segments that are not only kept for a resend: first position, the position after the
    /// last, bytes of the files.
    pub(in crate::queue) fn held(&self) -> Vec<(u64, u64, u64)> {
        let needed_from = self.needed_from(&self.saved());
        let mut closed = self.chain.closed_sizes();
        closed.retain(|(_, end, _)| *end > needed_from);
        closed
    }

    /// Bytes of these and of the open one, and of what is only kept.
    pub(in crate::queue) fn used_bytes(&self) -> (u64, u64) {
        let held: u64 = self.held().into_iter().map(|(_, _, bytes)| bytes).sum();
        let closed: u64 = self.chain.closed_sizes().into_iter().map(|(_, _, bytes)| bytes).sum();
        let open = self.chain.disk_bytes().saturating_sub(closed);
        (held + open, closed.saturating_sub(held))
    }
}
