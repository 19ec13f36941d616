//! Log lines to standard error, for people or for programs.

use std::borrow::Cow;
use std::fmt;
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};

use gimlet_core::auth::AUDIT_TARGET;
use gimlet_core::trace;
use gimlet_server::config::{LogConfig, LogFormat};
use tracing_subscriber::EnvFilter;

/// `true` if the log is JSON: then nothing else may be written to standard error.
static LOG_IS_JSON: AtomicBool = AtomicBool::new(false);

/// Returns whether the reader of standard error expects JSON.
pub(crate) fn is_json() -> bool {
    LOG_IS_JSON.load(Ordering::Relaxed)
}

/// Starts logging before there is a configuration, if the environment selects JSON: a mistake in
/// the configuration is then a JSON line, too.
#[expect(
    clippy::disallowed_methods,
    reason = "a mistake in the configuration is reported before there is one"
)]
pub(crate) fn start_early() {
    if std::env::var("GIMLET_LOG__FORMAT").is_ok_and(|format| format == "json") {
        let log = LogConfig {
            format: LogFormat::Json,
            ..LogConfig::default()
        };
        // After a failure the mistake is written as text, as it would be without JSON.
        let _ = start(&log);
    }
}

/// Changes the filter of the log while the process runs.
pub(crate) struct LogFilterHandle(Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>);

impl fmt::Debug for LogFilterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}

impl LogFilterHandle {
    /// Sets the level or filter, and the sampling, from now on.
    pub(crate) fn set(&self, log: &LogConfig) -> Result<(), String> {
        (self.0)(parse(log)?)?;
        trace::set_sample(log.sample);
        Ok(())
    }
}

/// Starts logging for the process.
pub(crate) fn start(log: &LogConfig) -> Result<LogFilterHandle, String> {
    trace::set_sample(log.sample);
    let lines = tracing_subscriber::fmt()
        .with_env_filter(parse(log)?)
        // A line that cannot be written is lost. The library would report that on standard error,
        // which is the stream that failed, and the resulting panic would end the task that logged.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let failed = |error: &dyn fmt::Display| format!("logging cannot start: {error}");
    Ok(match log.format {
        LogFormat::Text => {
            let lines = lines.with_filter_reloading();
            let handle = lines.reload_handle();
            lines.try_init().map_err(|error| failed(&error))?;
            LogFilterHandle(Box::new(move |filter| {
                handle.reload(filter).map_err(|error| error.to_string())
            }))
        }
        LogFormat::Json => {
            let lines = lines.json().with_filter_reloading();
            let handle = lines.reload_handle();
            lines.try_init().map_err(|error| failed(&error))?;
            keep_to_json();
            LogFilterHandle(Box::new(move |filter| {
                handle.reload(filter).map_err(|error| error.to_string())
            }))
        }
    })
}

/// Makes everything else that is written to standard error JSON, too.
fn keep_to_json() {
    LOG_IS_JSON.store(true, Ordering::Relaxed);
    // The standard hook writes text over several lines.
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        let text = panic.payload_as_str().unwrap_or("no text");
        tracing::error!(at, "panicked: {text}");
    }));
}

/// Makes the filter of a configuration, whose check has refused invalid levels.
fn parse(log: &LogConfig) -> Result<EnvFilter, String> {
    let level = &log.level;
    EnvFilter::try_new(with_audit(with_trace(filter(level), log.sample)))
        .map_err(|error| format!("log.level = \"{level}\" is not a filter: {error}"))
}

/// Adds the lines of traced messages to a filter, if messages are sampled.
fn with_trace(filter: Cow<'_, str>, sample: u64) -> Cow<'_, str> {
    if sample == 0 {
        return filter;
    }
    format!("{filter},{}=debug", trace::TARGET).into()
}

/// Adds the audit log to a filter that does not name it: a level that keeps the log short must not end
/// it.
fn with_audit(filter: Cow<'_, str>) -> Cow<'_, str> {
    if filter.contains(AUDIT_TARGET) {
        return filter;
    }
    format!("{filter},{AUDIT_TARGET}=info").into()
}

/// Limits a bare `debug` or `trace` to gimlet: the libraries below log so much that nothing could
/// be found. A filter selects them explicitly.
fn filter(level: &str) -> Cow<'_, str> {
    match level.trim().to_ascii_lowercase().as_str() {
        level @ ("debug" | "trace") => format!("info,gimlet={level}").into(),
        _ => capped(level).into(),
    }
}

/// Limits the libraries below to `debug`: at `trace` they log their payload, which is messages,
/// tokens and phone numbers (sled each row, h2 each frame).
fn capped(filter: &str) -> String {
    let mut all = false;
    let mut parts = Vec::new();
    for part in filter.split(',') {
        let (target, level) = part.rsplit_once('=').unwrap_or(("", part));
        let traces = level.trim().eq_ignore_ascii_case("trace") || level.trim() == "5";
        let ours = target.trim_start().starts_with("gimlet");
        if traces && !ours {
            all |= target.is_empty();
            let target = target.trim();
            let equals = if target.is_empty() { "" } else { "=" };
            parts.push(format!("{target}{equals}debug"));
        } else if is_target(part) && !part.trim_start().starts_with("gimlet") {
            // A target without a level means all of its lines.
            parts.push(format!("{}=debug", part.trim()));
        } else {
            parts.push(part.to_owned());
        }
    }
    if all {
        parts.insert(0, "gimlet=trace".to_owned());
    }
    parts.join(",")
}

/// Returns whether a part of a filter is a target without a level.
fn is_target(part: &str) -> bool {
    let part = part.trim();
    let is_level = ["off", "error", "warn", "info", "debug", "trace"]
        .iter()
        .any(|level| part.eq_ignore_ascii_case(level));
    !part.is_empty() && !part.contains(['=', '[']) && !is_level && part.parse::<u8>().is_err()
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

    #[test]
    fn sampled_messages_are_logged_at_any_level() {
        assert_eq!(with_trace(filter("warn"), 0), "warn");
        let traced = with_trace(filter("warn"), 100);
        assert_eq!(traced, "warn,gimlet::trace=debug");
        assert!(EnvFilter::try_new(traced).is_ok());
    }

    #[test]
    fn the_audit_log_is_written_at_any_level_unless_a_filter_names_it() {
        for (given, taken) in [
            ("warn", "warn,gimlet::audit=info"),
            ("off", "off,gimlet::audit=info"),
            (
                "info,gimlet_core=warn",
                "info,gimlet_core=warn,gimlet::audit=info",
            ),
            ("info,gimlet=debug", "info,gimlet=debug,gimlet::audit=info"),
            ("info,gimlet::audit=off", "info,gimlet::audit=off"),
            ("info,gimlet::audit=debug", "info,gimlet::audit=debug"),
        ] {
            assert_eq!(with_audit(given.into()), taken);
            assert!(EnvFilter::try_new(taken).is_ok());
        }
    }

    #[test]
    fn no_library_logs_what_it_carries() {
        for (given, taken) in [
            ("sled=trace", "sled=debug"),
            ("sled::tree=TRACE,info", "sled::tree=debug,info"),
            ("info,sled", "info,sled=debug"),
            ("trace,h2=info", "gimlet=trace,debug,h2=info"),
            ("info,gimlet_core=trace", "info,gimlet_core=trace"),
            ("info,gimlet_core", "info,gimlet_core"),
            ("info,h2=5", "info,h2=debug"),
        ] {
            assert_eq!(filter(given), taken);
            assert!(EnvFilter::try_new(taken).is_ok());
        }
    }
}
