//! What exports, from start to stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanExporter as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::client::Client;
use super::queue::{Counters, queue};
use super::spans::Tracer;
use super::{Begin, Counts, OtlpError, Settings};

/// Sends spans to a collector until it is stopped. Dropped, it sends what waits as long as the
/// runtime lives.
#[derive(Debug)]
pub struct Exporter {
    provider: SdkTracerProvider,
    begin: bool,
    counters: Arc<Counters>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts one, in the tokio runtime that this is called in. Nothing is connected before the
    /// first span.
    ///
    /// # Errors
    /// What of the settings cannot be used.
    pub fn start(settings: &Settings) -> Result<Self, OtlpError> {
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(settings)?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&settings.endpoint)
            .with_headers(settings.headers.iter().cloned().collect::<HashMap<_, _>>())
            .build()
            .map_err(|error| OtlpError::Build(error.to_string()))?;
        let mut resource = Resource::builder();
        if let Some(service) = &settings.service {
            resource = resource.with_service_name(service.clone());
        }
        let resource = resource.build();
        let counters = Arc::new(Counters::default());
        let (stop, stopped) = oneshot::channel();
        exporter.set_resource(&resource);
        let (entrance, outlet) = queue(exporter, stopped, &counters);
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler(settings.begin))
            .with_resource(resource)
            .with_span_processor(entrance)
            .build();
        let task = tokio::spawn(outlet.run());
        Ok(Self { provider, begin: settings.begin != Begin::Never, counters, stop, task })
    }

    pub(super) fn tracer(&self) -> Tracer {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"));
        let tracer = self.provider.tracer_with_scope(scope.build());
        Tracer { tracer, begin: self.begin }
    }

    /// For spans of the handler's own; they go the same way. Its sampler begins no trace either.
    pub fn provider(&self) -> &SdkTracerProvider {
        &self.provider
    }

    /// What became of the spans so far.
    pub fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// Sends what waits, for so long at most; the rest is dropped. Spans that end from now on are
    /// dropped.
    pub async fn stop(self, within: Duration) -> Counts {
        let _ = self.stop.send(());
        let mut task = self.task;
        if timeout(within, &mut task).await.is_err() {
            task.abort();
            // It counts what it did not send.
            let _ = task.await;
        }
        self.counters.read()
    }
}

/// The app decides, unless there is none that did.
fn sampler(begin: Begin) -> Sampler {
    Sampler::ParentBased(Box::new(match begin {
        Begin::Never => Sampler::AlwaysOff,
        Begin::Always => Sampler::AlwaysOn,
        Begin::Share(share) => Sampler::TraceIdRatioBased(share),
    }))
}
