//! What a crew bears of a busy server: whom it turns away comes again, whose message it refuses
//! writes another one a little later. Not for ever: a server that is busy all the time has failed.

use crate::clock::SECOND;

/// The code of a server that is too busy.
pub(super) const UNAVAILABLE: i32 = 14;

/// How often it may say so to each, on average, until a goal is reached.
const TRIES: u64 = 3;

/// How long one waits whose message it refused.
const PATIENCE: u64 = SECOND / 10;

/// Those it was too busy for.
#[derive(Debug, Default)]
pub(super) struct Busy {
    /// Whom it turned away, and who has not come again. And how often it did, in all and since the
    /// goal was set.
    away: Vec<usize>,
    turned_away: u64,
    turns: u64,
    /// Whose message it refused, until they write another one then. And how many it refused since
    /// the goal was set.
    refused: Vec<usize>,
    again: u64,
    refusals: u64,
}

impl Busy {
    /// For a new goal nobody writes again, and what it bears is counted anew.
    pub(super) fn begin(&mut self) {
        self.turns = 0;
        self.refused.clear();
        self.refusals = 0;
    }

    /// It turned the person away.
    ///
    /// # Errors
    /// It does so too often to so many people.
    pub(super) fn turn_away(&mut self, at: usize, people: usize) -> Result<(), &'static str> {
        self.away.push(at);
        self.turned_away += 1;
        self.turns += 1;
        let often = self.turns > TRIES * people as u64;
        (!often)
            .then_some(())
            .ok_or("the server turns too many away")
    }

    /// Who comes again now.
    pub(super) fn next_away(&mut self) -> Option<usize> {
        self.away.pop()
    }

    /// Whether all have come again.
    pub(super) const fn nobody_is_away(&self) -> bool {
        self.away.is_empty()
    }

    /// How often it turned one away, in all.
    pub(super) const fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// It refused the person's message.
    ///
    /// # Errors
    /// It does so too often to so many people.
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
            .ok_or("the server refuses too many sends")
    }

    /// Who writes another message now.
    pub(super) fn patient(&mut self, now: u64) -> Vec<usize> {
        if now < self.again {
            return Vec::new();
        }
        std::mem::take(&mut self.refused)
    }

    /// Whether nobody waits to write another message.
    pub(super) const fn nobody_is_refused(&self) -> bool {
        self.refused.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_message_is_written_again_a_little_later() {
        let mut busy = Busy::default();
        assert_eq!(busy.refuse(5, SECOND, 2), Ok(()));
        assert_eq!(busy.refuse(6, SECOND + PATIENCE - 1, 2), Ok(()));
        assert_eq!(busy.patient(SECOND + PATIENCE - 1), [0; 0]);
        assert!(!busy.nobody_is_refused());
        assert_eq!(busy.patient(SECOND + PATIENCE), [5, 6]);
        assert!(busy.nobody_is_refused());
    }

    #[test]
    fn who_is_turned_away_comes_again() {
        let mut busy = Busy::default();
        assert_eq!(busy.turn_away(5, 1), Ok(()));
        assert_eq!((busy.next_away(), busy.next_away()), (Some(5), None));
    }

    #[test]
    fn a_server_that_is_always_busy_has_failed() {
        let mut busy = Busy::default();
        for _ in 0..TRIES {
            assert_eq!(busy.refuse(0, 0, 1), Ok(()));
            assert_eq!(busy.turn_away(0, 1), Ok(()));
        }
        assert!(busy.refuse(0, 0, 1).is_err());
        assert!(busy.turn_away(0, 1).is_err());
        busy.begin();
        assert_eq!(busy.refuse(0, 0, 1), Ok(()), "a new goal");
        assert_eq!(busy.turn_away(0, 1), Ok(()), "a new goal");
        assert_eq!(busy.turned_away(), TRIES + 2, "in all");
    }
}
