//! Duration and number of the passes of a probe.

use std::time::Duration;

use crate::measured_limit::{ProbeOutcome, ProbePass};

/// Duration and number of the passes of a probe.
#[derive(Clone, Copy, Debug)]
pub struct ProbeShape {
    /// Duration of one pass.
    pub span: Duration,
    /// Number of passes; the median counts.
    pub passes: u32,
}

impl Default for ProbeShape {
    fn default() -> Self {
        Self {
            span: Duration::from_secs(2),
            passes: 3,
        }
    }
}

impl ProbeShape {
    /// Runs the passes.
    pub(super) fn passes(
        self,
        mut pass: impl FnMut(Duration) -> ProbeOutcome<ProbePass>,
    ) -> ProbeOutcome<Vec<ProbePass>> {
        (0..self.passes.max(1)).map(|_| pass(self.span)).collect()
    }
}
