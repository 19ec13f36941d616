//! Recent sends: the notifications of a batch that arrived although the batch failed. The batch is
//! delivered again, perhaps in parts, and they are not sent twice.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gimlet_core::id::{DeviceId, MessageId, UserId};
use tokio::time::Instant;

/// Largest number of sends that one generation keeps.
const MAX_SENDS: usize = 50_000;
/// Time after which a generation ends. A batch that failed is tried again within ten minutes.
const GENERATION_TIME: Duration = Duration::from_mins(15);

/// A message that a user was notified of on a device.
pub(crate) type NotifiedMessage = (UserId, DeviceId, MessageId);

/// Recent sends, in two generations: when the younger one is full or old, the older one is
/// forgotten. After a restart none is known, and a repeated notification replaces its earlier self.
#[derive(Debug)]
pub(crate) struct RecentSends {
    /// A plain mutex: it is held for some set operations and never over an await.
    generations: Mutex<SendGenerations>,
}

#[derive(Debug)]
struct SendGenerations {
    young: HashSet<NotifiedMessage>,
    old: HashSet<NotifiedMessage>,
    since: Instant,
}

impl Default for RecentSends {
    fn default() -> Self {
        Self {
            generations: Mutex::new(SendGenerations {
                young: HashSet::new(),
                old: HashSet::new(),
                since: Instant::now(),
            }),
        }
    }
}

impl RecentSends {
    /// Returns whether the device was notified of the message.
    pub(crate) fn contains(&self, send: &NotifiedMessage) -> bool {
        let generations = self.lock();
        generations.young.contains(send) || generations.old.contains(send)
    }

    /// Keeps these sends.
    pub(crate) fn keep(&self, sends: impl IntoIterator<Item = NotifiedMessage>) {
        let mut generations = self.lock();
        for send in sends {
            if generations.young.len() >= MAX_SENDS
                || generations.since.elapsed() >= GENERATION_TIME
            {
                generations.old = std::mem::take(&mut generations.young);
                generations.since = Instant::now();
            }
            generations.young.insert(send);
        }
    }

    fn lock(&self) -> MutexGuard<'_, SendGenerations> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sends(from: u64, count: u64) -> Vec<NotifiedMessage> {
        let message = MessageId::generate();
        let user = UserId::new(1).unwrap();
        (from..from + count)
            .map(|at| (user, DeviceId::new(at).unwrap(), message))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_bounded_in_number_and_in_age() {
        let recent = RecentSends::default();
        let first = sends(1, 1);
        recent.keep(first.clone());
        assert!(recent.contains(&first[0]));
        recent.keep(sends(2, MAX_SENDS as u64 * 4));
        assert!(!recent.contains(&first[0]));
        let kept = {
            let generations = recent.lock();
            generations.young.len() + generations.old.len()
        };
        assert!(kept <= 2 * MAX_SENDS);
        recent.keep(first.clone());
        for _ in 0..2 {
            tokio::time::advance(GENERATION_TIME).await;
            recent.keep(sends(2, 1));
        }
        assert!(!recent.contains(&first[0]));
    }
}
