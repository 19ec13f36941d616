//! The binary `gimlet`: reads the configuration, builds the server, runs it, says how it ended.

mod cli;
mod hello;
mod logging;
mod reload;
mod signals;
mod tool;

use std::path::PathBuf;
use std::process::ExitCode;

use cli::{Command, Shown};
use gimlet_server::{Config, StartError, build};
use reload::Reloader;

/// The exit code of a wrong configuration or command line (`EX_USAGE`).
const USAGE: u8 = 64;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    signals::keep_files_private();
    match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(Command::Serve(config, file)) => serve(*config, file),
        #[cfg(feature = "mysql")]
        Ok(Command::Migrate(config)) => migrate(&config),
        Ok(Command::Tool(config, tool, json)) => tool::run(&config, tool, json),
        Ok(Command::Print(text)) | Err(Shown { text, help: true }) => {
            hello::say(&text);
            ExitCode::SUCCESS
        }
        Err(Shown { text, help: false }) => fail(USAGE, &text),
    }
}

fn serve(config: Config, file: Option<PathBuf>) -> ExitCode {
    let reloader = match logging::start(&config.log) {
        Ok(log) => Reloader::new(file, config.clone(), log),
        Err(text) => return fail(USAGE, &text),
    };
    signals::raise_descriptors();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start: {error}")),
    };
    runtime.block_on(async {
        let shutdown = signals::listen(move || reloader.reload());
        let app = match build(config).await {
            Ok(app) => app,
            Err(error @ StartError::Config(_)) => return fail(USAGE, &error.to_string()),
            Err(error) => return fail(1, &error.to_string()),
        };
        hello::greet(app.addrs());
        match app.run(shutdown).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &error.to_string()),
        }
    })
}

#[cfg(feature = "mysql")]
fn migrate(config: &Config) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start: {error}")),
    };
    match runtime.block_on(gimlet_server::migrate(config)) {
        Ok(()) => {
            hello::say("the tables are those of this version");
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, &error.to_string()),
    }
}

fn fail(code: u8, text: &str) -> ExitCode {
    hello::complain(text);
    ExitCode::from(code)
}
