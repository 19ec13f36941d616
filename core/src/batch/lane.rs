//! The lane: forms batches, has them stored one after another, answers, and hands on the pushes.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::poll_immediate;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::envelope::{Envelope, Parcel};
use crate::error::Refusal;
use crate::fanout::Fanout;
use crate::id::GroupId;
use crate::limits::{Limits, PART};
use crate::message::Receiver;
use crate::service::janitor::Retention;
use crate::service::job::Jobs;
use crate::store::{Append, Appended, InboxStore};
use crate::wakes::Wakes;

use super::ticket::Ticket;

/// Batches whose pushes to other nodes may wait; beyond it they are dropped (law 6).
const REMOTE_QUEUE: usize = 64;

/// A send that waits for its batch.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) append: Append,
    pub(super) envelope: Arc<Envelope>,
    pub(super) ticket: Ticket,
    /// Its share of the bytes that may wait, given back when it is answered or dropped.
    pub(super) held: OwnedSemaphorePermit,
}

impl Waiting {
    fn entries(&self) -> usize {
        self.append.recipients.len().min(PART)
    }

    /// Bodies stand in the rows of up to two recipients, and once otherwise.
    fn bytes(&self) -> usize {
        self.append.message.content.len() * self.append.recipients.len().clamp(1, 2)
    }
}

/// How much of a batch is taken.
#[derive(Debug, Default)]
struct Room {
    sends: usize,
    entries: usize,
    bytes: usize,
}

/// The one lane of a node.
#[derive(Debug)]
pub(super) struct Lane {
    inbox: Arc<dyn InboxStore>,
    most: Room,
    tracker: TaskTracker,
    fanout: Fanout,
    jobs: Jobs,
    retention: Retention,
}

impl Lane {
    pub(super) fn new(
        inbox: Arc<dyn InboxStore>,
        limits: &Limits,
        tracker: TaskTracker,
        fanout: Fanout,
        jobs: Jobs,
        retention: Retention,
    ) -> Self {
        let most = Room {
            sends: limits.batch_sends,
            entries: limits.batch_entries,
            bytes: limits.batch_bytes,
        };
        Self {
            inbox,
            most,
            tracker,
            fanout,
            jobs,
            retention,
        }
    }

    /// Runs until the token is cancelled and the queue is empty.
    pub(super) async fn run(self, mut waiting: mpsc::Receiver<Waiting>, token: CancellationToken) {
        let mut pushes = Pushes {
            fanout: self.fanout.clone(),
            remote: self.start_remote(),
            parcels: Vec::new(),
        };
        let mut carried: Option<Waiting> = None;
        loop {
            // Also under a load that always leaves something over.
            if token.is_cancelled() {
                waiting.close();
            }
            let at_once = carried.take().or_else(|| waiting.try_recv().ok());
            let first = if let Some(first) = at_once {
                first
            } else {
                pushes.deliver();
                let Some(first) = next(&mut waiting, &token).await else {
                    return;
                };
                first
            };
            let (batch, over) = self.form(first, &mut waiting);
            carried = over;
            if !batch.is_empty() {
                self.commit(batch, &mut pushes).await;
            }
        }
    }

    /// Pushes to other nodes go out in batch order, beside the lane: a slow route read delays
    /// nothing but pushes. The task ends when the lane has dropped the queue.
    fn start_remote(&self) -> mpsc::Sender<Vec<Parcel>> {
        let (remote, mut parcels) = mpsc::channel::<Vec<Parcel>>(REMOTE_QUEUE);
        let fanout = self.fanout.clone();
        self.tracker.spawn(async move {
            while let Some(parcels) = parcels.recv().await {
                fanout.remote(parcels).await;
            }
        });
        remote
    }

    /// Takes what waits, up to the bounds of a batch. What does not fit opens the next one; a send
    /// larger than a batch is one by itself.
    fn form(
        &self,
        first: Waiting,
        waiting: &mut mpsc::Receiver<Waiting>,
    ) -> (Vec<Waiting>, Option<Waiting>) {
        let mut batch = Vec::new();
        let mut taken = Room::default();
        let mut candidate = Some(first);
        while let Some(send) = candidate {
            let fits = batch.is_empty()
                || (taken.sends < self.most.sends
                    && taken.entries + send.entries() <= self.most.entries
                    && taken.bytes + send.bytes() <= self.most.bytes);
            if !fits {
                return (batch, Some(send));
            }
            if send.ticket.start() {
                taken.sends += 1;
                taken.entries += send.entries();
                taken.bytes += send.bytes();
                batch.push(send);
            }
            if taken.sends >= self.most.sends {
                break;
            }
            candidate = waiting.try_recv().ok();
        }
        (batch, None)
    }

