//! The way to a far end: its address, whom to trust there, and a byte stream to it. The agent and
//! the consumer library dial alike.

mod connector;
mod dialer;
mod endpoint;
mod names;
mod proxy;
mod target;
mod time;
pub mod tls;
#[cfg(feature = "grpc")]
pub mod wire;

pub use self::connector::Connector;
pub use self::dialer::Dialer;
pub use self::endpoint::{Endpoint, is_loopback};
pub use self::proxy::Proxy;
pub use self::target::{
    ByteStream, CONNECT_DEADLINE, DialError, DialProblem, Target, TargetError, targets,
};
pub use self::time::CertificateTime;
pub use self::tls::{Tls, TlsError};

/// An error with its causes, which for connections say more than the error itself.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}
