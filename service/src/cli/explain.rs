//! `gamemaster explain`: why a game is in its state, and what comes next.

use clap::Args;
use machine::{GameId, Timestamp};
use serde::Deserialize;
use service::ports::{Clock, SystemClock};

use super::Failure;
use super::client::{Remote, with_client};
use super::output::{Format, Grid, OutputArgs, pretty, when};

/// See the command.
#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// The game.
    game: GameId,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Deserialize)]
struct Explanation {
    game_id: String,
    runtime_status: String,
    why: String,
    last_ticks: Vec<Tick>,
    next: Vec<Next>,
}

#[derive(Deserialize)]
struct Tick {
    due_at: Timestamp,
    outcome: String,
    turn: Option<u32>,
    detail: String,
}

#[derive(Deserialize)]
struct Next {
    what: String,
    at: Option<Timestamp>,
}

/// `gamemaster explain`.
pub(crate) async fn run(args: ExplainArgs) -> Result<String, Failure> {
    let ExplainArgs { game, remote, output } = args;
    with_client(remote, async |client| {
        let answer = client.read(&["runtimes", game.as_str(), "explain"], &[]).await?;
        match output.output {
            Format::Json => Ok(pretty(&answer.body)),
            Format::Table => Ok(page(answer.parse()?, SystemClock.now())),
        }
    })
    .await
}

fn page(explanation: Explanation, now: Timestamp) -> String {
    let mut page = Grid::of_pairs([
        ("Game", explanation.game_id),
        ("Status", explanation.runtime_status),
        ("Why", explanation.why),
    ])
    .to_string();
    if explanation.last_ticks.is_empty() {
        page.push_str("\nNo turn has been due yet.\n");
    } else {
        let mut grid = Grid::new(["LAST TICKS", "OUTCOME", "TURN", "DETAIL"]);
        for tick in explanation.last_ticks {
            let turn = tick.turn.map_or_else(|| "-".into(), |turn| turn.to_string());
            grid.row([when(tick.due_at, now), tick.outcome, turn, tick.detail]);
        }
        page.push_str(&format!("\n{grid}"));
    }
    if explanation.next.is_empty() {
        page.push_str("\nNothing more will happen by itself.\n");
    } else {
        let mut grid = Grid::new(["WHAT COMES NEXT", ""]);
        for next in explanation.next {
            let at = next.at.map_or_else(|| "-".into(), |at| when(at, now));
            grid.row([at, next.what]);
        }
        page.push_str(&format!("\n{grid}"));
    }
    page
}