    /// Stores a batch and answers; its pushes follow while the next one commits, or at once if
    /// there is none.
    async fn commit(&self, batch: Vec<Waiting>, pushes: &mut Pushes) {
        let mut appends = Vec::with_capacity(batch.len());
        let mut askers = Vec::with_capacity(batch.len());
        // Given back when the batch is answered.
        let mut held = Vec::with_capacity(batch.len());
        let groups: HashSet<GroupId> = batch.iter().filter_map(|it| it.append.group()).collect();
        for send in batch {
            appends.push(send.append);
            askers.push((send.envelope, send.ticket));
            held.push(send.held);
        }
        let inbox = Arc::clone(&self.inbox);
        let storing = async move {
            let outcome = inbox.append(&appends).await;
            (appends, outcome)
        };
        let mut storing = Box::pin(AssertUnwindSafe(storing).catch_unwind());
        // A store that need not wait has answered by now, and saves a task and a turn of it.
        let stored = if let Some(stored) = poll_immediate(&mut storing).await {
            pushes.deliver();
            stored.map_err(|_| ())
        } else {
            // In a task of its own: neither a shutdown nor a panic of the store cuts the lane.
            let stored = self.tracker.spawn(storing);
            pushes.deliver();
            stored
                .await
                .map_err(|_| ())
                .and_then(|it| it.map_err(|_| ()))
        };
        let refusal = match stored {
            Ok((appends, Ok(outcomes))) if outcomes.len() == askers.len() => {
                pushes.parcels = self.finish(&appends, askers, outcomes);
                return;
            }
            Ok((_, Ok(outcomes))) => {
                let (asked, got) = (askers.len(), outcomes.len());
                crate::error_rated!(asked, got, "the store answered another number of sends");
                Refusal::Unknown
            }
            Ok((_, Err(error))) => {
                let error_chain = &error as &dyn std::error::Error;
                crate::warn_rated!(
                    error = error_chain,
                    sends = askers.len(),
                    "batch not stored"
                );
                Refusal::from(error)
            }
            Err(()) => {
                crate::error_rated!("the store panicked");
                Refusal::Unknown
            }
        };
        if refusal == Refusal::Unknown {
            // What was stored nevertheless may have left jobs.
            for group in groups {
                self.jobs.wake(group);
            }
        }
        let mut wakes = Wakes::default();
        for (_, ticket) in askers {
            wakes.add(ticket.answer(Err(refusal.clone())));
        }
    }

    fn finish(
        &self,
        appends: &[Append],
        askers: Vec<(Arc<Envelope>, Ticket)>,
        outcomes: Vec<Appended>,
    ) -> Vec<Parcel> {
        let mut parcels = Vec::with_capacity(outcomes.len());
        let mut wakes = Wakes::default();
        for ((append, (envelope, ticket)), outcome) in appends.iter().zip(askers).zip(outcomes) {
            if let Appended::Stored { seqs, job } = &outcome {
                if let (true, Receiver::Group(group)) = (*job, append.message.receiver) {
                    self.jobs.wake(group);
                }
                self.retention.note(seqs);
                parcels.push(Parcel::Entries {
                    envelope,
                    to: seqs.clone(),
                });
            }
            wakes.add(ticket.answer(Ok(outcome)));
        }
        parcels
    }
}

/// The pushes of the batch that was stored last, and where they go.
#[derive(Debug)]
struct Pushes {
    fanout: Fanout,
    remote: mpsc::Sender<Vec<Parcel>>,
    parcels: Vec<Parcel>,
}

impl Pushes {
    /// Hands them on; does not wait.
    fn deliver(&mut self) {
        let parcels = std::mem::take(&mut self.parcels);
        if parcels.is_empty() {
            return;
        }
        self.fanout.local(&parcels);
        if self.fanout.is_alone() {
            return;
        }
        if let Err(error) = self.remote.try_send(parcels) {
            crate::warn_rated!(%error, "pushes to other nodes dropped: their readers get it later");
        }
    }
}

/// The next send; once the token is cancelled the queue takes no more and runs empty.
async fn next(waiting: &mut mpsc::Receiver<Waiting>, token: &CancellationToken) -> Option<Waiting> {
    tokio::select! {
        biased;
        () = token.cancelled(), if !waiting.is_closed() => waiting.close(),
        next = waiting.recv() => return next,
    }
    waiting.recv().await
}
