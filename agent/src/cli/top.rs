//! `spillway top`: the agent's state on a terminal, live.

mod course;
mod screen;
#[cfg(test)]
mod tests;
mod words;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use spillway_protocol::local::status::Status;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::course::Course;
use self::screen::{Screen, draw};
use super::signal::Stop;
use super::{Exit, Failure, IntakeAt, status};

/// An agent that takes longer to answer is shown as one that does not.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Arguments of `top`.
#[derive(Debug, Args)]
pub(super) struct Top {
    #[command(flatten)]
    at: IntakeAt,
    /// How often the agent is asked
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = every)]
    every: Duration,
}

/// What makes the picture change.
enum Turn {
    Key(Key),
    Resized,
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Quit,
    Up,
    Down,
    Other,
}

pub(super) async fn run(args: Top) -> Exit {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let message = "top needs a terminal; spillway status --json is for programs".to_owned();
        return Failure::new(Exit::Usage, message).report();
    }
    let mut stop = Stop::listen();
    let terminal = match ratatui::try_init() {
        Ok(terminal) => terminal,
        Err(error) => {
            return Failure::new(Exit::Usage, format!("top needs a terminal: {error}")).report();
        }
    };
    let shown = tokio::select! {
        shown = show(args, terminal) => shown,
        () = stop.told() => Ok(()),
    };
    ratatui::restore();
    match shown {
        Ok(()) => Exit::Done,
        Err(error) => {
            Failure::new(Exit::TryAgain, format!("the terminal is gone: {error}")).report()
        }
    }
}

/// Draws until somebody has seen enough.
async fn show(args: Top, mut terminal: DefaultTerminal) -> std::io::Result<()> {
    let mut turns = turns();
    let mut looks = looks(args.at, args.every);
    let begun = Instant::now();
    let mut screen = Screen::default();
    loop {
        tokio::select! {
            turn = turns.recv() => match turn {
                None | Some(Turn::Key(Key::Quit)) => return Ok(()),
                Some(Turn::Key(Key::Up)) => screen.first = screen.first.saturating_sub(1),
                Some(Turn::Key(Key::Down)) => screen.first = screen.first.saturating_add(1),
                Some(Turn::Key(Key::Other) | Turn::Resized) => {}
            },
            Some(look) = looks.recv() => match look {
                Ok(state) => screen.course.add(begun.elapsed(), state),
                // What it said last stays.
                Err(message) => screen.course.lost(message),
            },
        }
        terminal.draw(|frame| draw(&mut screen, frame))?;
    }
}

/// What the agent says, again and again. Beside the keys: nobody waits for an agent that hangs.
fn looks(at: IntakeAt, every: Duration) -> mpsc::Receiver<Result<Status, String>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if sender.send(look(&at).await).await.is_err() {
                return;
            }
        }
    });
    receiver
}

async fn look(at: &IntakeAt) -> Result<Status, String> {
    let answer = tokio::time::timeout(ANSWER_WITHIN, status::fetch(at)).await;
    let text = answer.map_err(|_| "the agent does not answer".to_owned())?;
    text.and_then(|text| status::read(&text)).map_err(|failure| failure.message)
}

/// Keys and changes of size. Reading a terminal blocks, so a thread does; it ends with the process.
fn turns() -> mpsc::Receiver<Turn> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            let turn = match event {
                Event::Key(event) if event.kind == KeyEventKind::Press => Turn::Key(key(event)),
                Event::Resize(..) => Turn::Resized,
                _ => continue,
            };
            if sender.blocking_send(turn).is_err() {
                return;
            }
        }
    });
    receiver
}

fn key(event: KeyEvent) -> Key {
    match event.code {
        KeyCode::Char('c') if event.modifiers.contains(KeyModifiers::CONTROL) => Key::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        _ => Key::Other,
    }
}

fn every(text: &str) -> Result<Duration, String> {
    let every: Duration =
        text.parse::<humantime::Duration>().map_err(|error| error.to_string())?.into();
    match every < Duration::from_millis(100) {
        true => Err("at least 100ms".to_owned()),
        false => Ok(every),
    }
}
