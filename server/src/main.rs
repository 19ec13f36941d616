//! The binary `gimlet`: reads the configuration, builds the server, runs it, says how it ended.

mod cli;
mod hello;
mod logging;
mod signals;

use std::process::ExitCode;

use cli::{Command, Shown};
use gimlet_server::{Config, StartError, build};

/// The exit code of a wrong configuration or command line (`EX_USAGE`).
const USAGE: u8 = 64;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(Command::Serve(config)) => serve(*config),
        #[cfg(feature = "mysql")]
        Ok(Command::Migrate(config)) => migrate(&config),
        Ok(Command::Print(text)) | Err(Shown { text, help: true }) => {
            hello::say(&text);
            ExitCode::SUCCESS
        }
        Err(Shown { text, help: false }) => fail(USAGE, &text),
    }
}

fn serve(config: Config) -> ExitCode {
    if let Err(text) = logging::start(&config.log) {
        return fail(USAGE, &text);
    }
    signals::raise_descriptors();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start: {error}")),
    };
    runtime.block_on(async {
        let shutdown = signals::shutdown();
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
