//! A terminal chat: what a newcomer runs in two terminals beside a fresh server, and how to use
//! the client library. It talks to the server's public ports only.
//!
//! ```text
//! cargo run --release --example chat -p gimlet-client -- --phone 13800000001 --name alice
//! ```

mod account;
mod args;
mod commands;
mod shell;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Args;
use crate::shell::Shell;

/// How something ends that may end the chat.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let result = match Shell::start(args).await {
        Ok(mut shell) => shell.run().await,
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            view::say(&format!("* {error}"));
            ExitCode::FAILURE
        }
    }
}
