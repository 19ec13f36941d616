//! The terminal chat, `gimlet chat`: what a newcomer runs in two terminals beside a fresh server,
//! and how a program uses the client library. It talks to the server's public ports only.
//!
//! `shell` is the loop: server events, typed lines, and what is on its way. `command` reads a typed
//! line and `call` does what needs the server, away from the loop, so that typing and incoming
//! messages never wait for an answer. `terminal` keeps the typed line below what is printed.

mod account;
mod args;
mod call;
mod command;
mod happened;
mod missed;
mod names;
mod shell;
mod terminal;
mod view;

pub use args::Args;

use shell::Shell;
use terminal::Terminal;

/// The result of something whose failure ends the chat.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs the chat until it is left. `false` if it ended because something went wrong; the reason is
/// on the terminal.
pub async fn run(args: Args) -> bool {
    let mut terminal = Terminal::open();
    let result = match Shell::start(args, &mut terminal).await {
        Ok(mut shell) => shell.run().await,
        Err(error) => Err(error),
    };
    if let Err(error) = &result {
        terminal.say(&format!("* {error}"));
    }
    result.is_ok()
}
