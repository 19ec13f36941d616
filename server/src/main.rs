//! The binary `gimlet`: reads the configuration, builds the server, runs it, and reports how it
//! ended.

mod banner;
mod cli;
mod client_config;
#[cfg(feature = "mysql")]
mod gim_import;
mod key_storage;
mod logging;
mod progress_line;
mod reload;
mod signals;
mod systemd;
mod tool_output;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use cli::{CliMessage, ParsedCommand};
use gimlet_cli::{ClientCommand, ClientContext, CommandError, CommandOutput, TopArgs};
use gimlet_server::config::LogFormat;
use gimlet_server::{CertificateFiles, Config, ListenAddrs, StartError, build};
use reload::ConfigReloader;

use crate::banner::{StartBanner, fail};

/// The exit code of a wrong configuration (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // First of all: every file that the process creates must have the private mode.
    signals::keep_files_private();
    match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(ParsedCommand::Serve(config, file)) => serve(*config, file),
        #[cfg(feature = "mysql")]
        Ok(ParsedCommand::Migrate(config)) => migrate(&config),
        Ok(ParsedCommand::Tool(config, tool, json)) => tool_output::run(&config, tool, json),
        #[cfg(feature = "mysql")]
        Ok(ParsedCommand::ImportGim(config, args, json)) => gim_import::run(&config, &args, json),
        Ok(ParsedCommand::Doctor(file, env, json)) => doctor(file.as_deref(), env, json),
        #[cfg(feature = "chat")]
        Ok(ParsedCommand::Chat(args)) => chat(*args),
        Ok(ParsedCommand::Client(command, context)) => client(*command, &context),
        Ok(ParsedCommand::Top(args, configured)) => top(*args, configured),
        Ok(ParsedCommand::Print(text)) | Err(CliMessage { text, code: 0 }) => {
            banner::say(&text);
            ExitCode::SUCCESS
        }
        Err(CliMessage { text, code }) => {
            logging::start_early();
            fail(code, &text)
        }
    }
}

fn serve(config: Config, file: Option<PathBuf>) -> ExitCode {
    let reloader = match logging::start(&config.log) {
        Ok(log) => ConfigReloader::new(file, config.clone(), log),
        Err(text) => return fail(EXIT_USAGE, &text),
    };
    signals::raise_descriptors();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start: {error}")),
    };
    let (banner, format) = (StartBanner::of(&config), config.log.format);
    runtime.block_on(async {
        // Before the build: a SIGTERM while the storage is opened must still stop in order.
        let certificates = Arc::new(OnceLock::<CertificateFiles>::new());
        let loaded = Arc::clone(&certificates);
        let shutdown = signals::listen(move || {
            reloader.reload();
            if let Some(certificates) = loaded.get() {
                certificates.reload();
            }
        });
        let app = match build(config).await {
            Ok(app) => app,
            Err(error @ StartError::Config(_)) => return fail(EXIT_USAGE, &error.to_string()),
            Err(error) => return fail(1, &error.to_string()),
        };
        // Set once, here: the result says nothing.
        let _ = certificates.set(app.certificates());
        log_start(&banner, app.addrs());
        if format == LogFormat::Text {
            banner::say(&banner.text(app.addrs()));
        }
        let notifier = systemd::SystemdNotifier::from_env();
        app.observe(move |phase| notifier.tell(phase));
        match Box::pin(app.run(shutdown)).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &error.to_string()),
        }
    })
}

/// Logs the start in one line, with the listeners' addresses.
fn log_start(banner: &StartBanner, addrs: &ListenAddrs) {
    let shown = |addr: &Option<std::net::SocketAddr>| {
        addr.map_or_else(|| "off".to_owned(), |addr| addr.to_string())
    };
    let grpc: Vec<_> = addrs.grpc.iter().map(ToString::to_string).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        roles = banner.roles,
        data = banner.data,
        tcp = shown(&addrs.tcp),
        ws = shown(&addrs.ws),
        http = shown(&addrs.http),
        grpc = grpc.join(","),
        internal = shown(&addrs.internal),
        ops = shown(&addrs.ops),
        "started"
    );
}

fn doctor(file: Option<&Path>, env: Vec<(String, String)>, json: bool) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start: {error}")),
    };
    let report = runtime.block_on(gimlet_server::doctor::examine(file, env));
    tool_output::say_examination(&report, json)
}

#[cfg(feature = "chat")]
fn chat(args: gimlet_cli::chat::Args) -> ExitCode {
    // One thread is enough for the speed of a person.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) if runtime.block_on(gimlet_cli::chat::run(args)) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => fail(1, &format!("cannot start: {error}")),
    }
}

fn client(command: ClientCommand, context: &ClientContext) -> ExitCode {
    let json = command.server().json();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start: {error}")),
    };
    let done = runtime.block_on(gimlet_cli::run(command, context));
    end_command(done.map(Some), json)
}

fn top(args: TopArgs, configured: Result<Option<String>, String>) -> ExitCode {
    let json = args.json();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start: {error}")),
    };
    let done = runtime.block_on(gimlet_cli::run_top(args, configured));
    end_command(done, json)
}

/// Prints the output that is left to print, or the error, and returns the exit code.
fn end_command(done: Result<Option<CommandOutput>, CommandError>, json: bool) -> ExitCode {
    match done {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(output)) => {
            banner::say(&output.text(json));
            ExitCode::from(output.code())
        }
        Err(error) => {
            if json {
                banner::say(&error.json().to_string());
            }
            fail(error.exit_code(), &error.to_string())
        }
    }
}

#[cfg(feature = "mysql")]
fn migrate(config: &Config) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start: {error}")),
    };
    match runtime.block_on(gimlet_server::migrate(config)) {
        Ok(()) => {
            banner::say("the tables are up to date with this version");
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, &error.to_string()),
    }
}
