//! The spans of one call of a handler.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer as _,
};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::SdkTracer;

use crate::consumer::{Delivery, Receipt, TraceContext};

/// The trace is sampled; its id is random.
const FLAGS_KNOWN: u8 = 0b11;
/// Of a failure's reason, so much goes with the span.
const REASON_CHARS_MAX: usize = 500;

/// The context of each delivery's span, as a value of the context that their handler runs in.
struct Each(HashMap<Receipt, Context>);

/// The context of a delivery's own span, within a call of its handler; an empty one if it belongs
/// to no trace.
pub fn context_of(delivery: &Delivery) -> Context {
    let current = Context::current();
    match current.get::<Arc<Each>>() {
        Some(each) => each.0.get(&delivery.receipt).cloned().unwrap_or_default(),
        None => current,
    }
}

/// Begins spans.
#[derive(Debug)]
pub(super) struct Tracer {
    pub(super) tracer: SdkTracer,
    /// Also for deliveries without a trace.
    pub(super) begin: bool,
}

/// Spans that have begun, one per delivery that belongs to a trace. They end with it.
pub(super) struct Spans {
    of: Vec<Option<Context>>,
    /// What the handler runs in.
    pub(super) context: Context,
}

impl Spans {
    /// None at all.
    pub(super) fn none() -> Self {
        Self { of: Vec::new(), context: Context::current() }
    }

    /// Begins them; all have `more` among their attributes.
    pub(super) fn start(tracer: &Tracer, batch: &[Delivery], more: &[KeyValue]) -> Self {
        let start = |delivery: &Delivery| {
            let parent = parent(delivery);
            let wanted = tracer.begin || parent.is_some();
            wanted.then(|| span(&tracer.tracer, delivery, parent, more))
        };
        let of: Vec<Option<Context>> = batch.iter().map(start).collect();
        let recorded = of.iter().flatten().find(|context| context.span().is_recording());
        let Some(first) = recorded.or_else(|| of.iter().flatten().next()).cloned() else {
            return Self::none();
        };
        link(&of, first.span().span_context());
        let each = batch.iter().zip(&of);
        let each = each.filter_map(|(d, context)| Some((d.receipt.clone(), context.clone()?)));
        let context = first.with_value(Arc::new(Each(each.collect())));
        Self { of, context }
    }

    /// Ends the span of the delivery with this index; `failure`: kind and reason.
    pub(super) fn end(&mut self, index: usize, failure: Option<(&'static str, &str)>) {
        let Some(context) = self.of.get_mut(index).and_then(Option::take) else { return };
        let span = context.span();
        if let Some((kind, reason)) = failure {
            span.set_attribute(KeyValue::new("error.type", kind));
            let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
            span.set_status(Status::error(reason));
        }
        span.end();
    }
}

impl Drop for Spans {
    fn drop(&mut self) {
        for index in 0..self.of.len() {
            self.end(
                index,
                Some(("no_verdict", "the handler panicked, was given up, or did not say")),
            );
        }
    }
}

/// The work on a batch shows in the first span's trace; the others say where.
fn link(of: &[Option<Context>], first: &SpanContext) {
    for context in of.iter().flatten() {
        if context.span().span_context() != first && first.is_sampled() {
            context.span().add_link(first.clone(), Vec::new());
        }
    }
}

/// The app's span.
fn parent(delivery: &Delivery) -> Option<SpanContext> {
    let TraceContext { trace_id, parent_id, flags, .. } = delivery.trace_context()?;
    let state = delivery.properties.get("tracestate");
    let state = state.and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default();
    let (trace, span) = (TraceId::from_bytes(trace_id), SpanId::from_bytes(parent_id));
    // What is not known is not handed on.
    let flags = TraceFlags::new(flags & FLAGS_KNOWN);
    Some(SpanContext::new(trace, span, flags, true, state))
}

fn span(
    tracer: &SdkTracer,
    delivery: &Delivery,
    parent: Option<SpanContext>,
    more: &[KeyValue],
) -> Context {
    let above = Context::new();
    let above = match parent {
        Some(parent) => above.with_remote_span_context(parent),
        None => above,
    };
    let name = format!("process {}", delivery.topic);
    let span = tracer.span_builder(name).with_kind(SpanKind::Consumer);
    let span = tracer.build_with_context(span, &above);
    let context = Context::current().with_span(span);
    if context.span().is_recording() {
        context.span().set_attributes(attributes(delivery));
        context.span().set_attributes(more.iter().cloned());
    }
    context
}

/// OpenTelemetry's names for messages and for RocketMQ, and ours.
fn attributes(delivery: &Delivery) -> Vec<KeyValue> {
    let text = |name, value: &Option<String>| {
        value.clone().filter(|value| !value.is_empty()).map(|value| KeyValue::new(name, value))
    };
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let mut attributes = vec![
        KeyValue::new("messaging.system", "rocketmq"),
        KeyValue::new("messaging.operation.name", "process"),
        KeyValue::new("messaging.operation.type", "process"),
        KeyValue::new("messaging.destination.name", delivery.topic.clone()),
        KeyValue::new("messaging.message.id", delivery.message_id.clone()),
        KeyValue::new("messaging.message.body.size", number(delivery.body.len() as u64)),
        KeyValue::new("spillway.attempt", i64::from(delivery.attempt)),
    ];
    attributes.extend(text("messaging.rocketmq.message.tag", &delivery.tag));
    attributes.extend(text("messaging.rocketmq.message.group", &delivery.order_key));
    let keys = delivery.keys.as_deref().unwrap_or("").split_whitespace();
    let keys: Vec<StringValue> = keys.map(|key| key.to_owned().into()).collect();
    if !keys.is_empty() {
        let keys = Value::Array(Array::String(keys));
        attributes.push(KeyValue::new("messaging.rocketmq.message.keys", keys));
    }
    if let Some(origin) = &delivery.origin {
        attributes.extend([
            KeyValue::new("spillway.gateway", origin.gateway.clone()),
            KeyValue::new("spillway.lane", origin.lane.clone()),
            KeyValue::new("spillway.stream", origin.stream.to_string()),
            KeyValue::new("spillway.seq", number(origin.seq)),
        ]);
    }
    attributes
}
