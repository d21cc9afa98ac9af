//! Figures of several rounds, and how they are printed.

use std::time::Duration;

use crate::process::{TICKS_PER_SECOND, Usage};

/// One number per round.
#[derive(Debug, Clone, Default)]
pub struct Rounds(Vec<f64>);

impl Rounds {
    /// Adds a round.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// This divided by `reference`, round by round.
    pub fn over(&self, reference: &Self) -> Self {
        Self(self.0.iter().zip(&reference.0).map(|(a, b)| a / b).collect())
    }

    /// The middle one (of an even count the lower of the two); 0 where there is none.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len().saturating_sub(1) / 2;
        sorted.get(middle).copied().unwrap_or(0.0)
    }

    /// `median [smallest–largest]`, with `digits` behind the point.
    pub fn show(&self, digits: usize) -> String {
        let smallest = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = self.0.iter().copied().fold(0.0, f64::max);
        match self.0.len() {
            0 => "–".to_owned(),
            1 => number(self.median(), digits),
            _ => {
                let parts = [self.median(), smallest, largest].map(|value| number(value, digits));
                format!("{} [{}–{}]", parts[0], parts[1], parts[2])
            }
        }
    }
}

impl FromIterator<f64> for Rounds {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

/// What one turn of publishing brought.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Records a second.
    pub rate: f64,
    /// Seconds of processor time of whoever published, for 1,000 records.
    pub cpu_s: f64,
}

impl Turn {
    /// So many records in `took_s` seconds, by a process that had used so much before and after.
    pub fn of(records: u64, took_s: f64, before: Usage, after: Usage) -> Self {
        let cpu_s = after.ticks.saturating_sub(before.ticks) as f64 / TICKS_PER_SECOND;
        let records = records as f64;
        Self { rate: records / took_s.max(1e-3), cpu_s: cpu_s / records * 1e3 }
    }
}

/// The turns of several rounds.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    /// Records a second.
    pub rate: Rounds,
    /// See [`Turn::cpu_s`].
    pub cpu_s: Rounds,
}

impl Turns {
    /// Adds a round.
    pub fn push(&mut self, turn: Turn) {
        self.rate.push(turn.rate);
        self.cpu_s.push(turn.cpu_s);
    }
}

/// A number with `digits` behind the point and a comma at the thousands.
pub fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// What one round of load brought.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// How long each record (or group) waited for its answer.
    pub waits: Vec<Duration>,
    /// Records that were acknowledged.
    pub records: u64,
    /// From the first submission to the last acknowledgement.
    pub took: Duration,
}

impl Run {
    /// Records a second.
    pub fn per_second(&self) -> f64 {
        self.records as f64 / self.took.as_secs_f64()
    }

    /// The wait that `share` (0.5, 0.99) of the records did not exceed, in microseconds.
    pub fn wait_us(&mut self, share: f64) -> f64 {
        self.waits.sort_unstable();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a place in the list
        let at = (self.waits.len().saturating_sub(1) as f64 * share) as usize;
        self.waits.get(at).map_or(0.0, |wait| wait.as_secs_f64() * 1e6)
    }

    /// Both, as if run by one.
    pub fn join(mut self, other: Self) -> Self {
        self.waits.extend(other.waits);
        self.records += other.records;
        self.took = self.took.max(other.took);
        self
    }
}

/// Prints a table in Markdown.
pub fn table(head: &[&str], rows: &[Vec<String>]) {
    let line = |cells: &[String]| println!("| {} |", cells.join(" | "));
    line(&head.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    line(&head.iter().map(|_| "---".to_owned()).collect::<Vec<_>>());
    rows.iter().for_each(|row| line(row));
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_range_are_those_of_the_rounds() {
        let rounds: Rounds = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!(rounds.show(1), "2.0 [1.0–3.0]");
        let halves: Rounds = [2.0, 2.0, 1.0].into_iter().collect();
        assert_eq!(rounds.over(&halves).show(2), "1.50 [0.50–2.00]");
        assert_eq!(Rounds::default().show(0), "–");
    }

    #[test]
    fn thousands_are_told_apart() {
        for (value, text) in [(999.4, "999"), (1_000.0, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(number(value, 0), text);
        }
    }

    #[test]
    fn a_wait_is_taken_from_the_sorted_ones() {
        let waits = (1..=100).rev().map(Duration::from_micros).collect();
        let mut run = Run { waits, records: 100, took: Duration::from_secs(2) };
        assert!((run.wait_us(0.99) - 99.0).abs() < 1e-6);
        assert!((run.per_second() - 50.0).abs() < 1e-6);
    }
}
