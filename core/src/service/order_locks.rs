//! Per-user order locks: the sends of one user enter the queue in the order in which they were
//! started, however long the checks of each take.
//!
//! Most sends need no slow check and take no lock: only users with a slow send in progress have
//! one. No user waits for another user's lock, whatever their ids are.
//!
//! Order: a send registers in `by_user` when its future is first polled, which is in the call that
//! starts it ([`SendFuture::started`](crate::send_future::SendFuture::started)). tokio's mutex is
//! fair, so the lock is granted in that order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as OrderMutex, OwnedMutexGuard};

use crate::id::UserId;
use crate::map::FastHashMap;

/// The order locks of a node, one for each user with a slow send in progress.
#[derive(Debug, Default)]
pub(super) struct OrderLocks {
    /// Number of users in `by_user`: while it is 0 a send takes no lock at all.
    users: AtomicUsize,
    by_user: Mutex<FastHashMap<UserId, UserLock>>,
}

#[derive(Debug)]
struct UserLock {
    lock: Arc<OrderMutex<()>>,
    /// Number of sends that hold the lock or wait for it; the last one removes it from the map.
    sends: usize,
}

/// A held order lock; kept from the first check of a send until it is in the queue.
#[derive(Debug)]
pub(super) struct OrderGuard<'a> {
    // Declared before `_entry`, because fields are dropped in this order: the lock is released
    // while the map still has its entry. In the other order a new send could find no entry and make
    // a second lock for this user while this one is still held.
    _held: OwnedMutexGuard<()>,
    _entry: OrderLockEntry<'a>,
}

/// A send that holds a user's order lock or waits for it.
#[derive(Debug)]
struct OrderLockEntry<'a> {
    locks: &'a OrderLocks,
    user: UserId,
}

impl OrderLocks {
    /// Returns `true` if no slow send of this user is in progress, so that a send without slow
    /// checks may enter the queue directly. The caller calls this after all its earlier sends, and
    /// puts the send into the queue before it starts the next one.
    pub(super) fn is_free(&self, user: UserId) -> bool {
        self.users.load(Ordering::Acquire) == 0 || !self.lock().contains_key(&user)
    }

    /// Waits for the user's order lock, which is granted in the order of the first polls.
    pub(super) async fn take(&self, user: UserId) -> OrderGuard<'_> {
        // Registered before the wait: from here on `is_free` is false, and no later send of the
        // user passes this one.
        let (place, lock) = self.enter(user);
        OrderGuard {
            _held: lock.lock_owned().await,
            _entry: place,
        }
    }

    /// Returns `true` if no lock is held or awaited.
    #[cfg(test)]
    fn is_idle(&self) -> bool {
        self.lock().is_empty()
    }

    fn enter(&self, user: UserId) -> (OrderLockEntry<'_>, Arc<OrderMutex<()>>) {
        let mut by_user = self.lock();
        let entry = by_user.entry(user).or_insert_with(|| UserLock {
            lock: Arc::default(),
            sends: 0,
        });
        entry.sends += 1;
        let lock = Arc::clone(&entry.lock);
        self.users.store(by_user.len(), Ordering::Release);
        (OrderLockEntry { locks: self, user }, lock)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, FastHashMap<UserId, UserLock>> {
        // Each critical section leaves the counts consistent, so poisoning is ignored.
        self.by_user.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OrderLockEntry<'_> {
    fn drop(&mut self) {
        let mut by_user = self.locks.lock();
        let Some(entry) = by_user.get_mut(&self.user) else {
            return;
        };
        entry.sends -= 1;
        if entry.sends == 0 {
            by_user.remove(&self.user);
        }
        self.locks.users.store(by_user.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;

    use crate::business::{BusinessBackend, OpenBusiness, UserInfo};
    use crate::error::RequestRefusal;
    use crate::id::{DeviceId, UserId};
    use crate::memory;
    use crate::message::{MessageDraft, MessageSender};
    use crate::node::NodeBuilder;

    /// A backend whose first call is slow.
    #[derive(Debug, Default)]
    struct SlowFirstBusiness(AtomicBool);

    #[async_trait]
    impl BusinessBackend for SlowFirstBusiness {
        async fn auth(&self, _: UserId, _: DeviceId, _: &str) -> Result<(), RequestRefusal> {
            Ok(())
        }

        async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
            if !self.0.swap(true, Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            OpenBusiness.users(users).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sends_started_in_order_are_stored_in_order() {
        let node =
            NodeBuilder::new(memory::stores(), Arc::new(SlowFirstBusiness::default())).start();
        let sender = MessageSender::User {
            user: UserId::new(1).unwrap(),
            device: DeviceId::new(1),
        };
        let sends = (1..=100).map(|n| {
            // Another receiver each: a cached profile of one does not help the next.
            let draft = MessageDraft::text(UserId::new(1 + n).unwrap(), &n.to_string());
            node.service().send(sender, draft)
        });
        let sent = futures_util::future::join_all(sends).await;
        let seqs: Vec<u64> = sent.into_iter().map(|s| s.unwrap().seq.get()).collect();
        assert_eq!(seqs, (1..=100).collect::<Vec<_>>());
        node.stop().await;
    }

    /// A backend that never returns user 5000.
    #[derive(Debug)]
    struct PartlyHangingBusiness;

    #[async_trait]
    impl BusinessBackend for PartlyHangingBusiness {
        async fn auth(&self, _: UserId, _: DeviceId, _: &str) -> Result<(), RequestRefusal> {
            Ok(())
        }

        async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
            if users.iter().any(|user| user.get() == 5_000) {
                std::future::pending::<()>().await;
            }
            OpenBusiness.users(users).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_users_slow_send_holds_up_another_user() {
        let node = NodeBuilder::new(memory::stores(), Arc::new(PartlyHangingBusiness)).start();
        let send = |from: u64, to: u64| {
            let sender = MessageSender::User {
                user: UserId::new(from).unwrap(),
                device: DeviceId::new(from),
            };
            node.service()
                .send(sender, MessageDraft::text(UserId::new(to).unwrap(), "hi"))
        };
        let slow: Vec<_> = (1..=3_000).map(|from| send(10 + from, 5_000)).collect();
        let began = tokio::time::Instant::now();
        for victim in 1..=5 {
            send(victim, 6).await.unwrap();
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        let refused = futures_util::future::join_all(slow).await;
        assert!(
            refused
                .iter()
                .all(|sent| *sent == Err(RequestRefusal::Unavailable))
        );
        assert!(
            node.service().inner.order.is_idle(),
            "a lock was left behind"
        );
        node.stop().await;
    }
}
