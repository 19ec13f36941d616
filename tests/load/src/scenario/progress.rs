//! Progress line on the terminal; prints nothing where there is no terminal.

use std::io::{self, IsTerminal as _, Write as _};

use crate::clock::SECOND;

/// Prints at most once a second.
#[derive(Debug)]
pub struct ProgressLine {
    shown: bool,
    last: u64,
    count: u64,
}

impl Default for ProgressLine {
    fn default() -> Self {
        Self::new()
    }
}

impl ProgressLine {
    /// Creates a progress line on standard error.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shown: io::stderr().is_terminal(),
            last: 0,
            count: 0,
        }
    }

    /// Shows the number of `what` done by `now`, and their rate since the last line.
    #[expect(clippy::cast_precision_loss, reason = "counts of a run")]
    pub fn show(&mut self, now: u64, what: &str, count: u64) {
        if !self.shown || now.saturating_sub(self.last) < SECOND {
            return;
        }
        let passed = now.saturating_sub(self.last) as f64 / SECOND as f64;
        let rate = count.saturating_sub(self.count) as f64 / passed;
        if self.last != 0 {
            let mut err = io::stderr().lock();
            let _ = write!(err, "\r{what}: {count} ({rate:.0}/s)   ");
            let _ = err.flush();
        }
        (self.last, self.count) = (now, count);
    }

    /// Prints a step of the preparation.
    pub fn step(&self, what: &str) {
        if self.shown {
            eprintln!("{what}");
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.shown && self.last != 0 {
            eprintln!();
        }
    }
}
