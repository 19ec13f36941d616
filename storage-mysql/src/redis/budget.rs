//! Bounds how much one node lets Redis keep for rooms, over all rooms together.
//!
//! Each room is bounded in its own slot, but nothing bounds the number of rooms, and Redis also
//! needs space for routes and leases. No command sees all rooms of a Redis Cluster, so each node
//! counts what it published within the time for which a message is kept.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Slots of the window; the bytes of one slot are counted together.
const WINDOW_SLOTS: u32 = 16;

/// Bytes that may be kept within a sliding window of time.
#[derive(Debug)]
pub(super) struct KeepBudget {
    max: usize,
    slot: Duration,
    window: Mutex<BudgetWindow>,
}

#[derive(Debug, Default)]
struct BudgetWindow {
    /// Start of each slot, and its bytes; oldest first.
    slots: VecDeque<(Instant, usize)>,
    bytes: usize,
}

impl KeepBudget {
    pub(super) fn new(max: usize, age: Duration) -> Self {
        Self {
            max,
            slot: (age / WINDOW_SLOTS).max(Duration::from_millis(1)),
            window: Mutex::default(),
        }
    }

    /// Counts a message that is to be kept; returns `false` if it exceeds the budget.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let now = Instant::now();
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        // A slot is counted until its last message, which may be a whole slot younger than its first,
        // is not kept any more.
        let lifetime = self.slot * (WINDOW_SLOTS + 1);
        while let Some((begun, slot_bytes)) = window.slots.front().copied()
            && begun + lifetime <= now
        {
            window.slots.pop_front();
            window.bytes -= slot_bytes;
        }
        if window.bytes.saturating_add(bytes) > self.max {
            return false;
        }
        window.bytes += bytes;
        match window.slots.back_mut() {
            Some((begun, sum)) if *begun + self.slot > now => *sum += bytes,
            _ => window.slots.push_back((now, bytes)),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_within_the_window_is_bounded() {
        let age = Duration::from_mins(2);
        let budget = KeepBudget::new(1_000, age);
        let taken = (0..200).filter(|_| budget.take(10)).count();
        assert_eq!(taken, 100);
        assert!(!budget.take(1));
        tokio::time::advance(age).await;
        assert!(
            !budget.take(1),
            "the last of a slot is kept a little longer"
        );
        tokio::time::advance(age / WINDOW_SLOTS).await;
        assert!(budget.take(1_000) && !budget.take(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_window_is_small_however_many_messages_it_counts() {
        let budget = KeepBudget::new(usize::MAX, Duration::from_mins(2));
        for _ in 0..10_000 {
            assert!(budget.take(10));
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert!(budget.window.lock().unwrap().slots.len() <= 18);
    }
}
