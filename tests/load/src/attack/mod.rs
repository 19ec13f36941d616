//! One abusive machine: many kinds of misuse at the same time, each with a stated size, from a
//! process of its own. Serves the scenario `abuse`, which measures what well-behaved users notice.
//!
//! An attack never ends by itself and never fails the run: a refusal, a closed connection or a full
//! queue is what it is there to provoke. It counts what it tried and what was refused.

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

use crate::Fault;

pub use list::sizes;
pub use tally::Tried;
pub use target::Field;

/// Arguments of the hidden subcommand `attack`.
#[derive(Args, Clone, Debug)]
pub struct Attack {
    /// A file with the [`Field`] as JSON
    #[arg(long)]
    pub field: PathBuf,
    /// Run these attacks only, by name, comma-separated
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
}

/// Makes its accounts, prints `ready`, attacks from the first byte of the standard input to its end, then prints what was tried as one line of JSON.
///
/// # Errors
/// The field cannot be read, or the attackers cannot get the accounts that they need.
pub async fn run(args: &Attack) -> Result<(), Fault> {
    let text = std::fs::read(&args.field)?;
    let field: Field = serde_json::from_slice(&text).map_err(|it| Fault::new("--field", it))?;
    let squad = target::Squad::enlist(&field).await?;
    // The parent begins to measure at this line: making the attackers' accounts is no attack.
    println!("ready");
    next_line().await?;
    let mut tasks = JoinSet::new();
    let tallies = list::start(&squad, &args.only, &mut tasks);
    let ended = next_line().await;
    tasks.shutdown().await;
    let tried: Vec<Tried> = tallies.iter().map(|it| it.total()).collect();
    let line = serde_json::to_string(&tried).map_err(|it| Fault::new("the tallies", it))?;
    println!("{line}");
    Ok(ended?)
}

/// Waits for the next line of the standard input, or its end.
async fn next_line() -> io::Result<()> {
    let read = || io::stdin().read_line(&mut String::new()).map(drop);
    tokio::task::spawn_blocking(read)
        .await
        .map_err(io::Error::other)?
}
