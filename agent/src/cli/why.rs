//! `spillway why`.

use clap::Args;

use super::exit::finish;
use super::{ControlAt, Exit, Failure, human, output, records};
use crate::why::{Answer, Answers, Kind};

/// Arguments of `why`.
#[derive(Debug, Args)]
#[command(after_help = "Without a name: the link, and every lane in which something waits.\n\
                        A name is taken for a lane, else for a record's id, else for a key or order key.")]
pub(super) struct Arguments {
    #[command(flatten)]
    at: ControlAt,
    /// A lane, a record's id, or a key
    #[arg(value_name = "ID, KEY or LANE")]
    name: Option<String>,
    /// Only a lane
    #[arg(long, value_name = "LANE", conflicts_with_all = ["name", "id", "key"])]
    lane: Option<String>,
    /// Only a record by its id
    #[arg(long, conflicts_with_all = ["name", "key"])]
    id: Option<String>,
    /// Only records by their key or order key
    #[arg(long, conflicts_with = "name")]
    key: Option<String>,
    /// Prints JSON, with the facts that the sentences are made of
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Arguments) -> Exit {
    finish(ask(args).await)
}

async fn ask(args: Arguments) -> Result<String, Failure> {
    let Arguments { at, name, lane, id, key, json } = args;
    let query = records::query(&[("name", name.clone()), ("lane", lane), ("id", id), ("key", key)]);
    let mut client = at.connect().await?;
    let answers: Answers = client.get(&format!("/v1/why{query}")).await?.json()?;
    Ok(if json { output::json(&answers) } else { show(&answers, name.as_deref()) })
}

fn show(answers: &Answers, name: Option<&str>) -> String {
    let answer = |Answer { why, help, .. }: &Answer| {
        format!("{}\n  Help: {}\n", human::line(why), human::line(help))
    };
    let also = |kind: &Kind| {
        let (what, option) = match kind {
            Kind::Link | Kind::Lane => ("lane", "lane"),
            Kind::Id => ("record with this id", "id"),
            Kind::Key => ("record with this key", "key"),
        };
        let name = human::line(name.unwrap_or_default());
        format!("  There is also a {what}: spillway why --{option} {name}\n")
    };
    answers.answers.iter().map(answer).chain(answers.also.iter().map(also)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::why::{State, Subject};

    #[test]
    fn what_else_has_the_name_is_said_with_the_option_for_it() {
        let answer = Answer {
            subject: Subject { kind: Kind::Lane, name: "a".into() },
            state: State::Idle,
            why: "Lane a: nothing waits.".into(),
            help: "Nothing to do.".into(),
            facts: serde_json::Value::Null,
        };
        let answers = Answers { answers: vec![answer], also: vec![Kind::Id] };
        let shown = "Lane a: nothing waits.\n  Help: Nothing to do.\n  \
                     There is also a record with this id: spillway why --id a\n";
        assert_eq!(show(&answers, Some("a")), shown);
    }
}
