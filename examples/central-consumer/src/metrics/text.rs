//! Prometheus' text format, version 0.0.4.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::counts::{BOUNDS_S, Counts};
use super::{Books, Told};

/// All families.
pub(super) fn text(told: &Told) -> String {
    let mut out = String::new();
    let mut page = Page(&mut out);
    page.family("spillway_centre_build_info", "gauge", "1, with the version.");
    page.sample("spillway_centre_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    page.topics(&told.topics);
    if let Some(books) = &told.books {
        page.books(books);
    }
    out
}

struct Page<'a>(&'a mut String);

impl Page<'_> {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = labels.join(",");
        let braces = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        let _ = writeln!(self.0, "{name}{braces} {value}");
    }

    fn topics(&mut self, topics: &[std::sync::Arc<Counts>]) {
        let name = "spillway_centre_records_total";
        let help = "Records that were committed: rows written, duplicates refused, numbers noted, the gateways' own.";
        self.family(name, "counter", help);
        for counts in topics {
            let results = [
                ("written", &counts.written),
                ("duplicate", &counts.duplicates),
                ("noted", &counts.noted),
                ("own", &counts.own),
            ];
            for (result, count) in results {
                self.sample(name, &[("topic", &counts.topic), ("result", result)], number(count));
            }
        }
        self.statuses(topics);
        self.lags(topics);
    }

    /// What the consumer says of itself.
    fn statuses(&mut self, topics: &[std::sync::Arc<Counts>]) {
        let simple = [
            ("spillway_centre_received_total", "counter", "Messages received, repeats included."),
            ("spillway_centre_acknowledged_total", "counter", "Messages acknowledged to RocketMQ."),
            ("spillway_centre_parked_total", "counter", "Messages put into parked_messages."),
            (
                "spillway_centre_in_hand",
                "gauge",
                "Messages received and not yet acknowledged or given back.",
            ),
            (
                "spillway_centre_commit_timestamp_seconds",
                "gauge",
                "When the last commit ended; absent before the first.",
            ),
        ];
        for (nth, (name, kind, help)) in simple.into_iter().enumerate() {
            self.family(name, kind, help);
            for counts in topics {
                let status = counts.status.borrow();
                let committed = counts.committed_ms.load(Relaxed);
                let value = match nth {
                    0 => status.received as f64,
                    1 => status.acked as f64,
                    2 => status.parked as f64,
                    3 => status.in_hand as f64,
                    _ if committed == 0 => continue,
                    _ => committed as f64 / 1000.0,
                };
                self.sample(name, &[("topic", &counts.topic)], value);
            }
        }
        self.troubles(topics);
    }

    fn troubles(&mut self, topics: &[std::sync::Arc<Counts>]) {
        let name = "spillway_centre_errors_total";
        self.family(name, "counter", "Messages that failed: by their own fault, for want of the database, or acknowledged too late.");
        for counts in topics {
            let status = counts.status.borrow();
            let kinds =
                [("record", status.failed), ("database", status.away), ("late", status.ack_lost)];
            for (kind, count) in kinds {
                self.sample(name, &[("topic", &counts.topic), ("kind", kind)], count as f64);
            }
        }
        let (away, losses) = ("spillway_centre_away", "spillway_centre_losses_total");
        self.family(away, "gauge", "1 while the database, or the broker, does not answer, else 0.");
        for counts in topics {
            let status = counts.status.borrow();
            let now = [("database", &status.away_reason), ("broker", &status.link_reason)];
            for (what, reason) in now {
                let labels = [("topic", &*counts.topic), ("what", what)];
                self.sample(away, &labels, f64::from(u8::from(reason.is_some())));
            }
        }
        self.family(
            losses,
            "counter",
            "Times that the database, or the broker, went away; each ends with a reconnect.",
        );
        for counts in topics {
            for (what, count) in ["database", "broker"].into_iter().zip(&counts.losses) {
                self.sample(losses, &[("topic", &counts.topic), ("what", what)], number(count));
            }
        }
    }

    fn lags(&mut self, topics: &[std::sync::Arc<Counts>]) {
        let name = "spillway_centre_lag_seconds";
        self.family(name, "histogram", "Time from a record's acceptance at the gateway to its commit; not of what is sent again.");
        for counts in topics {
            let mut sum = 0;
            let bounds = BOUNDS_S.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
            for (bound, count) in bounds.zip(&counts.lags) {
                sum += count.load(Relaxed);
                let labels = [("topic", &*counts.topic), ("le", &bound)];
                self.sample(&format!("{name}_bucket"), &labels, sum as f64);
            }
            let topic = [("topic", &*counts.topic)];
            self.sample(&format!("{name}_sum"), &topic, number(&counts.lag_sum_ms) / 1000.0);
            self.sample(&format!("{name}_count"), &topic, sum as f64);
        }
    }

    fn books(&mut self, books: &Books) {
        let young = books.open.records.saturating_sub(books.open.missing);
        let all = [
            (
                "spillway_centre_gateways",
                "Gateways of which anything ever came.",
                books.gateways as f64,
            ),
            (
                "spillway_centre_gateways_silent",
                "Gateways of which nothing came for --silent-after.",
                books.silent as f64,
            ),
            (
                "spillway_centre_gateways_with_gaps",
                "Gateways of which numbers are neither stored nor explained.",
                books.with_gaps as f64,
            ),
            (
                "spillway_centre_gaps",
                "Ranges of numbers that are neither stored nor explained.",
                books.open.gaps as f64,
            ),
            (
                "spillway_centre_gap_records",
                "Numbers in those ranges: missing, or young.",
                books.open.records as f64,
            ),
            (
                "spillway_centre_missing_records",
                "Those whose gateways went on for twice --missing-after without them.",
                books.open.missing as f64,
            ),
            (
                "spillway_centre_young_records",
                "Those that may be on their way, or at gateways that are silent.",
                young as f64,
            ),
            (
                "spillway_centre_gateways_with_missing",
                "Gateways of which records are missing.",
                books.with_missing as f64,
            ),
            (
                "spillway_centre_gap_records_closed_total",
                "Numbers that left those ranges between two looks.",
                books.closed as f64,
            ),
            (
                "spillway_centre_waiting_records",
                "Records at the gateways still, by their last reports.",
                books.waiting as f64,
            ),
            (
                "spillway_centre_books_timestamp_seconds",
                "When the books were last looked through.",
                books.at_ms as f64 / 1000.0,
            ),
        ];
        for (name, help, value) in all {
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            self.family(name, kind, help);
            self.sample(name, &[], value);
        }
    }
}

fn number(count: &AtomicU64) -> f64 {
    count.load(Relaxed) as f64
}
