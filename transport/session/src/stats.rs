//! Counters of all sessions, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use gimlet_core::error::RequestRefusal;

/// The codes of refusals; an unknown code is counted as the last.
const REFUSAL_CODES: [i32; 16] = [
    10_000, 10_001, 10_010, 10_011, 10_013, 10_014, 10_015, 10_016, 10_017, 4, 6, 7, 8, 12, 14, 2,
];

/// Counters of all sessions; they only grow.
#[derive(Debug, Default)]
pub struct SessionStats {
    /// Connections whose handshake succeeded.
    pub opened: AtomicU64,
    /// Connections that have ended; the difference is the number open now.
    pub closed: AtomicU64,
    /// Frames received.
    pub frames_in: AtomicU64,
    /// Frames written: answers and pushes.
    pub frames_out: AtomicU64,
    /// Sends over sockets that were answered with success.
    pub sends: AtomicU64,
    /// Frames that could not be decoded.
    pub undecodable: AtomicU64,
    /// Packets answered with a refusal, in the order of `REFUSAL_CODES`.
    refused: [AtomicU64; REFUSAL_CODES.len()],
}

impl SessionStats {
    /// Counts a packet that was answered with this refusal.
    pub(crate) fn refuse(&self, refusal: &RequestRefusal) {
        let at = REFUSAL_CODES
            .iter()
            .position(|code| *code == refusal.code());
        let last = REFUSAL_CODES.len() - 1;
        if let Some(count) = self.refused.get(at.unwrap_or(last)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of refused packets by code, without codes that never occurred.
    pub fn refusals(&self) -> impl Iterator<Item = (i32, u64)> {
        let counts = self.refused.iter().map(|n| n.load(Ordering::Relaxed));
        REFUSAL_CODES
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_code() {
        let stats = SessionStats::default();
        stats.refuse(&RequestRefusal::Conflict);
        stats.refuse(&RequestRefusal::Unavailable);
        stats.refuse(&RequestRefusal::Unavailable);
        assert_eq!(stats.refusals().collect::<Vec<_>>(), [(6, 1), (14, 2)]);
    }
}
