//! Who calls, and when: the headers of every call.

use std::sync::Arc;

use spillway_protocol::dial::CertificateTime;
use spillway_protocol::rocketmq::grpc::code::is_rocketmqs;
use spillway_protocol::rocketmq::grpc::signing::{AccessKey, Caller};
use spillway_protocol::rocketmq::grpc::v2;
use spillway_protocol::rocketmq::skew::{Skew, http_date_ms};
use tonic::Response;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use uuid::Uuid;

use super::BuildError;
use crate::clock::WallClock;
use crate::config;
use crate::upstream::access::{Access, Grip};

/// The caller, its clock and what is known of the server's.
pub(super) struct Identity {
    client_id: String,
    namespace: Option<String>,
    pub(super) access: Access,
    host: String,
    clock: Arc<dyn WallClock>,
    skew: Skew,
    /// By which certificates are judged, if each access point shows one.
    time: Option<CertificateTime>,
}

/// What an answer's `date` says, beside this machine's clock when it came; both in ms since 1970.
pub(super) struct Sighting {
    local_ms: u64,
    server_ms: u64,
}

impl Identity {
    pub(super) fn new(
        upstream: &config::Upstream,
        client_id: String,
        clock: Arc<dyn WallClock>,
        time: CertificateTime,
    ) -> Result<Self, BuildError> {
        let proven = upstream.endpoints.iter().all(|endpoint| endpoint.tls);
        let identity = Self {
            time: Some(time).filter(|_| proven),
            host: host_name(),
            client_id,
            namespace: upstream.namespace.clone(),
            access: Access::new(&upstream.access),
            clock,
            skew: Skew::default(),
        };
        let keys = upstream.access.keys.iter().map(Some).chain([None]);
        match keys.into_iter().find_map(|key| identity.unusable_header(key)) {
            Some(name) => Err(BuildError::Header(setting(name))),
            None => Ok(identity),
        }
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
        self.skew.server_ms(self.clock.now_ms())
    }

    pub(super) fn clock_offset_s(&self) -> Option<i64> {
        self.skew.offset_s()
    }

    /// The clock of whoever answered with `headers` just now.
    pub(super) fn sighting(&self, headers: &MetadataMap) -> Option<Sighting> {
        let server_ms = http_date_ms(headers.get("date")?.to_str().ok()?)?;
        Some(Sighting { local_ms: self.clock.now_ms(), server_ms })
    }

    /// Takes in a clock that has turned out to be RocketMQ's.
    pub(super) fn trust(&self, sighting: Option<&Sighting>) {
        if let Some(Sighting { local_ms, server_ms }) = sighting {
            self.skew.observe(*local_ms, *server_ms);
            if let Some(time) = &self.time {
                time.learn(server_ms / 1_000);
            }
        }
    }

    /// Takes in the clock of an answer if it is RocketMQ's: it has a status of its kind.
    pub(super) fn learn_clock<T>(&self, answer: &Response<T>, status: Option<&v2::Status>) {
        if status.is_some_and(|status| is_rocketmqs(status.code)) {
            self.trust(self.sighting(answer.metadata()).as_ref());
        }
    }

    /// `message` with the headers of a call made now.
    pub(super) fn request<T>(&self, message: T) -> tonic::Request<T> {
        self.request_by(self.access.current().as_ref(), message)
    }

    /// The same, signed with this key.
    pub(super) fn request_by<T>(&self, key: Option<&Grip>, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let id = Uuid::new_v4().to_string();
        let caller = self.caller(key.map(|key| &*key.credentials));
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Still;

    impl WallClock for Still {
        fn now_ms(&self) -> u64 {
            60_000
        }
    }

    #[test]
    fn only_an_answer_of_rocketmqs_kind_sets_the_clock() {
        let upstream = config::Upstream {
            transport: config::Transport::Grpc,
            endpoints: vec![],
            namespace: None,
            access: config::AccessKeys::default(),
            tls: config::Tls::default(),
            proxy: None,
        };
        let time = CertificateTime::default();
        let identity = Identity::new(&upstream, "gw".into(), Arc::new(Still), time).unwrap();
        let mut answer = Response::new(());
        let date = "Thu, 07 Mar 2024 18:49:58 GMT".parse().unwrap();
        answer.metadata_mut().insert("date", date);
        let status = |code| v2::Status { code, message: String::new() };
        identity.learn_clock(&answer, None);
        identity.learn_clock(&answer, Some(&status(0)));
        identity.learn_clock(&Response::new(()), Some(&status(40_100)));
        assert_eq!((identity.clock_offset_s(), identity.now_ms()), (None, 60_000));
        identity.learn_clock(&answer, Some(&status(40_100)));
        assert_eq!(identity.now_ms(), 1_709_837_398_500);
    }
}
