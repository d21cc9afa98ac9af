//! `spillway upgrade`.

use bytes::Bytes;
use clap::Args;

use super::exit::finish;
use super::{ControlAt, Exit, Failure, output};
use crate::app;
use crate::control::api::{Format, Upgrade};

/// Arguments of `upgrade`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    at: ControlAt,
    /// Raises the data folder to the newest level, for good: earlier agents refuse it from then on
    #[arg(long)]
    commit: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Arguments) -> Exit {
    finish(upgrade(args).await)
}

async fn upgrade(args: Arguments) -> Result<String, Failure> {
    let answer = match args.commit {
        true => {
            let mut client = args.at.connect_by(app::open_queue_to_commit).await?;
            client.post("/v1/upgrade", "application/json", Bytes::new()).await?
        }
        false => args.at.look().await?.get("/v1/upgrade").await?,
    };
    let upgrade: Upgrade = answer.json()?;
    Ok(if args.json { output::json(&upgrade) } else { show(&upgrade) })
}

fn show(upgrade: &Upgrade) -> String {
    let Upgrade { format: Format { level, newest, beside, .. }, obstacle, was } = upgrade;
    let mut text = match was {
        Some(was) if was < level => format!(
            "committed: the data folder is at level {level}, it was at {was}; earlier agents refuse \
             it from now on\nwhat the new level allows is used from the agent's next start on\n"
        ),
        _ => format!(
            "the data folder is at level {level}; the newest that this agent knows is {newest}\n"
        ),
    };
    let next = match obstacle {
        Some(obstacle) => format!("in the way: {obstacle}\n"),
        None if level == newest => "there is nothing to commit\n".to_owned(),
        None => format!(
            "nothing is in the way of spillway upgrade --commit: from then on files of level {newest} \
             may be written, and the earlier agent cannot read the folder any more; until then it can, \
             and what needs level {newest} is off\n"
        ),
    };
    if was.is_none() {
        text.push_str(&next);
    }
    let left = beside.iter().map(|folder| format!("not taken over yet: {folder}\n"));
    text.extend(left);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(level: u32, was: Option<u32>, obstacle: Option<&str>) -> String {
        let format = Format { level, newest: 2, ..Format::default() };
        show(&Upgrade { format, obstacle: obstacle.map(str::to_owned), was })
    }

    #[test]
    fn it_says_what_is_and_what_to_do_next() {
        assert!(said(1, None, None).contains("nothing is in the way of spillway upgrade --commit"));
        assert!(said(2, None, None).ends_with("there is nothing to commit\n"));
        assert!(said(2, None, Some("a newer one")).ends_with("in the way: a newer one\n"));
        assert!(
            said(2, Some(1), None)
                .ends_with("what the new level allows is used from the agent's next start on\n")
        );
        let again = said(2, Some(2), None);
        assert_eq!(again, "the data folder is at level 2; the newest that this agent knows is 2\n");
    }
}
