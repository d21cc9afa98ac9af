//! Who calls, and when: the headers of every call.

use std::sync::{Arc, Mutex, PoisonError};

use spillway_protocol::rocketmq::grpc::signing::{AccessKey, Caller};
use tonic::metadata::{Ascii, MetadataValue};
use uuid::Uuid;

use super::BuildError;
use crate::clock::WallClock;
use crate::config;
use crate::upstream::access::Access;

/// The caller, its clock and what is known of the server's.
pub(super) struct Identity {
    client_id: String,
    namespace: Option<String>,
    pub(super) access: Access,
    host: String,
    clock: Arc<dyn WallClock>,
    offset_s: Mutex<Option<i64>>,
}

impl Identity {
    pub(super) fn new(
        upstream: &config::Upstream,
        client_id: String,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, BuildError> {
        let identity = Self {
            host: host_name(),
            client_id,
            namespace: upstream.namespace.clone(),
            access: Access::new(upstream.credentials.clone()),
            clock,
            offset_s: Mutex::new(None),
        };
        match identity.unusable_header(upstream.credentials.as_ref()) {
            Some(name) => Err(BuildError::Header(setting(name))),
            None => Ok(identity),
        }
    }

    /// Reads the access key again if it was refused; true if it is another now.
    pub(super) async fn refresh(&self) -> bool {
        self.access.refresh(|read| self.unusable_header(Some(read)).is_none()).await
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// This machine's name, for people.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Now by the server's clock as far as it is known, in ms since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        let offset_ms = self.clock_offset_s().unwrap_or(0).saturating_mul(1_000);
        self.clock.now_ms().saturating_add_signed(offset_ms)
    }

    pub(super) fn clock_offset_s(&self) -> Option<i64> {
        *self.offset_s.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the `date` header of an answer.
    pub(super) fn note_date(&self, date: &str) {
        let Ok(date) = httpdate::parse_http_date(date) else {
            return;
        };
        let server_s = date
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
        let own_s = i64::try_from(self.clock.now_ms() / 1_000).unwrap_or(i64::MAX);
        *self.offset_s.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(server_s.saturating_sub(own_s));
    }

    /// `message` with the headers of a call made now.
    pub(super) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let id = Uuid::new_v4().to_string();
        let credentials = self.access.current();
        let caller = self.caller(credentials.as_deref());
        for (name, value) in caller.headers(&id, self.now_ms()) {
            // Proven when this was built, or the key was taken.
            if let Ok(value) = value.parse::<MetadataValue<Ascii>>() {
                request.metadata_mut().insert(name, value);
            }
        }
        request
    }

    /// The first header of a call with `credentials` whose value cannot travel.
    fn unusable_header(&self, credentials: Option<&config::Credentials>) -> Option<&'static str> {
        let travels =
            |value: &str| value.is_ascii() && value.parse::<MetadataValue<Ascii>>().is_ok();
        let mut headers = self.caller(credentials).headers("", 0).into_iter();
        headers.find(|(_, value)| !travels(value)).map(|(name, _)| name)
    }

    fn caller<'a>(&'a self, credentials: Option<&'a config::Credentials>) -> Caller<'a> {
        Caller {
            client_id: &self.client_id,
            namespace: self.namespace.as_deref(),
            key: credentials.map(|key| AccessKey {
                id: &key.id,
                secret: key.secret.reveal(),
                security_token: key.security_token.as_ref().map(config::Secret::reveal),
            }),
        }
    }
}

/// The setting behind a header.
fn setting(header: &str) -> &'static str {
    match header {
        "x-mq-client-id" => "gateway.id",
        "x-mq-namespace" => "upstream.namespace",
        "x-mq-session-token" => "upstream.security_token",
        _ => "upstream.access_key_id",
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
