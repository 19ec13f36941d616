//! Results of a flow, and their entry into a report.

use crate::judge::JudgeFindings;
use crate::latency::LatencySummary;
use crate::measured_limit::MeasuredLimit;
use crate::report::RunReport;
use crate::target::UsageSample;

/// Results of a flow.
#[derive(Debug)]
pub(in crate::scenario) struct FlowResults {
    /// Sends answered in the measured part.
    pub(in crate::scenario) answered: u64,
    /// Deliveries in the measured part.
    pub(in crate::scenario) delivered: u64,
    /// Times from the intended send to the answer, to each delivery, and to the last one.
    pub(in crate::scenario) answer: LatencySummary,
    pub(in crate::scenario) delivery: LatencySummary,
    pub(in crate::scenario) last: LatencySummary,
    /// Resource usage at both ends of the measured part.
    pub(in crate::scenario) usage: (UsageSample, UsageSample),
    /// Sends refused, and with an unknown outcome; text of the first refusal.
    pub(in crate::scenario) failures: (u64, u64),
    pub(in crate::scenario) refusal: Option<String>,
    pub(in crate::scenario) findings: JudgeFindings,
}

impl FlowResults {
    /// Adds the results that every flow has to the report; `what` is one unit of work.
    #[expect(clippy::cast_precision_loss, reason = "counts of a run")]
    pub(in crate::scenario) fn tell(
        &self,
        report: &mut RunReport,
        seconds: f64,
        what: &str,
        limit: Option<&MeasuredLimit>,
    ) {
        let answered = self.answered as f64 / seconds;
        report.share("answered", answered, "1/s", limit);
        report.figure("delivered", self.delivered as f64 / seconds, "1/s");
        let load = self.usage.1.since(&self.usage.0);
        report.load(&load, self.answered as f64, what);
        let (refused, unknown) = self.failures;
        if refused + unknown > 0 {
            let why = self.refusal.as_deref().unwrap_or_default();
            report.notes.push(format!(
                "{refused} sends were refused, {unknown} have an unknown outcome, first: {why}"
            ));
        }
    }
}
