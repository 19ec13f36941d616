//! Counters of users that are joining or live, and figures of the last join: the time at which each
//! user was live, and the messages that SYNC brought.

use super::simulated_user::UserStage;
use crate::latency::{LatencyRecorder, LatencySummary};

/// Counters of joining and live users.
#[derive(Debug, Default)]
pub(super) struct JoinProgress {
    /// Start of the last join, and the times at which its users were live.
    begun: u64,
    back: Vec<u64>,
    /// Messages that SYNC brought since then.
    synced: u64,
    live: usize,
    joining: usize,
}

impl JoinProgress {
    /// Starts a join.
    pub(super) fn begin(&mut self, now: u64) {
        self.begun = now;
        self.back.clear();
        self.synced = 0;
    }

    /// Counts a user that connects.
    pub(super) const fn connects(&mut self) {
        self.joining += 1;
    }

    /// Counts the messages of a page.
    pub(super) const fn brought(&mut self, messages: usize) {
        self.synced += messages as u64;
    }

    /// Counts a joining user as live.
    pub(super) fn arrives(&mut self, now: u64) {
        self.joining -= 1;
        self.live += 1;
        self.back.push(now);
    }

    /// Counts a user in this stage that has lost its connection.
    pub(super) const fn leaves(&mut self, way: UserStage) {
        match way {
            UserStage::Live => self.live -= 1,
            UserStage::Joining => self.joining -= 1,
            UserStage::Away => {}
        }
    }

    /// Returns the number of live users.
    pub(super) const fn live(&self) -> usize {
        self.live
    }

    /// Returns the number of joining users.
    pub(super) const fn joining(&self) -> usize {
        self.joining
    }

    /// Returns the number of messages that SYNC brought in the last join.
    pub(super) const fn synced(&self) -> u64 {
        self.synced
    }

    /// Summarises the time that each user took in the last join.
    pub(super) fn times(&self) -> LatencySummary {
        summary(self.begun, &self.back)
    }

    /// Takes the times at which users were live in the last join.
    pub(super) fn moments(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.back)
    }
}

/// Summarises the times from `begun` to these moments.
pub(super) fn summary(begun: u64, moments: &[u64]) -> LatencySummary {
    let mut latency = LatencyRecorder::new(begun);
    for &moment in moments {
        latency.record(begun, moment);
    }
    latency.summary()
}
