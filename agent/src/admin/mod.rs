//! `[listen.admin]`: how the gateway stands, over HTTP, for those who watch over it. Read-only.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` and the files that it names | the status page, the same for every gateway, without a token (`page`, docs/status-page.md) |
//! | `GET /events` | what the page shows: server-sent events `history` and `state` (`live`) |
//! | `GET /metrics` | Prometheus' text format, made of what `GET /v1/status` says (`metrics`, docs/metrics.md) |
//! | `GET /healthz` | 200 while the agent makes progress, idle, offline or full as it may be; 503 with what does not |
//! | `GET /readyz` | 200 while the intake accepts, link or no link; 503 while it does not |
//! | another path | 404 with the paths there are |
//! | another method, name, origin; no token | 405, 403, 401 (`guard`) |

mod guard;
mod history;
mod live;
mod looks;
mod metrics;
mod page;
mod server;

use serde::Serialize;
use spillway_protocol::local::status::Status;

pub use guard::Guard;
pub use server::serve;

/// The agent, as it is looked at from here.
pub trait Observed: Send + Sync + 'static {
    /// The same as `GET /v1/status`. May block.
    fn status(&self) -> Status;

    /// Dead letters by lane and code.
    fn letters(&self) -> Vec<Letters>;

    /// What should move and does not, if anything.
    fn stuck(&self) -> Option<String>;

    /// Whether the agent takes in what it has room for: false from its stop on.
    fn accepts(&self) -> bool;

    /// Why no record of an app is taken in, if that is so. The link has no say in it. May block.
    fn refuses(&self) -> Option<String>;
}

/// Dead letters of one lane and one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letters {
    /// Lane.
    pub lane: String,
    /// The broker's code.
    pub code: String,
    /// How many.
    pub count: u64,
}
