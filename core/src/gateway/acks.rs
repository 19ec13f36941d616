//! Acks, gathered and written in batches: a lost one costs a repeat at most (law 9).

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Inner;
use crate::id::{DeviceId, UserId};
use crate::map::Map;
use crate::seq::Seq;
use crate::store::AckMark;

/// Acks of one call to the logic role.
const BATCH: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Acks {
    pending: Mutex<Map<(UserId, DeviceId), Seq>>,
    /// Something is pending.
    some: Notify,
    /// A connection has ended: do not wait for the period.
    now: Notify,
}

impl Acks {
    pub(super) fn note(&self, user: UserId, device: DeviceId, upto: Seq) {
        let mut pending = self.lock();
        let place = pending.entry((user, device)).or_default();
        *place = (*place).max(upto);
        drop(pending);
        self.some.notify_one();
    }

    /// What this device has acked and is not yet written.
    pub(super) fn pending(&self, user: UserId, device: DeviceId) -> Seq {
        self.lock()
            .get(&(user, device))
            .copied()
            .unwrap_or_default()
    }

    /// Writes soon: a connection has ended.
    pub(super) fn hurry(&self) {
        self.now.notify_one();
    }

    fn take(&self) -> Vec<AckMark> {
        let mut pending = self.lock();
        let taken: Vec<_> = pending
            .iter()
            .take(BATCH)
            .map(|(&(user, device), &upto)| AckMark { user, device, upto })
            .collect();
        for ack in &taken {
            pending.remove(&(ack.user, ack.device));
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Map<(UserId, DeviceId), Seq>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is pending, every `ack_flush`, when a connection ends, and at the end.
pub(super) async fn run(inner: &Inner) {
    loop {
        tokio::select! {
            biased;
            () = inner.token.cancelled() => break,
            () = inner.acks.some.notified() => {}
        }
        tokio::select! {
            () = inner.token.cancelled() => {}
            () = inner.acks.now.notified() => {}
            () = tokio::time::sleep(inner.limits.ack_flush) => {}
        }
        flush(inner).await;
    }
    flush(inner).await;
}

async fn flush(inner: &Inner) {
    loop {
        let acks = inner.acks.take();
        if acks.is_empty() {
            return;
        }
        if let Err(error) = inner.logic.ack(&acks).await {
            tracing::debug!(%error, acks = acks.len(), "acks were not written; they cost a repeat");
            return;
        }
    }
}
