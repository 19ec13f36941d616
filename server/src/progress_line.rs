//! Progress on the terminal, in one line that is overwritten.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

/// Interval at which progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// A line on standard error, if that is a terminal.
pub(crate) struct ProgressLine {
    on: bool,
    last: Option<Instant>,
}

impl ProgressLine {
    /// Makes a line; with `json` nothing is shown.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            on: !json && io::stderr().is_terminal(),
            last: None,
        }
    }

    /// Shows this text, unless another was shown a moment ago.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        if !self.on || self.last.is_some_and(|it| it.elapsed() < PROGRESS_INTERVAL) {
            return;
        }
        self.last = Some(Instant::now());
        let _ = write!(io::stderr().lock(), "\r\x1b[K{} …", text());
    }

    /// Removes the line.
    pub(crate) fn clear(&mut self) {
        if self.last.is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
