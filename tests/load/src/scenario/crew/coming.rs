//! How many of a crew are on their way and live, and how it was when they came: when each was live,
//! and what SYNC brought.

use super::person::Way;
use crate::latency::{Latency, Summary};

/// Those who come, and those who are there.
#[derive(Debug, Default)]
pub(super) struct Coming {
    /// When they set out the last time, and when each was live then.
    begun: u64,
    back: Vec<u64>,
    /// Messages that SYNC brought since then.
    synced: u64,
    live: usize,
    joining: usize,
}

impl Coming {
    /// They set out.
    pub(super) fn begin(&mut self, now: u64) {
        self.begun = now;
        self.back.clear();
        self.synced = 0;
    }

    /// One connects.
    pub(super) const fn connects(&mut self) {
        self.joining += 1;
    }

    /// A page brought so many messages.
    pub(super) const fn brought(&mut self, messages: usize) {
        self.synced += messages as u64;
    }

    /// One who was joining is live.
    pub(super) fn arrives(&mut self, now: u64) {
        self.joining -= 1;
        self.live += 1;
        self.back.push(now);
    }

    /// One who was that far has no connection any more.
    pub(super) const fn leaves(&mut self, way: Way) {
        match way {
            Way::Live => self.live -= 1,
            Way::Joining => self.joining -= 1,
            Way::Away => {}
        }
    }

    /// Who is live.
    pub(super) const fn live(&self) -> usize {
        self.live
    }

    /// Who is on the way.
    pub(super) const fn joining(&self) -> usize {
        self.joining
    }

    /// Messages that SYNC brought the last time they came.
    pub(super) const fn synced(&self) -> u64 {
        self.synced
    }

    /// How long each took, the last time.
    pub(super) fn times(&self) -> Summary {
        summary(self.begun, &self.back)
    }

    /// When each was live, the last time; told once.
    pub(super) fn moments(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.back)
    }
}

/// The times from a beginning to these moments.
pub(super) fn summary(begun: u64, moments: &[u64]) -> Summary {
    let mut latency = Latency::new(begun);
    for &moment in moments {
        latency.record(begun, moment);
    }
    latency.summary()
}
