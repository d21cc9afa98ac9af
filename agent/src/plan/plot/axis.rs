//! Axes: where a value lies, and which values are named.

use super::super::figure::{grouped, span};

/// Steps between times, in seconds.
const TIMES_S: [f64; 16] = [
    1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14_400.0,
    43_200.0, 86_400.0, 604_800.0,
];
/// Ticks at most, of a time and of a load.
const TICKS: (f64, f64) = (9.0, 7.0);
/// Over so many decades a logarithmic axis names whole decades only.
const DECADES: f64 = 3.0;

/// An axis from one value to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    from: f64,
    to: f64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Linear,
    Logarithmic,
    Time,
}

impl Axis {
    pub(super) fn linear(from: f64, to: f64) -> Self {
        Self { from, to: to.max(from + f64::MIN_POSITIVE), kind: Kind::Linear }
    }

    pub(super) fn logarithmic(from: f64, to: f64) -> Self {
        Self { from: from.max(1e-6), to, kind: Kind::Logarithmic }
    }

    pub(super) fn time(to_s: f64) -> Self {
        Self { from: 0.0, to: to_s, kind: Kind::Time }
    }

    pub(super) fn is_logarithmic(&self) -> bool {
        self.kind == Kind::Logarithmic
    }

    /// Where `value` lies: 0 at the beginning, 1 at the end. What lies outside is at the border.
    pub(super) fn part(&self, value: f64) -> f64 {
        let value = value.clamp(self.from, self.to);
        match self.kind {
            Kind::Logarithmic => (value / self.from).ln() / (self.to / self.from).ln(),
            _ => (value - self.from) / (self.to - self.from),
        }
    }

    /// Values with their names.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let named = |values: Vec<f64>, name: fn(f64) -> String| {
            values.into_iter().map(|value| (value, name(value))).collect()
        };
        match self.kind {
            Kind::Linear => named(self.multiples(round_step(self.to / TICKS.1)), grouped),
            Kind::Logarithmic => named(self.decades(), grouped),
            Kind::Time => {
                let fits = |step: &&f64| self.to / **step <= TICKS.0;
                let longest = TIMES_S.last().copied().unwrap_or(1.0);
                let step = TIMES_S.iter().find(fits).copied().unwrap_or(longest);
                named(self.multiples(step), span)
            }
        }
    }

    fn multiples(&self, step: f64) -> Vec<f64> {
        let count = (self.to / step).floor() as u32;
        (0..=count).map(|n| f64::from(n) * step).collect()
    }

    fn decades(&self) -> Vec<f64> {
        let (first, last) = (self.from.log10().floor() as i32, self.to.log10().ceil() as i32);
        let within: &[f64] =
            if f64::from(last - first) > DECADES { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = (first..=last).flat_map(|n| within.iter().map(move |m| m * 10_f64.powi(n)));
        all.filter(|value| (self.from..=self.to).contains(value)).collect()
    }
}

/// 1, 2 or 5 times a power of ten, at least `least`.
fn round_step(least: f64) -> f64 {
    let decade = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|m| m * decade);
    steps.into_iter().find(|step| *step >= least).unwrap_or(10.0 * decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_where_they_should() {
        let axis = Axis::logarithmic(10.0, 1000.0);
        assert!((axis.part(100.0) - 0.5).abs() < 1e-9);
        assert_eq!((axis.part(1.0), axis.part(5000.0)), (0.0, 1.0));
        assert_eq!(Axis::linear(0.0, 8.0).part(2.0), 0.25);
    }

    #[test]
    fn ticks_are_round_and_few() {
        let names = |axis: Axis| axis.ticks().into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(
            names(Axis::linear(0.0, 21_600.0)),
            ["0", "5,000", "10,000", "15,000", "20,000"]
        );
        assert_eq!(names(Axis::logarithmic(15.0, 250.0)), ["20", "50", "100", "200"]);
        assert_eq!(names(Axis::logarithmic(0.5, 20_000.0)).len(), 5);
        assert_eq!(names(Axis::time(3900.0)), ["0", "10m", "20m", "30m", "40m", "50m", "1h"]);
    }
}
