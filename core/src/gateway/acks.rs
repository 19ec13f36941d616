//! Acks, gathered and written in batches: a lost one costs a repeat at most (law 9).
//!
//! A mark stays visible here until the store has it. [`Acks::noted`] is therefore read before the
//! stored marks, never after them: a write that ends between the two reads is then seen twice instead
//! of not at all.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Inner;
use crate::id::{DeviceId, UserId};
use crate::map::Map;
use crate::seq::Seq;
use crate::store::AckMark;

/// Acks of one call to the logic role.
const BATCH: usize = 1_000;

/// The largest ack of each device.
type Marks = Map<(UserId, DeviceId), Seq>;

/// Marks that the store does not have yet.
#[derive(Debug, Default)]
struct Unwritten {
    /// Noted since the last write began.
    pending: Marks,
    /// Handed to the store, which has not answered.
    writing: Marks,
}

#[derive(Debug, Default)]
pub(super) struct Acks {
    unwritten: Mutex<Unwritten>,
    /// Something is pending.
    some: Notify,
    /// A connection has ended: do not wait for the period.
    now: Notify,
}

impl Acks {
    pub(super) fn note(&self, user: UserId, device: DeviceId, upto: Seq) {
        let mut marks = self.lock();
        let mark = marks.pending.entry((user, device)).or_default();
        *mark = (*mark).max(upto);
        drop(marks);
        self.some.notify_one();
    }

    /// What this device has acked and the store may not have; read it before the stored marks.
    pub(super) fn noted(&self, user: UserId, device: DeviceId) -> Seq {
        let marks = self.lock();
        let of = |from: &Marks| from.get(&(user, device)).copied().unwrap_or_default();
        of(&marks.pending).max(of(&marks.writing))
    }

    /// Writes soon: a connection has ended.
    pub(super) fn hurry(&self) {
        self.now.notify_one();
    }

    /// Begins a write: the marks of one batch, which stay visible until [`end_write`](Self::end_write).
    fn begin_write(&self) -> Vec<AckMark> {
        let mut marks = self.lock();
        let batch: Vec<_> = marks
            .pending
            .iter()
            .take(BATCH)
            .map(|(&(user, device), &upto)| AckMark { user, device, upto })
            .collect();
        for ack in &batch {
            let device = (ack.user, ack.device);
            marks.pending.remove(&device);
            marks.writing.insert(device, ack.upto);
        }
        batch
    }

    /// The write has ended. Marks of a failed one are dropped: they cost a repeat, and a store that
    /// is away for long must not make them pile up.
    fn end_write(&self) {
        self.lock().writing = Marks::default();
    }

    fn lock(&self) -> MutexGuard<'_, Unwritten> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
        let acks = inner.acks.begin_write();
        if acks.is_empty() {
            return;
        }
        let written = inner.logic.ack(&acks).await;
        inner.acks.end_write();
        if let Err(error) = written {
            tracing::debug!(%error, acks = acks.len(), "acks were not written; they cost a repeat");
            return;
        }
    }
}
