//! Pacing of sends. Open loop: sends at a rate, independent of the fate of earlier sends. Each has
//! the time it was due at, so that a stalled server is charged for all sends that it kept waiting.
//! Closed loop: a number of outstanding sends per sender, which finds the peak.

use crate::clock::SECOND;

/// Times at a fixed distance.
#[derive(Clone, Copy, Debug)]
pub struct SendSchedule {
    begin: u64,
    per_second: f64,
    count: u64,
}

impl SendSchedule {
    /// Creates a schedule of `per_second` times a second, from `begin` on.
    #[must_use]
    pub fn new(begin: u64, per_second: f64) -> Self {
        Self {
            begin,
            per_second: per_second.max(1e-6),
            count: 0,
        }
    }

    /// Returns the time at which the next one is due.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts and times far below 2^53"
    )]
    pub fn next(&self) -> u64 {
        let after = self.count as f64 / self.per_second * SECOND as f64;
        self.begin + after as u64
    }

    /// Takes the next one if it is due, and returns its time.
    pub fn due(&mut self, now: u64) -> Option<u64> {
        let next = self.next();
        (next <= now).then(|| {
            self.count += 1;
            next
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_made_up_for_with_the_times_that_were_due() {
        let mut schedule = SendSchedule::new(SECOND, 4.0);
        assert_eq!(schedule.due(SECOND - 1), None);
        let mut due = Vec::new();
        while let Some(at) = schedule.due(2 * SECOND) {
            due.push(at);
        }
        let quarter = SECOND / 4;
        let expected: Vec<_> = (4..=8).map(|n| n * quarter).collect();
        assert_eq!(due, expected);
        assert_eq!(schedule.next(), 9 * quarter);
    }
}
