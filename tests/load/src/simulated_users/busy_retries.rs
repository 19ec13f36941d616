//! Tolerance of a busy server: users whose sign-in it rejects try again, and users whose message
//! it refuses write another one a little later. There is a limit: a server that is busy all the
//! time has failed.

use crate::clock::SECOND;

/// Code of a server that is too busy.
pub(super) const UNAVAILABLE: i32 = 14;

/// Rejections and refusals that are tolerated per user, on average, until a goal is reached.
const TRIES: u64 = 3;

/// Nanoseconds for which a user waits after a refused message.
const PATIENCE: u64 = SECOND / 10;

/// Users that the server was too busy for.
#[derive(Debug, Default)]
pub(super) struct BusyRetries {
    /// Rejected users that have not tried again; the number of rejections, in all and since the
    /// goal was set.
    away: Vec<usize>,
    turned_away: u64,
    rejections_since_goal: u64,
    /// Users whose message was refused, until they write another one at `again`; the number of
    /// refusals since the goal was set.
    refused: Vec<usize>,
    again: u64,
    refusals: u64,
}

impl BusyRetries {
    /// Starts a new goal: no user writes again, and rejections and refusals count from 0.
    pub(super) fn begin(&mut self) {
        self.rejections_since_goal = 0;
        self.refused.clear();
        self.refusals = 0;
    }

    /// Records that the server rejected the user.
    ///
    /// # Errors
    /// The server rejects too many users.
    pub(super) fn record_rejection(
        &mut self,
        at: usize,
        people: usize,
    ) -> Result<(), &'static str> {
        self.away.push(at);
        self.turned_away += 1;
        self.rejections_since_goal += 1;
        let often = self.rejections_since_goal > TRIES * people as u64;
        (!often)
            .then_some(())
            .ok_or("the server was too busy for too many sign-ins")
    }

    /// Takes a rejected user who tries again now.
    pub(super) fn next_away(&mut self) -> Option<usize> {
        self.away.pop()
    }

    /// Returns true if all rejected users have tried again.
    pub(super) const fn nobody_is_away(&self) -> bool {
        self.away.is_empty()
    }

    /// Returns the number of rejections, in all.
    pub(super) const fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// Records that the server refused the user's message.
    ///
    /// # Errors
    /// The server refuses too many messages.
    pub(super) fn refuse(
        &mut self,
        at: usize,
        now: u64,
        people: usize,
    ) -> Result<(), &'static str> {
        if self.refused.is_empty() {
            self.again = now + PATIENCE;
        }
        self.refused.push(at);
        self.refusals += 1;
        let often = self.refusals > TRIES * people as u64;
        (!often)
            .then_some(())
            .ok_or("the server was too busy for too many sends")
    }

    /// Takes the users who write another message now.
    pub(super) fn take_due(&mut self, now: u64) -> Vec<usize> {
        if now < self.again {
            return Vec::new();
        }
        std::mem::take(&mut self.refused)
    }

    /// Returns true if no user waits to write another message.
    pub(super) const fn nobody_is_refused(&self) -> bool {
        self.refused.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_message_is_written_again_a_little_later() {
        let mut busy = BusyRetries::default();
        assert_eq!(busy.refuse(5, SECOND, 2), Ok(()));
        assert_eq!(busy.refuse(6, SECOND + PATIENCE - 1, 2), Ok(()));
        assert_eq!(busy.take_due(SECOND + PATIENCE - 1), [0; 0]);
        assert!(!busy.nobody_is_refused());
        assert_eq!(busy.take_due(SECOND + PATIENCE), [5, 6]);
        assert!(busy.nobody_is_refused());
    }

    #[test]
    fn who_is_turned_away_comes_again() {
        let mut busy = BusyRetries::default();
        assert_eq!(busy.record_rejection(5, 1), Ok(()));
        assert_eq!((busy.next_away(), busy.next_away()), (Some(5), None));
    }

    #[test]
    fn a_server_that_is_always_busy_has_failed() {
        let mut busy = BusyRetries::default();
        for _ in 0..TRIES {
            assert_eq!(busy.refuse(0, 0, 1), Ok(()));
            assert_eq!(busy.record_rejection(0, 1), Ok(()));
        }
        assert!(busy.refuse(0, 0, 1).is_err());
        assert!(busy.record_rejection(0, 1).is_err());
        busy.begin();
        assert_eq!(busy.refuse(0, 0, 1), Ok(()), "a new goal");
        assert_eq!(busy.record_rejection(0, 1), Ok(()), "a new goal");
        assert_eq!(busy.turned_away(), TRIES + 2, "in all");
    }
}
