//! Log lines to standard error, for people or for programs.

use std::io::IsTerminal as _;

use gimlet_server::config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

/// Starts logging for the process.
pub(crate) fn start(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::try_new(&log.level).map_err(|error| {
        format!(
            "log.level = \"{}\" is not understood ({error}): write error, warn, info, debug or \
             trace, or a filter such as info,gimlet_core=debug",
            log.level
        )
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|error| format!("logging cannot start: {error}"))
}
