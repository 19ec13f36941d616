//! Whose turn it is: the sends of one user enter the lane in the order in which they were asked
//! for, however long the checks of each take.

use tokio::sync::{Mutex, MutexGuard};

use crate::id::UserId;

/// Users share a turn with few others: of a thousand sends under way at once, one waits for a
/// stranger's checks.
const TURNS: usize = 1_024;

/// The turns of a node.
#[derive(Debug)]
pub(super) struct Turns(Vec<Mutex<()>>);

/// Held from the first check of a send until it is in the lane.
pub(super) type Turn<'a> = MutexGuard<'a, ()>;

impl Default for Turns {
    fn default() -> Self {
        Self((0..TURNS).map(|_| Mutex::default()).collect())
    }
}

impl Turns {
    /// The user's turn, if nobody has it or waits for it.
    pub(super) fn try_take(&self, user: UserId) -> Option<Turn<'_>> {
        let at = usize::try_from(user.get() % TURNS as u64).ok()?;
        self.0.get(at)?.try_lock().ok()
    }

    /// Waits for the user's turn; turns are given in the order in which they were asked for.
    pub(super) async fn take(&self, user: UserId) -> Option<Turn<'_>> {
        let at = usize::try_from(user.get() % TURNS as u64).ok()?;
        Some(self.0.get(at)?.lock().await)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;

    use crate::business::{Business, Open, UserInfo};
    use crate::error::Refusal;
    use crate::id::{DeviceId, UserId};
    use crate::memory;
    use crate::message::{Draft, Sender};
    use crate::node::NodeBuilder;

    /// Takes long to say who users are, the first time.
    #[derive(Debug, Default)]
    struct SlowOnce(AtomicBool);

    #[async_trait]
    impl Business for SlowOnce {
        async fn auth(&self, _: UserId, _: DeviceId, _: &str) -> Result<(), Refusal> {
            Ok(())
        }

        async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, Refusal> {
            if !self.0.swap(true, Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Open.users(users).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sends_asked_for_in_order_are_stored_in_order() {
        let node = NodeBuilder::new(memory::stores(), Arc::new(SlowOnce::default())).start();
        let sender = Sender::User {
            user: UserId::new(1).unwrap(),
            device: DeviceId::new(1),
        };
        let sends = (1..=100).map(|n| {
            // Another receiver each: what is known of one says nothing of the next.
            let draft = Draft::text(UserId::new(1 + n).unwrap(), &n.to_string());
            node.service().send(sender, draft)
        });
        let sent = futures_util::future::join_all(sends).await;
        let seqs: Vec<u64> = sent.into_iter().map(|s| s.unwrap().seq.get()).collect();
        assert_eq!(seqs, (1..=100).collect::<Vec<_>>());
        node.stop().await;
    }
}
