//! Counters and times of a flow. An event counts if it falls into the measured part, and is timed
//! if its send was due in it.

use super::{FlowPlan, FlowResults};
use crate::clock;
use crate::judge::DeliveryJudge;
use crate::latency::LatencyRecorder;
use crate::target::UsageSample;

/// Counters and times of a flow.
pub(super) struct FlowTally {
    /// Begin and end of the measured part.
    begin: u64,
    end: u64,
    usage: Box<dyn Fn() -> UsageSample + Send>,
    /// Resource usage at both ends of it.
    ends: (Option<UsageSample>, Option<UsageSample>),
    answered: u64,
    delivered: u64,
    /// Sends answered at any time.
    all: u64,
    answer: LatencyRecorder,
    delivery: LatencyRecorder,
    last: LatencyRecorder,
}

impl FlowTally {
    pub(super) fn new(plan: &FlowPlan, usage: impl Fn() -> UsageSample + Send + 'static) -> Self {
        let begin = clock::now() + plan.before;
        Self {
            begin,
            end: begin + plan.measured,
            usage: Box::new(usage),
            ends: (None, None),
            answered: 0,
            delivered: 0,
            all: 0,
            answer: LatencyRecorder::new(begin),
            delivery: LatencyRecorder::new(begin),
            last: LatencyRecorder::new(begin),
        }
    }

    /// Returns the time at which the measured part begins.
    pub(super) const fn begin(&self) -> u64 {
        self.begin
    }

    /// Returns the time at which it ends.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Returns the number of sends answered so far.
    pub(super) const fn all(&self) -> u64 {
        self.all
    }

    fn counts(&self, at: u64) -> bool {
        (self.begin..self.end).contains(&at)
    }

    /// Samples the resource usage, once at each end of the measured part.
    pub(super) fn look(&mut self, now: u64) {
        if now >= self.begin && self.ends.0.is_none() {
            self.ends.0 = Some((self.usage)());
        }
        if now >= self.end && self.ends.1.is_none() {
            self.ends.1 = Some((self.usage)());
        }
    }

    /// Records the answer to a send that was due at `due`.
    pub(super) fn answered(&mut self, due: u64, now: u64) {
        self.all += 1;
        self.answered += u64::from(self.counts(now));
        if self.counts(due) {
            self.answer.record(due, now);
        }
    }

    /// Records a delivery of a message that was due at `due`; with `last`, all receivers have it.
    pub(super) fn delivered(&mut self, due: u64, now: u64, last: bool) {
        self.delivered += u64::from(self.counts(now));
        if self.counts(due) {
            self.delivery.record(due, now);
            if last {
                self.last.record(due, now);
            }
        }
    }

    /// Returns the results, with the findings of the judge and the text of the first refusal.
    pub(super) fn into_results(
        self,
        judge: &DeliveryJudge,
        refusal: Option<String>,
    ) -> FlowResults {
        let first = self.ends.0.unwrap_or_default();
        FlowResults {
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
