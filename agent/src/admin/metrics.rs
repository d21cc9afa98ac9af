//! `/metrics`: the agent's state in Prometheus' text format, version 0.0.4. The families, their
//! help and what they are made of stand in `families`; docs/metrics.md lists the same.

mod families;

use std::fmt::Write;

use spillway_protocol::local::status::Status;

use families::FAMILIES;

/// Metrics of one name.
struct Family {
    name: &'static str,
    kind: Kind,
    /// Meaning and unit, in one line.
    help: &'static str,
    samples: fn(&Status) -> Vec<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Only grows, but where the agent was killed or reset.
    Counter,
    Gauge,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    labels: Vec<(&'static str, String)>,
    value: f64,
}

/// All metrics of a state.
pub(super) fn text(status: &Status) -> String {
    let mut out = String::new();
    for family in FAMILIES {
        let samples = (family.samples)(status);
        if !samples.is_empty() {
            write_family(&mut out, family, &samples);
        }
    }
    out
}

fn write_family(out: &mut String, family: &Family, samples: &[Sample]) {
    let Family { name, help, .. } = family;
    let kind = family.kind.word();
    // Writing to a text does not fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for sample in samples {
        let _ = writeln!(out, "{name}{} {}", labels(&sample.labels), number(sample.value));
    }
}

fn labels(labels: &[(&'static str, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let one = |(name, value): &(&str, String)| format!("{name}=\"{}\"", escaped(value));
    let all: Vec<String> = labels.iter().map(one).collect();
    format!("{{{}}}", all.join(","))
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Prometheus has its own words for what is no number.
fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests;
