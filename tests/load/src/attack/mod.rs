//! Simulates one abusive machine: many kinds of misuse at the same time, each of a stated size, in
//! a process of its own. Serves the scenario `abuse`, which measures the effect on well-behaved
//! users.
//!
//! An attack never ends by itself and never fails the run: it is meant to provoke refusals, closed
//! connections and full queues. It counts its attempts and the refusals.

mod accounts;
mod calls;
mod files;
mod groups;
mod list;
mod rooms;
mod sockets;
mod tally;
mod target;
mod websocket;
mod wire;

use std::io;
use std::path::PathBuf;

use clap::Args;
use tokio::task::JoinSet;

use crate::LoadError;

pub use list::sizes;
pub use tally::AttackTotals;
pub use target::AttackTarget;

/// Arguments of the hidden subcommand `attack`.
#[derive(Args, Clone, Debug)]
pub struct AttackArgs {
    /// File with the [`AttackTarget`] as JSON
    #[arg(long)]
    pub field: PathBuf,
    /// Run only these attacks, by name, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
}

/// Creates the attackers' accounts, prints `ready`, attacks from the first line of standard input
/// to the next line or its end, and then prints the tallies as one line of JSON.
///
/// # Errors
/// The field cannot be read, or the accounts cannot be created.
pub async fn run(args: &AttackArgs) -> Result<(), LoadError> {
    let text = std::fs::read(&args.field)?;
    let field: AttackTarget =
        serde_json::from_slice(&text).map_err(|it| LoadError::new("--field", it))?;
    let squad = target::AttackerAccounts::enlist(&field).await?;
    // The parent waits for this line before it measures: creating the accounts is not part of the
    // attack.
    println!("ready");
    next_line().await?;
    let mut tasks = JoinSet::new();
    let tallies = list::start(&squad, &args.only, &mut tasks);
    let ended = next_line().await;
    tasks.shutdown().await;
    let tried: Vec<AttackTotals> = tallies.iter().map(|it| it.total()).collect();
    let line = serde_json::to_string(&tried).map_err(|it| LoadError::new("the tallies", it))?;
    println!("{line}");
    Ok(ended?)
}

/// Waits for the next line of standard input, or its end.
async fn next_line() -> io::Result<()> {
    let read = || io::stdin().read_line(&mut String::new()).map(drop);
    tokio::task::spawn_blocking(read)
        .await
        .map_err(io::Error::other)?
}
