//! The way to a far end: its address, whom to trust there, and a byte stream to it. The agent and
//! the consumer library dial alike.

mod carried;
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

pub use self::carried::{Carried, Reading, headers_bytes, quiet_bytes};
pub use self::connector::Connector;
pub use self::dialer::Dialer;
pub use self::endpoint::{Endpoint, is_loopback};
pub use self::proxy::Proxy;
pub use self::target::{
    ByteStream, CONNECT_DEADLINE, DialError, DialProblem, Target, TargetError, targets,
};
pub use self::time::CertificateTime;
pub use self::tls::{Tls, TlsError};

/// An HTTP/1.1 client, still to be given its times, that goes just where it is told: TLS as `tls`
/// says, no proxy from the environment, no redirects, no repeats of its own.
pub fn http_client(tls: rustls::ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
}

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
