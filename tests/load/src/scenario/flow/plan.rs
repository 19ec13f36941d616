//! How a flow runs: how fast, how long, and when a send has ended.

/// When senders send.
#[derive(Clone, Copy, Debug)]
pub(in crate::scenario) enum Pace {
    /// So many per second in all, whatever becomes of them.
    Open(f64),
    /// So many under way per sender.
    Closed(u32),
}

/// When a closed loop's send has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scenario) enum Until {
    /// With its answer.
    Answered,
    /// With its answer and the last delivery.
    Delivered,
}

/// How a flow runs.
#[derive(Clone, Copy, Debug)]
pub(in crate::scenario) struct Plan {
    pub(in crate::scenario) pace: Pace,
    pub(in crate::scenario) until: Until,
    /// Bytes of a content.
    pub(in crate::scenario) size: usize,
    /// Nanoseconds before the measured part, and of it.
    pub(in crate::scenario) before: u64,
    pub(in crate::scenario) measured: u64,
    /// After it, until all must be answered and delivered.
    pub(in crate::scenario) grace: u64,
}
