//! Acks, collected and written in batches. A lost ack costs at most a repeat (law 9).
//!
//! A mark stays visible here until the store has it. [`PendingAcks::noted`] must therefore be read
//! before the stored marks and never after them: a write that ends between the two reads is then
//! seen twice instead of not at all.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::context::GatewayContext;
use crate::id::{DeviceId, UserId};
use crate::map::FastHashMap;
use crate::seq::Seq;
use crate::store::AckMark;

/// Maximum number of acks in one call to the logic role.
pub(super) const ACKS_PER_CALL: usize = 1_000;

/// Largest acked seq of each device.
type AckMarks = FastHashMap<(UserId, DeviceId), Seq>;

/// Acks that the store does not have yet.
#[derive(Debug, Default)]
struct UnwrittenAcks {
    /// Recorded since the last write began.
    pending: AckMarks,
    /// Handed to the store, which has not answered yet.
    writing: AckMarks,
}

#[derive(Debug, Default)]
pub(super) struct PendingAcks {
    unwritten: Mutex<UnwrittenAcks>,
    /// Notified when a mark is pending.
    some: Notify,
    /// Notified when a connection has ended, so that the write does not wait for the period.
    now: Notify,
}

impl PendingAcks {
    pub(super) fn note(&self, user: UserId, device: DeviceId, upto: Seq) {
        let mut marks = self.lock();
        let mark = marks.pending.entry((user, device)).or_default();
        *mark = (*mark).max(upto);
        drop(marks);
        self.some.notify_one();
    }

    /// Returns the last ack of this device that the store may not have. Read it before the stored
    /// marks.
    pub(super) fn noted(&self, user: UserId, device: DeviceId) -> Seq {
        let marks = self.lock();
        let of = |from: &AckMarks| from.get(&(user, device)).copied().unwrap_or_default();
        of(&marks.pending).max(of(&marks.writing))
    }

    /// Requests a write without waiting for the period, because a connection has ended.
    pub(super) fn hurry(&self) {
        self.now.notify_one();
    }

    /// Begins a write of one batch of marks, which stay visible until
    /// [`end_write`](Self::end_write).
    fn begin_write(&self) -> Vec<AckMark> {
        let mut marks = self.lock();
        let batch: Vec<_> = marks
            .pending
            .iter()
            .take(ACKS_PER_CALL)
            .map(|(&(user, device), &upto)| AckMark { user, device, upto })
            .collect();
        for ack in &batch {
            let device = (ack.user, ack.device);
            marks.pending.remove(&device);
            marks.writing.insert(device, ack.upto);
        }
        batch
    }

    /// Ends a write. Marks of a failed write are dropped: they cost a repeat, and they must not
    /// pile up while the store is unavailable.
    fn end_write(&self) {
        self.lock().writing = AckMarks::default();
    }

    /// Requests another write if marks are pending.
    fn rest(&self) {
        if !self.lock().pending.is_empty() {
            self.some.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, UnwrittenAcks> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes pending acks every `ack_flush`, when a connection ends, and at shutdown.
pub(super) async fn run(acks: &PendingAcks, context: &GatewayContext) {
    loop {
        tokio::select! {
            biased;
            () = context.token.cancelled() => break,
            () = acks.some.notified() => {}
        }
        tokio::select! {
            () = context.token.cancelled() => {}
            () = acks.now.notified() => {}
            () = tokio::time::sleep(context.limits.ack_flush) => {}
        }
        flush(acks, context).await;
    }
    flush(acks, context).await;
}

async fn flush(pending: &PendingAcks, context: &GatewayContext) {
    loop {
        let acks = pending.begin_write();
        if acks.is_empty() {
            return;
        }
        let written = context.logic.ack(&acks).await;
        pending.end_write();
        if let Err(error) = written {
            tracing::debug!(%error, acks = acks.len(), "acks not written; repeats are possible");
            // The marks beyond the batch are still pending. They are written after the next period,
            // without waiting for another ack.
            pending.rest();
            return;
        }
    }
}
