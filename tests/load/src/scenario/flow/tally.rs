//! What a flow counts and times. Only what falls into the measured part counts, and only what was due
//! in it is timed.

use super::{Flowed, Plan};
use crate::clock;
use crate::judge::Judge;
use crate::latency::Latency;
use crate::target::Usage;

/// The counts and times.
pub(super) struct Tally {
    /// The measured part.
    begin: u64,
    end: u64,
    usage: Box<dyn Fn() -> Usage + Send>,
    /// Use of the machine at both ends of it.
    ends: (Option<Usage>, Option<Usage>),
    answered: u64,
    delivered: u64,
    /// Answered, whenever it was.
    all: u64,
    answer: Latency,
    delivery: Latency,
    last: Latency,
}

impl Tally {
    pub(super) fn new(plan: &Plan, usage: impl Fn() -> Usage + Send + 'static) -> Self {
        let begin = clock::now() + plan.before;
        Self {
            begin,
            end: begin + plan.measured,
            usage: Box::new(usage),
            ends: (None, None),
            answered: 0,
            delivered: 0,
            all: 0,
            answer: Latency::new(begin),
            delivery: Latency::new(begin),
            last: Latency::new(begin),
        }
    }

    /// When the measured part begins.
    pub(super) const fn begin(&self) -> u64 {
        self.begin
    }

    /// When it ends.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Answered so far, in all.
    pub(super) const fn all(&self) -> u64 {
        self.all
    }

    fn counts(&self, at: u64) -> bool {
        (self.begin..self.end).contains(&at)
    }

    /// Looks at the use of the machine, once at each end of the measured part.
    pub(super) fn look(&mut self, now: u64) {
        if now >= self.begin && self.ends.0.is_none() {
            self.ends.0 = Some((self.usage)());
        }
        if now >= self.end && self.ends.1.is_none() {
            self.ends.1 = Some((self.usage)());
        }
    }

    /// A send due at `due` was answered.
    pub(super) fn answered(&mut self, due: u64, now: u64) {
        self.all += 1;
        self.answered += u64::from(self.counts(now));
        if self.counts(due) {
            self.answer.record(due, now);
        }
    }

    /// A message due at `due` came to one more; if `last`, now all have it.
    pub(super) fn delivered(&mut self, due: u64, now: u64, last: bool) {
        self.delivered += u64::from(self.counts(now));
        if self.counts(due) {
            self.delivery.record(due, now);
            if last {
                self.last.record(due, now);
            }
        }
    }

    /// All of it, with what the judge says and the first refusal in words.
    pub(super) fn told(self, judge: Judge, refusal: Option<String>) -> Flowed {
        let first = self.ends.0.unwrap_or_default();
        Flowed {
            answered: self.answered,
            delivered: self.delivered,
            answer: self.answer.summary(),
            delivery: self.delivery.summary(),
            last: self.last.summary(),
            usage: (first, self.ends.1.unwrap_or(first)),
            failures: judge.failures(),
            refusal,
            findings: judge.verdict(),
        }
    }
}
