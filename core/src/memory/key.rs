//! Idempotency keys: recognizes repeated sends and answers them like the first (law 4).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::id::MessageId;
use crate::map::FastHashMap;
use crate::seq::Seq;
use crate::store::{AppendOutcome, IdempotencyKey};

/// The first send with a key.
#[derive(Debug)]
struct FirstSend {
    digest: [u8; 16],
    message: MessageId,
    seq: Seq,
    until: Duration,
}

/// Keys with the ends of their windows, oldest first.
type KeyExpiryQueue = VecDeque<(Duration, Arc<[u8]>)>;

/// The keys whose window has not passed, and those not yet swept.
#[derive(Debug, Default)]
pub(super) struct IdempotencyKeys {
    known: FastHashMap<Arc<[u8]>, FirstSend>,
    /// The keys of each window length, oldest first. There are few lengths, so one queue per length
    /// is cheaper than a sorted set. The times are monotonic: with a wall clock, one wrong time at
    /// the front would stop the sweep of all keys behind it.
    queues: BTreeMap<Duration, KeyExpiryQueue>,
}

impl IdempotencyKeys {
    /// Returns the answer to a repeat; `None` if the key is new or its window has passed.
    pub(super) fn find(&self, key: &IdempotencyKey, now: Duration) -> Option<AppendOutcome> {
        let first = self.known.get(key.id.as_slice())?;
        if first.until <= now {
            return None;
        }
        if first.digest != key.digest {
            return Some(AppendOutcome::Conflict);
        }
        Some(AppendOutcome::Repeated {
            message: first.message,
            seq: first.seq,
        })
    }

    /// Records the first send with a key.
    pub(super) fn note(
        &mut self,
        key: &IdempotencyKey,
        message: MessageId,
        seq: Seq,
        now: Duration,
    ) {
        let id: Arc<[u8]> = key.id.as_slice().into();
        let until = now.saturating_add(key.window);
        let queue = self.queues.entry(key.window).or_default();
        queue.push_back((until, Arc::clone(&id)));
        let first = FirstSend {
            digest: key.digest,
            message,
            seq,
            until,
        };
        self.known.insert(id, first);
    }

    /// Removes up to `max` keys whose window has passed; returns how many.
    pub(super) fn sweep(&mut self, max: usize, now: Duration) -> usize {
        let mut swept = 0;
        for queue in self.queues.values_mut() {
            while swept < max && queue.front().is_some_and(|(until, _)| *until <= now) {
                let Some((until, id)) = queue.pop_front() else {
                    break;
                };
                // A key that was used again after its window has a later end, and stays.
                if self.known.get(&id).is_some_and(|it| it.until == until) {
                    self.known.remove(&id);
                    swept += 1;
                }
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        swept
    }
}
