//! The picture: head, two plots, lanes, what is wrong, keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table, Wrap};
use spillway_protocol::local::status::Status;

use super::Course;
use super::words::{self, COLUMNS, Grade};

/// Fewer lines than this leave no room for plots.
const PLOTS_FROM_HEIGHT: u16 = 18;
const PLOT_HEIGHT: u16 = 4;
const NOTES_MAX: u16 = 6;
/// Width of a name in the head.
const NAME_WIDTH: u16 = 9;
/// Columns that a narrow terminal does without, the last first.
const WIDTHS: [u16; COLUMNS.len()] = [14, 9, 9, 8, 8, 8, 14, 6, 6];

/// What is drawn.
#[derive(Debug, Default)]
pub(super) struct Screen {
    pub(super) course: Course,
    /// The first lane that is shown, where not all have room.
    pub(super) first: usize,
}

pub(super) fn draw(screen: &mut Screen, frame: &mut Frame<'_>) {
    let area = frame.area();
    let Some(state) = screen.course.last().cloned() else {
        let text = screen.course.lost.clone().unwrap_or_else(|| "asking the agent".to_owned());
        return frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
    };
    let head = head(&state, screen.course.lost.as_deref(), area.width);
    let notes = notes(&state, area.width);
    let plots = if area.height >= PLOTS_FROM_HEIGHT { PLOT_HEIGHT } else { 0 };
    let [above, between, lanes, below, keys] = Layout::vertical([
        Constraint::Length(head.len() as u16),
        Constraint::Length(plots),
        Constraint::Min(3),
        Constraint::Length((notes.len() as u16).min(NOTES_MAX)),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head), above);
    draw_plots(&screen.course, frame, between);
    let shown = usize::from(lanes.height.saturating_sub(1));
    screen.first = screen.first.min(state.lanes.len().saturating_sub(shown));
    draw_lanes(screen, &state, frame, lanes);
    frame.render_widget(Paragraph::new(notes), below);
    let more = state.lanes.len() > shown;
    let help = if more { "q quit   up/down other lanes" } else { "q quit" };
    frame.render_widget(Paragraph::new(help).dim(), keys);
}

/// Names, and values that go on below themselves.
fn head(state: &Status, lost: Option<&str>, width: u16) -> Vec<Line<'static>> {
    let lines = |(name, value): (&'static str, String)| {
        let style = match name {
            "link" => colour(words::link_grade(state.link.state)),
            "config" => colour(Grade::Bad),
            _ => Style::new(),
        };
        let wrapped = words::wrapped(&value, usize::from(width.saturating_sub(NAME_WIDTH)));
        let line = |(i, part): (usize, &&str)| {
            let name = if i == 0 { name } else { "" };
            let name = format!("{name:<0$}", usize::from(NAME_WIDTH));
            Line::from(vec![name.bold(), Span::styled((*part).to_owned(), style)])
        };
        wrapped.iter().enumerate().map(line).collect::<Vec<_>>()
    };
    let lost = lost.map(|why| Line::from(format!("NO ANSWER {why}")).style(colour(Grade::Bad)));
    lost.into_iter().chain(words::head(state).into_iter().flat_map(lines)).collect()
}

fn notes(state: &Status, width: u16) -> Vec<Line<'static>> {
    let notes = words::notes(state);
    let wrapped = notes.iter().flat_map(|note| words::wrapped(note, usize::from(width)));
    wrapped.map(|line| Line::from(line.to_owned()).yellow()).collect()
}

fn draw_plots(course: &Course, frame: &mut Frame<'_>, area: Rect) {
    let plots = Layout::horizontal([Constraint::Ratio(1, 3); 3]).spacing(1).split(area);
    let points: Vec<_> = course.points(usize::from(area.width)).copied().collect();
    let last = points.last();
    let figures = [
        ("waiting", last.map_or_else(String::new, |point| point.waiting.to_string())),
        ("in/s", last.map_or_else(String::new, |point| format!("{:.1}", point.accepted_per_s))),
        ("out/s", last.map_or_else(String::new, |point| format!("{:.1}", point.delivered_per_s))),
    ];
    for (i, ((name, figure), plot)) in figures.into_iter().zip(plots.iter()).enumerate() {
        let heights =
            points.iter().rev().take(usize::from(plot.width)).rev().map(|point| match i {
                0 => point.waiting,
                1 => (point.accepted_per_s * 10.0) as u64,
                _ => (point.delivered_per_s * 10.0) as u64,
            });
        let block = Block::new().borders(Borders::TOP).title(format!(" {name} {figure} "));
        let line = Sparkline::default().data(heights.collect::<Vec<_>>());
        frame.render_widget(line.style(Style::new().fg(Color::Cyan)).block(block), *plot);
    }
}

fn draw_lanes(screen: &Screen, state: &Status, frame: &mut Frame<'_>, area: Rect) {
    let mut room = area.width;
    let fitting = WIDTHS.iter().take_while(|width| {
        let fits = room >= **width;
        room = room.saturating_sub(**width + 1);
        fits
    });
    let columns = fitting.count().max(1);
    let heading = Row::new(COLUMNS.iter().take(columns).enumerate().map(|(i, name)| cell(i, name)));
    let rows = state.lanes.iter().skip(screen.first).map(|lane| {
        let cells = words::cells(lane, screen.course.flow(lane));
        let cells = cells.iter().take(columns).enumerate().map(|(i, text)| match i {
            1 => cell(i, text).style(colour(words::lane_state(lane).0)),
            _ => cell(i, text),
        });
        Row::new(cells.collect::<Vec<_>>())
    });
    let widths = WIDTHS.iter().take(columns).map(|width| Constraint::Length(*width));
    let heading = heading.style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_widget(Table::new(rows, widths).header(heading).column_spacing(1), area);
}

/// Words to the left, figures to the right.
fn cell(column: usize, text: &str) -> Cell<'static> {
    let line = Line::from(text.to_owned());
    Cell::from(if column < 2 { line } else { line.right_aligned() })
}

fn colour(grade: Grade) -> Style {
    match grade {
        Grade::Good => Style::new().fg(Color::Green),
        Grade::Waits => Style::new().fg(Color::Yellow),
        Grade::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}
