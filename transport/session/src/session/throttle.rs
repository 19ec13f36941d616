//! Slows down a client that goes on sending although it is refused for its rate.
//!
//! A refusal costs the server nearly as much as a send, so a client that repeats at once takes as
//! much of it as one without a limit. After a number of refusals in a row its next packet is read
//! only after a delay: TCP then holds it back, and other clients keep the processor.

use std::time::Duration;

use gimlet_core::error::RequestRefusal;
use tokio::time::Instant;

/// Refusals that delay nothing, less the sends that were accepted since: a burst that was under way
/// when the limit was met.
const FREE_REFUSALS: u32 = 64;
/// Bounds of the delay behind one refusal; between them it is the time that the refusal names.
const DELAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// State of a client that was refused for its rate lately.
#[derive(Debug, Default)]
pub(super) struct RefusalThrottle {
    /// Refusals, less accepted sends.
    refusals: u32,
    /// Time of the next read.
    until: Option<Instant>,
}

impl RefusalThrottle {
    /// Counts a refusal; from a number of them on it delays the next packet.
    pub(super) fn refused(&mut self, retry_after: Duration, now: Instant) {
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals > FREE_REFUSALS {
            self.until = Some(now + retry_after.clamp(DELAY.0, DELAY.1));
        }
    }

    /// Counts an accepted send; returns whether nothing is held against the client any more.
    pub(super) const fn accepted(&mut self) -> bool {
        self.refusals = self.refusals.saturating_sub(1);
        self.refusals == 0
    }

    /// Returns whether further refusals delay packets. Then each send is answered before the next
    /// one is read, or the refusals of many would be counted too late.
    pub(super) const fn is_active(&self) -> bool {
        self.refusals >= FREE_REFUSALS
    }

    /// Returns the time of the next read; `None` if packets are read at once.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Ends a delay that is over; returns whether one still runs.
    pub(super) fn delays(&mut self, now: Instant) -> bool {
        self.until = self.until.filter(|until| now < *until);
        self.until.is_some()
    }
}

/// Returns the time that a refusal asks its client to wait; `None` if it is not about a rate.
pub(super) const fn retry_after(refusal: &RequestRefusal) -> Option<Duration> {
    match refusal {
        RequestRefusal::RateLimited { retry_after } | RequestRefusal::Busy { retry_after } => {
            Some(*retry_after)
        }
        _ => None,
    }
}
