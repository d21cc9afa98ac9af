//! Spans on their way out: a bounded queue, and the task that sends what is in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// Most spans that wait; a few MiB.
const WAITING_MAX: usize = 2048;
/// Most spans of one request.
const BATCH_MAX: usize = 512;
/// How long a span waits for company.
const LINGER: Duration = Duration::from_millis(500);
/// Longest time of one batch, tries included.
const EXPORT_DEADLINE: Duration = Duration::from_secs(10);

/// What became of the spans that have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The collector has them.
    pub exported: u64,
    /// The collector was away, too slow, or refused them.
    pub failed: u64,
    /// Never sent: the queue was full, or the time of the stop was over.
    pub dropped: u64,
}

/// The same while it is counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Counts {
        Counts {
            exported: self.exported.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

fn add(counter: &AtomicU64, spans: usize) {
    counter.fetch_add(spans as u64, Ordering::Relaxed);
}

/// Takes spans as they end; it never waits.
#[derive(Debug)]
pub(super) struct Entrance {
    spans: mpsc::Sender<SpanData>,
    counters: Arc<Counters>,
}

impl SpanProcessor for Entrance {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            add(&self.counters.dropped, 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        let how = "spans are flushed by Exporter::stop, which does not block".to_owned();
        Err(OTelSdkError::InternalFailure(how))
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        // The task is told by itself.
        Ok(())
    }
}

/// Sends until it is told to stop, and then what still waits.
pub(super) struct Outlet<E> {
    exporter: E,
    spans: mpsc::Receiver<SpanData>,
    stop: oneshot::Receiver<()>,
    batch: Vec<SpanData>,
    /// Spans of the request under way.
    sending: usize,
    failing: bool,
    counters: Arc<Counters>,
}

/// Both ends.
pub(super) fn queue<E: SpanExporter>(
    exporter: E,
    stop: oneshot::Receiver<()>,
    counters: &Arc<Counters>,
) -> (Entrance, Outlet<E>) {
    let (sender, spans) = mpsc::channel(WAITING_MAX);
    let entrance = Entrance { spans: sender, counters: Arc::clone(counters) };
    let counters = Arc::clone(counters);
    let batch = Vec::new();
    (entrance, Outlet { exporter, spans, stop, batch, sending: 0, failing: false, counters })
}

impl<E: SpanExporter> Outlet<E> {
    pub(super) async fn run(mut self) {
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                // That nobody is left to tell it is the same.
                _ = &mut self.stop, if !stopping => {
                    stopping = true;
                    self.spans.close();
                    continue;
                }
                () = gather(&mut self.spans, &mut self.batch) => {}
            }
            if self.batch.is_empty() {
                return;
            }
            self.export().await;
        }
    }

    async fn export(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.sending = batch.len();
        let result = timeout(EXPORT_DEADLINE, self.exporter.export(batch)).await;
        let result = result.unwrap_or(Err(OTelSdkError::Timeout(EXPORT_DEADLINE)));
        let sent = std::mem::take(&mut self.sending);
        let counter = if result.is_ok() { &self.counters.exported } else { &self.counters.failed };
        add(counter, sent);
        match &result {
            Err(error) if !self.failing => tracing::warn!(%error, "spans cannot be exported"),
            Ok(()) if self.failing => tracing::info!("spans are exported again"),
            _ => {}
        }
        self.failing = result.is_err();
    }
}

/// Waits for a span, and a little for others. Given up halfway, it loses none. The batch stays
/// empty only when the queue is closed.
async fn gather(spans: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>) {
    if batch.is_empty() && spans.recv_many(batch, BATCH_MAX).await == 0 {
        return;
    }
    let company = async {
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            if spans.recv_many(batch, room).await == 0 {
                break;
            }
        }
    };
    tokio::select! {
        biased;
        () = company => {}
        () = sleep(LINGER) => {}
    }
}

impl<E> Drop for Outlet<E> {
    fn drop(&mut self) {
        // At the end of a stop's time; otherwise there is nothing.
        self.spans.close();
        add(&self.counters.dropped, self.spans.len() + self.batch.len() + self.sending);
    }
}

#[cfg(test)]
mod tests;
