//! Collects the lines that arrived while this device was offline until all of them are there, so
//! that an absence of thousands of messages does not flood the terminal.

use std::collections::VecDeque;

/// Number of lines that are shown; the latest ones.
const MAX_SHOWN_LINES: usize = 50;

/// The lines of one absence.
#[derive(Debug, Default)]
pub(crate) struct MissedLines {
    lines: VecDeque<String>,
    skipped: usize,
}

impl MissedLines {
    /// Adds a line; beyond the bound the oldest line is only counted.
    pub(crate) fn push(&mut self, line: String) {
        if self.lines.len() == MAX_SHOWN_LINES {
            self.lines.pop_front();
            self.skipped += 1;
        }
        self.lines.push_back(line);
    }

    /// Returns the lines to print, and starts over.
    pub(crate) fn take(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        if !self.lines.is_empty() {
            all.push("* while you were away:".to_owned());
        }
        if self.skipped > 0 {
            all.push(format!("* ({} earlier lines are not shown)", self.skipped));
        }
        all.extend(self.lines.drain(..));
        self.skipped = 0;
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_are_held_and_the_others_are_counted() {
        let mut missed = MissedLines::default();
        assert!(missed.take().is_empty());
        for n in 0..MAX_SHOWN_LINES + 7 {
            missed.push(n.to_string());
        }
        let lines = missed.take();
        assert_eq!(lines.len(), MAX_SHOWN_LINES + 2);
        assert!(lines.get(1).is_some_and(|line| line.contains("(7 earlier")));
        assert_eq!(lines.last().map(String::as_str), Some("56"));
        assert!(missed.take().is_empty());
    }
}
