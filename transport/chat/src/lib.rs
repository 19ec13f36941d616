//! The terminal chat, `gimlet chat`: the first program that a newcomer runs, in two terminals
//! beside a new server, and an example of the client library. It uses the server's public ports
//! only.
//!
//! `shell` is the loop over server events, typed lines and pending work. `command` parses a typed
//! line, and `call` performs what needs the server, outside the loop, so that typing and incoming
//! messages do not wait for its answer. A message of a group with an unknown name waits for that
//! name, and typing does not. Only a new sign-in, after the server lost the account, holds the
//! loop. `terminal` keeps the typed line below the printed lines.

mod account;
mod address_book;
mod args;
mod call;
mod clean;
mod command;
mod events;
mod missed_lines;
mod result;
mod shell;
mod terminal;
mod view;

pub use args::Args;

use shell::ChatShell;
use terminal::ChatTerminal;

/// Runs the chat until the user leaves. Returns `false` if it ended with an error, which is printed
/// on the terminal.
pub async fn run(args: Args) -> bool {
    let mut terminal = ChatTerminal::open();
    let result = match ChatShell::start(args, &mut terminal).await {
        Ok(mut shell) => shell.run().await,
        Err(error) => Err(error),
    };
    if let Err(error) = &result {
        terminal.say(&format!("* {error}"));
    }
    result.is_ok()
}
