//! Log lines to standard error, for people or for programs.

use std::borrow::Cow;
use std::io::IsTerminal as _;

use gimlet_server::config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

/// Starts logging for the process.
pub(crate) fn start(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter(&log.level)).map_err(|error| {
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

/// A bare `debug` or `trace` is about gimlet: the libraries below say so much that nobody finds
/// anything. Who wants them writes a filter.
fn filter(level: &str) -> Cow<'_, str> {
    match level.trim().to_ascii_lowercase().as_str() {
        level @ ("debug" | "trace") => format!("info,gimlet={level}").into(),
        _ => level.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_about_gimlet_and_a_filter_is_what_it_says() {
        assert_eq!(filter("debug"), "info,gimlet=debug");
        assert_eq!(filter(" TRACE"), "info,gimlet=trace");
        for kept in ["info", "warn", "debug,h2=info", "sled=debug"] {
            assert_eq!(filter(kept), kept);
        }
        assert!(EnvFilter::try_new(filter("debug")).is_ok());
    }
}
