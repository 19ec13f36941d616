//! The pause of a hook that fails: after some failures in a row it is not called for a while, then
//! one trial call decides.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which the hook is not called any more.
const MAX_FAILURES: u32 = 5;
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// An admitted call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallAdmission {
    /// The hook works: one call of many.
    Regular,
    /// The call that tries the hook after a pause; there is one at a time.
    Trial,
}

/// State of the calls of a hook.
#[derive(Debug, Default)]
pub(super) struct FailurePause {
    /// Failures since the last success.
    failures: u32,
    /// Number of pauses since the last success.
    pauses: u32,
    /// End of the present pause.
    until: Option<Instant>,
    /// Set while the trial call is under way.
    is_trial: bool,
}

impl FailurePause {
    /// Admits a call; `None` if the message must be decided without one.
    pub(super) fn admit(&mut self, now: Instant) -> Option<CallAdmission> {
        match self.until {
            None => Some(CallAdmission::Regular),
            Some(until) if now >= until && !self.is_trial => {
                self.is_trial = true;
                Some(CallAdmission::Trial)
            }
            Some(_) => None,
        }
    }

    /// Records an answer: the hook works.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Records a failure; returns the pause if one begins.
    pub(super) fn failed(&mut self, now: Instant, admission: CallAdmission) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        // Calls that were admitted before the pause end during it; they do not make it longer.
        let is_begun = match admission {
            CallAdmission::Trial => true,
            CallAdmission::Regular => self.until.is_none() && self.failures >= MAX_FAILURES,
        };
        if !is_begun {
            return None;
        }
        self.is_trial = false;
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.pauses.min(16))
            .min(MAX_PAUSE);
        self.pauses = self.pauses.saturating_add(1);
        self.until = Some(now + pause);
        Some(pause)
    }

    /// Records that a call ended without a result: the next call may be the trial.
    pub(super) fn abandoned(&mut self, admission: CallAdmission) {
        if admission == CallAdmission::Trial {
            self.is_trial = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_hook_is_tried_by_one_call_after_each_pause() {
        let mut pause = FailurePause::default();
        let begun = Instant::now();
        for _ in 1..MAX_FAILURES {
            let admitted = pause.admit(begun).unwrap();
            assert_eq!(pause.failed(begun, admitted), None);
        }
        let admitted = pause.admit(begun).unwrap();
        assert_eq!(pause.failed(begun, admitted), Some(FIRST_PAUSE));
        assert_eq!(pause.admit(begun + FIRST_PAUSE / 2), None);
        // A call that was admitted before the pause ends in it.
        assert_eq!(pause.failed(begun, CallAdmission::Regular), None);
        let after = begun + FIRST_PAUSE;
        assert_eq!(pause.admit(after), Some(CallAdmission::Trial));
        assert_eq!(pause.admit(after), None, "one trial at a time");
        let second = pause.failed(after, CallAdmission::Trial);
        assert_eq!(second, Some(FIRST_PAUSE * 2));
        let much_later = after + MAX_PAUSE;
        assert_eq!(pause.admit(much_later), Some(CallAdmission::Trial));
        pause.abandoned(CallAdmission::Trial);
        assert_eq!(pause.admit(much_later), Some(CallAdmission::Trial));
        pause.succeeded();
        assert_eq!(pause.admit(much_later), Some(CallAdmission::Regular));
    }

    #[test]
    fn a_pause_has_a_longest_length() {
        let mut pause = FailurePause::default();
        let mut now = Instant::now();
        for _ in 0..100 {
            let Some(admitted) = pause.admit(now) else {
                panic!("the pause has ended");
            };
            let length = pause.failed(now, admitted).unwrap_or_default();
            assert!(length <= MAX_PAUSE);
            now += length;
        }
        assert_eq!(pause.admit(now), Some(CallAdmission::Trial));
    }

    #[test]
    fn a_success_between_failures_begins_the_count_anew() {
        let mut pause = FailurePause::default();
        let now = Instant::now();
        for _ in 0..10 {
            for _ in 1..MAX_FAILURES {
                assert_eq!(pause.failed(now, CallAdmission::Regular), None);
            }
            pause.succeeded();
        }
        assert_eq!(pause.admit(now), Some(CallAdmission::Regular));
    }
}
