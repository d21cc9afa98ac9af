//! The offered load over time as an SVG: every way to return, the capacity, and what the fleet
//! makes. It needs nothing from outside and is readable on white and on black.

mod axis;

use std::fmt::Write;

use self::axis::Axis;
use super::figure::{grouped, span};
use super::{Answer, Way};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 104.0;
const BOTTOM: f64 = 62.0;
/// From so many times the capacity on, the load is drawn by its logarithm.
const LOGARITHMIC: f64 = 3.0;
/// Names on the command line, in words, on white and on black; Okabe and Ito's colours, which
/// most people can tell apart.
const STYLES: [(&str, &str, &str, &str); 7] = [
    ("spillway", "Spillway", "#0072b2", "#56b4e9"),
    ("naive", "naive", "#d55e00", "#ff8c42"),
    ("exponential", "exponential", "#b3468a", "#e79ac8"),
    ("full-jitter", "full jitter", "#00805c", "#2fd3a2"),
    ("decorrelated-jitter", "decorrelated jitter", "#a87400", "#f0c04a"),
    ("static-bucket", "static bucket", "#6b5b95", "#b5a7e0"),
    ("aimd", "AIMD", "#666666", "#bbbbbb"),
];

/// The way's name in words.
pub fn title(way: &str) -> &str {
    STYLES.iter().find(|(name, ..)| *name == way).map_or(way, |(_, title, ..)| title)
}

/// Draws it.
pub fn svg(answer: &Answer) -> String {
    let plot = Plot::of(answer);
    let mut out = String::new();
    plot.head(&mut out);
    plot.axes(&mut out);
    // Ours last, so that it lies above the others; what is written, above all.
    answer.ways.iter().rev().for_each(|way| plot.curve(&mut out, way));
    plot.level(&mut out, answer.broker.live_messages_per_s, "the fleet makes", 18.0);
    plot.level(&mut out, answer.broker.capacity_messages_per_s, "capacity", -7.0);
    plot.legend(&mut out);
    out.push_str("</svg>\n");
    out
}

struct Plot<'a> {
    answer: &'a Answer,
    time: Axis,
    load: Axis,
}

impl<'a> Plot<'a> {
    fn of(answer: &'a Answer) -> Self {
        let end_s = answer
            .ways
            .first()
            .map_or(1.0, |way| way.load_step_s * way.load_messages_per_s.len().max(1) as f64);
        let loads = answer.ways.iter().flat_map(|way| &way.load_messages_per_s);
        let capacity = answer.broker.capacity_messages_per_s;
        let most = loads.copied().fold(capacity, f64::max);
        let load = match most > LOGARITHMIC * capacity {
            true => Axis::logarithmic(answer.broker.live_messages_per_s / 4.0, most * 1.15),
            false => Axis::linear(0.0, most * 1.08),
        };
        Self { answer, time: Axis::time(end_s), load }
    }

    fn x(&self, s: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * self.time.part(s)
    }

    fn y(&self, per_s: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * self.load.part(per_s)
    }

