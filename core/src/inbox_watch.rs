//! Waits for an inbox to grow, for callers that have no connection.
//!
//! A waiting caller is woken by the delivery of the entry on this node. Other nodes do not know of it,
//! so in a cluster the heads of all inboxes that are waited for are read as well, in one call of the
//! store for many users. What wakes a caller is a hint: it reads the inbox itself.

use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::delivery::DeliveryBatch;
use crate::id::UserId;
use crate::map::FastHashMap;
use crate::seq::Seq;
use crate::store::SeqStore;

/// Largest number of callers that wait at a time; a further one does not wait.
const MAX_WAITING: usize = 4_096;
/// Interval at which the heads are read in a cluster.
const READ_INTERVAL: Duration = Duration::from_millis(500);
/// Heads that are read by one call.
const HEADS_PER_READ: usize = 512;

/// The inboxes that callers wait for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct InboxWatch(Arc<WatchState>);

#[derive(Debug, Default)]
struct WatchState {
    /// Number of waiting callers; read before the lock, because usually nobody waits.
    waiting: AtomicUsize,
    /// The last known seq of each inbox that somebody waits for.
    heads: Mutex<FastHashMap<UserId, watch::Sender<Seq>>>,
    /// Wakes the reader of heads when the first caller waits.
    first: Notify,
}

/// A wait for one inbox. Dropping it ends the wait.
#[derive(Debug)]
pub struct InboxWait {
    state: Arc<WatchState>,
    user: UserId,
    head: watch::Receiver<Seq>,
}

impl InboxWatch {
    /// Begins to wait for the inbox of this user; `None` if too many callers wait. Read the head
    /// after this: entries that come later wake the wait.
    #[must_use]
    pub fn begin(&self, user: UserId) -> Option<InboxWait> {
        let state = &self.0;
        // Counted before the inbox is entered, so that a delivery in between looks at the map.
        let before = state.waiting.fetch_add(1, Ordering::SeqCst);
        if before >= MAX_WAITING {
            state.waiting.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        let head = match state.heads().entry(user) {
            Entry::Occupied(there) => there.get().subscribe(),
            Entry::Vacant(free) => {
                let (head, wait) = watch::channel(Seq::ZERO);
                free.insert(head);
                wait
            }
        };
        state.first.notify_one();
        Some(InboxWait {
            state: Arc::clone(state),
            user,
            head,
        })
    }

    /// Wakes the callers that wait for the recipients of these batches.
    pub fn delivered(&self, batches: &[DeliveryBatch]) {
        if self.0.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let heads = self.0.heads();
        for batch in batches {
            if let DeliveryBatch::Entries { to, .. } = batch {
                for (user, seq) in to {
                    if let Some(head) = heads.get(user) {
                        raise(head, *seq);
                    }
                }
            }
        }
    }

    /// Reads the heads of the inboxes that are waited for, until `stop`: for a node of a cluster.
    pub(crate) async fn read_heads(self, store: Arc<dyn SeqStore>, stop: CancellationToken) {
        while stop
            .run_until_cancelled(self.0.first.notified())
            .await
            .is_some()
        {
            while self.0.waiting.load(Ordering::SeqCst) > 0 {
                let pause = tokio::time::sleep(READ_INTERVAL);
                if stop.run_until_cancelled(pause).await.is_none() {
                    return;
                }
                let users: Vec<UserId> = self.0.heads().keys().copied().collect();
                for users in users.chunks(HEADS_PER_READ) {
                    // A failed read is repeated after the pause; the store reports its failures.
                    let Ok(read) = store.heads(users).await else {
                        continue;
                    };
                    let heads = self.0.heads();
                    for (user, read) in users.iter().zip(read) {
                        if let Some(head) = heads.get(user) {
                            raise(head, read.head);
                        }
                    }
                }
            }
        }
    }
}

/// Raises the last known seq of an inbox.
fn raise(head: &watch::Sender<Seq>, seq: Seq) {
    head.send_if_modified(|known| {
        let is_new = seq > *known;
        *known = seq.max(*known);
        is_new
    });
}

impl WatchState {
    fn heads(&self) -> MutexGuard<'_, FastHashMap<UserId, watch::Sender<Seq>>> {
        // A panic cannot leave the map half-changed: each change is one operation.
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InboxWait {
    /// Waits until the inbox is known to have an entry above `after`.
    pub async fn above(&mut self, after: Seq) {
        // The sender is removed by the drop of the last wait only, so it cannot be closed.
        let _ = self.head.wait_for(|head| *head > after).await;
    }
}

impl Drop for InboxWait {
    fn drop(&mut self) {
        let mut heads = self.state.heads();
        // This wait is still subscribed: with one subscriber it is the last.
        let is_last = |head: &watch::Sender<Seq>| head.receiver_count() == 1;
        if heads.get(&self.user).is_some_and(is_last) {
            heads.remove(&self.user);
        }
        drop(heads);
        self.state.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::memory;
    use crate::test_fixtures::direct_send;
    use crate::testkit::helpers::user;

    fn entry(to: UserId, seq: u64) -> DeliveryBatch {
        let (_, envelope) = direct_send(None, to.get(), "hi");
        let to = vec![(to, Seq::new(seq))];
        DeliveryBatch::Entries { envelope, to }
    }

    #[tokio::test]
    async fn a_delivery_ends_the_waits_for_its_inbox() {
        let watch = InboxWatch::default();
        let (mut first, mut second) =
            (watch.begin(user(1)).unwrap(), watch.begin(user(1)).unwrap());
        let mut other = watch.begin(user(2)).unwrap();
        watch.delivered(&[entry(user(1), 5)]);
        assert!(first.above(Seq::new(4)).now_or_never().is_some());
        assert!(second.above(Seq::new(4)).now_or_never().is_some());
        assert!(second.above(Seq::new(5)).now_or_never().is_none());
        assert!(other.above(Seq::ZERO).now_or_never().is_none());
    }

    #[tokio::test]
    async fn nothing_is_kept_for_those_who_have_left() {
        let watch = InboxWatch::default();
        let waits: Vec<_> = (0..3).map(|_| watch.begin(user(1)).unwrap()).collect();
        let other = watch.begin(user(2)).unwrap();
        drop(waits);
        assert_eq!(watch.0.heads().len(), 1);
        drop(other);
        assert!(watch.0.heads().is_empty());
        assert_eq!(watch.0.waiting.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn callers_that_wait_are_bounded() {
        let watch = InboxWatch::default();
        let waits: Vec<_> = (0..MAX_WAITING).map(|_| watch.begin(user(1))).collect();
        assert!(waits.iter().all(Option::is_some));
        assert!(watch.begin(user(2)).is_none());
        drop(waits);
        assert!(watch.begin(user(2)).is_some());
    }

    /// An entry that another node stored is found by its head.
    #[tokio::test(start_paused = true)]
    async fn in_a_cluster_the_heads_are_read() {
        let stores = memory::stores();
        let (watch, stop) = (InboxWatch::default(), CancellationToken::new());
        let following = watch
            .clone()
            .read_heads(Arc::clone(&stores.seq), stop.clone());
        let awaited = async {
            let mut wait = watch.begin(user(1)).unwrap();
            let (entry, _) = direct_send(None, 1, "hi");
            let entries = [entry];
            let (appended, ()) = tokio::join!(stores.inbox.append(&entries), wait.above(Seq::ZERO));
            appended.unwrap();
            stop.cancel();
        };
        tokio::join!(following, awaited);
    }
}
