//! A handler within spans.

use opentelemetry::KeyValue;
use opentelemetry::trace::FutureExt;

use super::Exporter;
use super::spans::{Spans, Tracer};
use crate::consumer::{Delivery, Handler, Verdict};

/// A handler whose deliveries have spans.
#[derive(Debug)]
pub struct Traced<H> {
    handler: H,
    tracer: Option<Tracer>,
    /// Attributes that all its spans have.
    more: Vec<KeyValue>,
}

impl<H> Traced<H> {
    /// Has `handler` work within spans that go to `exporter`; without one it is just the handler.
    pub fn new(handler: H, exporter: Option<&Exporter>) -> Self {
        Self { handler, tracer: exporter.map(Exporter::tracer), more: Vec::new() }
    }

    /// Names the consumer group (`messaging.consumer.group.name`).
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.more.push(KeyValue::new("messaging.consumer.group.name", group.into()));
        self
    }

    /// Names the instance or namespace (`messaging.rocketmq.namespace`).
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.more.push(KeyValue::new("messaging.rocketmq.namespace", namespace.into()));
        self
    }

    fn start(&self, batch: &[Delivery]) -> Spans {
        match &self.tracer {
            Some(tracer) => Spans::start(tracer, batch, &self.more),
            None => Spans::none(),
        }
    }
}

impl<H: Handler> Handler for Traced<H> {
    async fn handle(&self, batch: &[Delivery]) -> Vec<Verdict> {
        let mut spans = self.start(batch);
        let verdicts = self.handler.handle(batch).with_context(spans.context.clone()).await;
        for (index, verdict) in verdicts.iter().enumerate() {
            spans.end(index, failure(verdict));
        }
        verdicts
    }

    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), String> {
        let mut spans = self.start(std::slice::from_ref(delivery));
        let context = spans.context.clone();
        let parked = self.handler.park(delivery, reason).with_context(context).await;
        match &parked {
            Ok(()) => spans.end(0, Some(("parked", reason))),
            Err(reason) => spans.end(0, Some(("away", reason))),
        }
        parked
    }
}

fn failure(verdict: &Verdict) -> Option<(&'static str, &str)> {
    match verdict {
        Verdict::Done => None,
        Verdict::Failed { reason } => Some(("failed", reason)),
        Verdict::Away { reason } => Some(("away", reason)),
    }
}
