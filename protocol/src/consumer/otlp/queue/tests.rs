//! The queue by itself, with time that passes only when nothing else happens.

use std::sync::Mutex;

use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::time::Instant;

use super::*;

/// Notes the sizes of batches; fails or hangs as it is told.
#[derive(Debug, Clone, Default)]
struct Far {
    batches: Arc<Mutex<Vec<usize>>>,
    refuses: bool,
    hangs: bool,
}

impl SpanExporter for Far {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.batches.lock().unwrap().push(batch.len());
        match (self.hangs, self.refuses) {
            (true, _) => std::future::pending().await,
            (_, true) => Err(OTelSdkError::InternalFailure("503".into())),
            _ => Ok(()),
        }
    }
}

struct Scene {
    provider: SdkTracerProvider,
    outlet: Outlet<Far>,
    stop: oneshot::Sender<()>,
    counters: Arc<Counters>,
}

fn scene(far: Far) -> Scene {
    let (stop, stopped) = oneshot::channel();
    let counters = Arc::new(Counters::default());
    let (entrance, outlet) = queue(far, stopped, &counters);
    let provider = SdkTracerProvider::builder().with_span_processor(entrance).build();
    Scene { provider, outlet, stop, counters }
}

fn end_spans(provider: &SdkTracerProvider, count: usize) {
    let tracer = provider.tracer("test");
    (0..count).for_each(|_| drop(tracer.start("one")));
}

fn counts(exported: u64, failed: u64, dropped: u64) -> Counts {
    Counts { exported, failed, dropped }
}

#[tokio::test(start_paused = true)]
async fn spans_leave_in_batches_and_all_that_wait_leave_at_the_stop() {
    let far = Far::default();
    let scene = scene(far.clone());
    let task = tokio::spawn(scene.outlet.run());
    end_spans(&scene.provider, BATCH_MAX + 7);
    sleep(LINGER * 3).await;
    assert_eq!(scene.counters.read(), counts(BATCH_MAX as u64 + 7, 0, 0));
    end_spans(&scene.provider, 3);
    let begun = Instant::now();
    scene.stop.send(()).unwrap();
    task.await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(*far.batches.lock().unwrap(), [BATCH_MAX, 7, 3]);
    end_spans(&scene.provider, 1);
    assert_eq!(scene.counters.read(), counts(BATCH_MAX as u64 + 10, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_the_queue_is_dropped_and_counted() {
    let scene = scene(Far::default());
    end_spans(&scene.provider, WAITING_MAX + 5);
    assert_eq!(scene.counters.read(), counts(0, 0, 5));
    scene.stop.send(()).unwrap();
    scene.outlet.run().await;
    assert_eq!(scene.counters.read(), counts(WAITING_MAX as u64, 0, 5));
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_refuses_or_hangs_costs_one_batch_after_the_other() {
    let refusing = scene(Far { refuses: true, ..Far::default() });
    end_spans(&refusing.provider, 4);
    drop(refusing.stop);
    refusing.outlet.run().await;
    assert_eq!(refusing.counters.read(), counts(0, 4, 0));

    let hanging = scene(Far { hangs: true, ..Far::default() });
    end_spans(&hanging.provider, BATCH_MAX + 1);
    hanging.stop.send(()).unwrap();
    let begun = Instant::now();
    hanging.outlet.run().await;
    assert_eq!(begun.elapsed(), EXPORT_DEADLINE * 2);
    assert_eq!(hanging.counters.read(), counts(0, BATCH_MAX as u64 + 1, 0));
}

#[tokio::test(start_paused = true)]
async fn given_up_it_counts_what_it_has_not_sent() {
    let scene = scene(Far { hangs: true, ..Far::default() });
    let task = tokio::spawn(scene.outlet.run());
    end_spans(&scene.provider, BATCH_MAX + 9);
    sleep(Duration::from_millis(1)).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(scene.counters.read(), counts(0, 0, BATCH_MAX as u64 + 9));
}
