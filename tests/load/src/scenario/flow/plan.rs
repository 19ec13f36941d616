//! Plan of a flow: its pace, its duration, and the end of a send.

/// Pace of the sends.
#[derive(Clone, Copy, Debug)]
pub(in crate::scenario) enum SendPace {
    /// Sends per second in all, independent of their outcome.
    Open(f64),
    /// Sends in flight per sender.
    Closed(u32),
}

/// End of a send in a closed loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scenario) enum SendEnd {
    /// With its answer.
    Answered,
    /// With its answer and the last delivery.
    Delivered,
}

/// Plan of a flow.
#[derive(Clone, Copy, Debug)]
pub(in crate::scenario) struct FlowPlan {
    pub(in crate::scenario) pace: SendPace,
    pub(in crate::scenario) until: SendEnd,
    /// Bytes of a content.
    pub(in crate::scenario) size: usize,
    /// Nanoseconds before the measured part, and of it.
    pub(in crate::scenario) before: u64,
    pub(in crate::scenario) measured: u64,
    /// Nanoseconds after it by which everything must be answered and delivered.
    pub(in crate::scenario) grace: u64,
}
