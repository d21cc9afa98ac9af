//! `[listen.admin]`: how the gateway stands, over HTTP, for those who watch over it. Read-only.
//!
//! | request | answer |
//! |---|---|
//! | `GET /metrics` | Prometheus' text format, made of what `GET /v1/status` says (`metrics`, docs/metrics.md) |
//! | `GET /healthz` | 200 while the agent makes progress, idle, offline or full as it may be; 503 with what does not |
//! | `GET /readyz` | 200 while the intake accepts, link or no link; 503 while it does not |
//! | another path | 404 with the paths there are |
//! | another method, name, origin; no token | 405, 403, 401 (`guard`) |

mod guard;
mod metrics;
mod server;

use spillway_protocol::local::status::Status;

pub use guard::Guard;
pub use server::serve;

/// The agent, as it is looked at from here.
pub trait Observed: Send + Sync + 'static {
    /// The same as `GET /v1/status`. May block.
    fn status(&self) -> Status;

    /// What should move and does not, if anything.
    fn stuck(&self) -> Option<String>;

    /// Whether apps can hand over records. The link has no say in it.
    fn accepts(&self) -> bool;
}
