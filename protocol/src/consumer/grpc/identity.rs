//! Who calls, and when: the headers of every call.

use std::sync::Arc;

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use uuid::Uuid;

use crate::consumer::clock::ServerClock;
use crate::consumer::{Access, BuildError, Credentials, WallClock};
use crate::rocketmq::grpc::signing::{AccessKey, Caller};
use crate::rocketmq::skew::http_date_ms;

/// The caller, and the server's clock.
pub(super) struct Identity {
    client_id: String,
    namespace: Option<String>,
    credentials: Option<Credentials>,
    pub(super) host: String,
    clock: ServerClock,
}

impl Identity {
    pub(super) fn new(access: &Access, clock: Arc<dyn WallClock>) -> Result<Self, BuildError> {
        let host = host_name();
        // The server keeps memory for each id that it has seen: one per feed, for its whole life.
        let client_id = format!("{host}@{}@{}", std::process::id(), Uuid::new_v4().simple());
        let identity = Self {
            client_id,
            namespace: access.instance.clone(),
            credentials: access.credentials.clone(),
            host,
            clock: ServerClock::new(clock),
        };
        let mut headers = identity.headers().into_iter();
        match headers.find(|(_, value)| value.parse::<MetadataValue<Ascii>>().is_err()) {
            Some((name, _)) => Err(BuildError::Header(name)),
            None => Ok(identity),
        }
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Takes in the clock of RocketMQ's answer.
    pub(super) fn learn_clock(&self, headers: &MetadataMap) {
        let date = headers.get("date").and_then(|date| date.to_str().ok());
        if let Some(server_ms) = date.and_then(http_date_ms) {
            self.clock.observe(server_ms);
        }
    }

    /// `message` with the headers of a call made now.
    pub(super) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        for (name, value) in self.headers() {
            // Proven when this was built.
            if let Ok(value) = value.parse::<MetadataValue<Ascii>>() {
                request.metadata_mut().insert(name, value);
            }
        }
        request
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let caller = Caller {
            client_id: &self.client_id,
            namespace: self.namespace.as_deref(),
            key: self.credentials.as_ref().map(|key| AccessKey {
                id: &key.id,
                secret: &key.secret,
                security_token: key.security_token.as_deref(),
            }),
        };
        caller.headers(&Uuid::new_v4().to_string(), self.clock.now_ms())
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
