//! Where spans go, as OpenTelemetry names it in the environment of a program.

use std::path::PathBuf;

use reqwest::Url;

use crate::consumer::TlsError;

/// Spans cannot be exported as asked.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The endpoint is no address.
    #[error("the OTLP endpoint {text:?} {problem}; write http://host:4318 or https://host:4318")]
    Endpoint {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Another protocol.
    #[error(
        "OTEL_EXPORTER_OTLP_PROTOCOL is {0:?}; only http/protobuf is spoken, which most collectors \
         take on port 4318"
    )]
    Protocol(String),
    /// A sampler that would not ask the app.
    #[error(
        "OTEL_TRACES_SAMPLER is {0:?}; write parentbased_always_off, parentbased_always_on, or \
         parentbased_traceidratio with a share from 0 to 1 in OTEL_TRACES_SAMPLER_ARG"
    )]
    Sampler(String),
    /// TLS.
    #[error("TLS to the OTLP endpoint: {0}")]
    Tls(#[from] TlsError),
    /// The HTTP client or the exporter cannot be made.
    #[error("spans cannot be exported: {0}")]
    Build(String),
}

/// Whether a trace is begun for a record that has none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Begin {
    /// Never.
    #[default]
    Never,
    /// For each.
    Always,
    /// For this share, from 0 to 1.
    Share(f64),
}

/// Where spans go, and in whose name. Its `Debug` shows no header: they often hold a token.
#[derive(Clone)]
pub struct Settings {
    /// The whole address: `http://host:4318/v1/traces`.
    pub endpoint: String,
    /// Headers of each request, beside those of `OTEL_EXPORTER_OTLP_HEADERS`.
    pub headers: Vec<(String, String)>,
    /// `service.name`; if none, what `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` say.
    pub service: Option<String>,
    /// PEM file of the only authority to trust; the machine's if none.
    pub ca: Option<PathBuf>,
    /// For records without a trace.
    pub begin: Begin,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { endpoint, service, ca, begin, headers: _ } = self;
        let mut shown = f.debug_struct("Settings");
        shown.field("endpoint", endpoint).field("service", service).field("ca", ca);
        shown.field("begin", begin).finish_non_exhaustive()
    }
}

impl Settings {
    /// Spans go to this address, the path included.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            headers: Vec::new(),
            service: None,
            ca: None,
            begin: Begin::default(),
        }
    }

    /// From what `set` knows of each variable; an empty one is none. None if no endpoint is set, or
    /// it is switched off.
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `OTEL_EXPORTER_OTLP_ENDPOINT` | `http://host:4318`; `/v1/traces` is added |
    /// | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` | instead of it, the whole address |
    /// | `OTEL_EXPORTER_OTLP_CERTIFICATE` | PEM file of the only authority to trust |
    /// | `OTEL_EXPORTER_OTLP_PROTOCOL` | `http/protobuf`, if it is set at all |
    /// | `OTEL_TRACES_SAMPLER` | begins traces: `parentbased_always_on`, or `parentbased_traceidratio` with a share in `OTEL_TRACES_SAMPLER_ARG` |
    /// | `OTEL_SDK_DISABLED` | `true`: nothing is exported |
    ///
    /// `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` of this
    /// process count in any case.
    ///
    /// # Errors
    /// The variable to change, and how.
    pub fn read(set: impl Fn(&'static str) -> Option<String>) -> Result<Option<Self>, OtlpError> {
        let set = |name| set(name).filter(|value| !value.trim().is_empty());
        let base = set("OTEL_EXPORTER_OTLP_ENDPOINT")
            .map(|base| format!("{}/v1/traces", base.trim_end_matches('/')));
        let endpoint = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or(base);
        let off = set("OTEL_SDK_DISABLED").is_some_and(|off| off.eq_ignore_ascii_case("true"));
        let Some(endpoint) = endpoint.filter(|_| !off) else { return Ok(None) };
        match set("OTEL_EXPORTER_OTLP_PROTOCOL") {
            Some(other) if other != "http/protobuf" => return Err(OtlpError::Protocol(other)),
            _ => {}
        }
        let begin = begin(set("OTEL_TRACES_SAMPLER"), set("OTEL_TRACES_SAMPLER_ARG"))?;
        let ca = set("OTEL_EXPORTER_OTLP_CERTIFICATE").map(PathBuf::from);
        let settings = Self { ca, begin, ..Self::new(endpoint) };
        settings.url()?;
        Ok(Some(settings))
    }

    /// The endpoint, if it is one.
    pub(super) fn url(&self) -> Result<Url, OtlpError> {
        let wrong = |problem: String| OtlpError::Endpoint { text: self.endpoint.clone(), problem };
        let url =
            Url::parse(&self.endpoint).map_err(|error| wrong(format!("is no URL ({error})")))?;
        match url.scheme() {
            "http" | "https" => Ok(url),
            other => Err(wrong(format!("has the scheme {other}"))),
        }
    }
}

fn begin(sampler: Option<String>, share: Option<String>) -> Result<Begin, OtlpError> {
    match sampler.as_deref() {
        None | Some("parentbased_always_off") => Ok(Begin::Never),
        Some("parentbased_always_on") => Ok(Begin::Always),
        Some("parentbased_traceidratio") => {
            let share = share.as_deref().unwrap_or("1");
            let parsed = share.parse().ok().filter(|share| (0.0..=1.0).contains(share));
            let wrong = || OtlpError::Sampler(format!("parentbased_traceidratio of {share}"));
            parsed.map(Begin::Share).ok_or_else(wrong)
        }
        Some(other) => Err(OtlpError::Sampler(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<Option<Settings>, String> {
        let find = |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::read(find).map_err(|error| error.to_string())
    }

    const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    #[test]
    fn it_is_on_only_with_an_endpoint() {
        let settings = read(&[BASE]).unwrap().unwrap();
        assert_eq!(settings.endpoint, "http://collector:4318/v1/traces");
        assert_eq!(settings.begin, Begin::Never);
        let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://other/in");
        assert_eq!(read(&[BASE, whole]).unwrap().unwrap().endpoint, "https://other/in");
        assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).unwrap().is_none());
        assert!(read(&[BASE, ("OTEL_SDK_DISABLED", "True")]).unwrap().is_none());
    }

    #[test]
    fn what_has_no_meaning_is_named() {
        for (name, value, part) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "http://host:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector", "is no URL"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
            ("OTEL_TRACES_SAMPLER", "always_on", "parentbased_always_on"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5", "from 0 to 1"),
        ] {
            let sampler = ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
            let error = read(&[(name, value), BASE, sampler]).unwrap_err();
            assert!(error.contains(value) && error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_trace_is_begun_only_if_asked_for() {
        let begin =
            |sampler| read(&[BASE, ("OTEL_TRACES_SAMPLER", sampler)]).unwrap().unwrap().begin;
        assert_eq!(begin("parentbased_always_on"), Begin::Always);
        assert_eq!(begin("parentbased_always_off"), Begin::Never);
        assert_eq!(begin("parentbased_traceidratio"), Begin::Share(1.0));
    }

    #[test]
    fn headers_are_not_shown() {
        let mut settings = Settings::new("http://collector:4318/v1/traces");
        settings.headers.push(("authorization".into(), "Bearer 7".into()));
        assert!(!format!("{settings:?}").contains("Bearer"));
    }
}
