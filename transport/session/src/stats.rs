//! What sessions have done so far, for metrics.

use std::sync::atomic::AtomicU64;

/// Counters of all sessions; they only grow.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections whose handshake was done.
    pub opened: AtomicU64,
    /// Connections that have ended; the difference is open now.
    pub closed: AtomicU64,
    /// Frames received.
    pub frames_in: AtomicU64,
    /// Frames written: answers and pushes.
    pub frames_out: AtomicU64,
    /// Frames that were no packets.
    pub undecodable: AtomicU64,
}