    fn head(&self, out: &mut String) {
        let fleet = &self.answer.fleet;
        let title = format!(
            "{} gateways return after {}",
            grouped(f64::from(fleet.gateways)),
            span(fleet.outage_s)
        );
        let seed = self.answer.simulated.first_seed;
        let scale = match self.answer.is_exact() {
            true => format!("simulated as a whole, seed {seed}"),
            false => format!(
                "simulated with {} gateways after {}, seed {seed}; load scaled to the whole fleet",
                grouped(f64::from(self.answer.simulated.gateways)),
                span(self.answer.simulated.outage_s),
            ),
        };
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" \
             font-family=\"system-ui, Helvetica, Arial, sans-serif\" font-size=\"14\">\n\
             <title>{title}</title>\n<style>\n{}</style>\n\
             <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n",
            style()
        );
        text(out, (LEFT, 30.0), "start", "ink", "font-size=\"20\"", &title);
        text(out, (LEFT, 52.0), "start", "soft", "", &scale);
    }

    fn axes(&self, out: &mut String) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (value, label) in self.load.ticks() {
            let y = self.y(value);
            line(out, "grid", "#dddddd", (LEFT, y), (right, y));
            text(out, (LEFT - 8.0, y + 5.0), "end", "soft", "", &label);
        }
        for (value, label) in self.time.ticks() {
            let x = self.x(value);
            line(out, "grid", "#dddddd", (x, TOP), (x, bottom));
            text(out, (x, bottom + 20.0), "middle", "soft", "", &label);
        }
        let middle = (LEFT + right) / 2.0;
        text(out, (middle, HEIGHT - 14.0), "middle", "ink", "", "since the network is back");
        let across = f64::midpoint(TOP, bottom);
        let turned = format!("transform=\"rotate(-90 20 {across})\"");
        let label = match self.load.is_logarithmic() {
            true => "messages offered in a second (logarithmic)",
            false => "messages offered in a second",
        };
        text(out, (20.0, across), "middle", "ink", &turned, label);
    }

    /// A line across, its label so far below it.
    fn level(&self, out: &mut String, per_s: f64, label: &str, below: f64) {
        let (y, right) = (self.y(per_s), WIDTH - RIGHT);
        let _ = writeln!(
            out,
            "<line class=\"level\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" \
             stroke=\"#222222\" stroke-width=\"1.5\" stroke-dasharray=\"{}\"/>",
            if below > 0.0 { "2 4" } else { "8 4" }
        );
        let label = format!("{label}: {}/s", grouped(per_s));
        text(out, (right - 4.0, y + below), "end", "ink label", "", &label);
    }

    fn curve(&self, out: &mut String, way: &Way) {
        let points = way.load_messages_per_s.iter().enumerate().map(|(n, per_s)| {
            format!("{:.1},{:.1}", self.x(n as f64 * way.load_step_s), self.y(*per_s))
        });
        let points = points.collect::<Vec<_>>().join(" ");
        let (colour, width) = (light(way.way), if way.way == "spillway" { 2.5 } else { 1.2 });
        let _ = writeln!(
            out,
            "<polyline class=\"{}\" points=\"{points}\" fill=\"none\" stroke=\"{colour}\" \
             stroke-width=\"{width}\" stroke-linejoin=\"round\"/>",
            way.way
        );
    }

    fn legend(&self, out: &mut String) {
        let mut x = LEFT;
        for way in &self.answer.ways {
            let name = title(way.way);
            let label = format!("{name} ({:.2} at most)", way.peak_over_capacity);
            line(out, &format!("{} key", way.way), light(way.way), (x, 78.0), (x + 22.0, 78.0));
            text(out, (x + 28.0, 83.0), "start", "ink", "", &label);
            x += 46.0 + 7.2 * label.len() as f64;
        }
    }
}

fn light(way: &str) -> &'static str {
    STYLES.iter().find(|(name, ..)| *name == way).map_or("#000000", |(_, _, light, _)| light)
}

/// Colours are attributes too, for programs that read no style sheets.
fn style() -> String {
    let dark: String =
        STYLES.iter().map(|(name, _, _, dark)| format!(".{name} {{ stroke: {dark} }}\n")).collect();
    format!(
        ".key {{ stroke-width: 4 }}\n\
         .label {{ paint-order: stroke; stroke: #ffffff; stroke-width: 4 }}\n\
         @media (prefers-color-scheme: dark) {{\n\
         .paper {{ fill: #14181d }}\n.ink {{ fill: #eeeeee }}\n.soft {{ fill: #a8b0b8 }}\n\
         .grid {{ stroke: #2f363d }}\n.level {{ stroke: #eeeeee }}\n\
         .label {{ stroke: #14181d }}\n{dark}}}\n"
    )
}

fn line(out: &mut String, class: &str, colour: &str, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        out,
        "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" \
         stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(out: &mut String, at: (f64, f64), anchor: &str, class: &str, more: &str, words: &str) {
    let colour = if class == "soft" { "#666666" } else { "#222222" };
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" \
         fill=\"{colour}\" {more}>{words}</text>",
        at.0, at.1
    );
}
