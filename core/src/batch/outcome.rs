//! The end of a batch: each of its sends is answered, planned again, or deferred.

use std::sync::Arc;

use tokio::time::Instant;

use crate::delivery::DeliveryBatch;
use crate::error::RequestRefusal;
use crate::events::EventHooks;
use crate::id::GroupId;
use crate::message::MessageReceiver;
use crate::roster::CachedRoster;
use crate::store::{AppendOutcome, AppendRequest, StoreErrorKind};
use crate::wake_list::WakeList;

use super::queued_send::{CallerContext, QueuedSend};
use super::replan::{MAX_REPLANS, ReplanOutcome};
use super::writer::{BatchOutcome, BatchWriter, RunningBatch};

impl BatchWriter {
    /// Ends a batch: releases its users and groups, then answers its sends, plans them again or
    /// defers them.
    ///
    /// Everything here is one synchronous step, so the batch is released and answered before the
    /// writer can start another batch of the same users.
    pub(super) fn end(&mut self, running: RunningBatch, outcome: BatchOutcome) {
        let RunningBatch {
            id,
            appends,
            callers,
            cautious,
            began,
        } = running;
        if self.concurrency > 1 {
            self.running_ids.remove(&id);
            self.in_flight.release(&appends);
        }
        self.parked.look_again = true;
        self.aside.look_again(began);
        let is_locked =
            matches!(&outcome, Some(Err(error)) if error.kind == StoreErrorKind::Contended);
        if is_locked {
            return self.set_aside(&appends, callers, cautious);
        }
        if cautious.is_some() {
            self.aside.ended(&appends);
        }
        let sends = callers.len();
        match outcome {
            Some(Ok(outcomes)) if outcomes.len() == sends => {
                let took = began.elapsed();
                self.queue.statistics.record(sends, took);
                self.finish(&appends, callers, outcomes, took.as_secs_f64());
            }
            Some(Ok(outcomes)) => {
                let answered = outcomes.len();
                crate::error_rated!(
                    sends,
                    answered,
                    "store returned the wrong number of outcomes"
                );
                self.refuse(&appends, callers, &RequestRefusal::Unknown);
            }
            Some(Err(error)) => {
                let error_chain = &error as &dyn std::error::Error;
                crate::warn_rated!(error = error_chain, sends, "batch not stored");
                self.refuse(&appends, callers, &RequestRefusal::from(error));
            }
            None => {
                crate::error_rated!("store panicked");
                self.refuse(&appends, callers, &RequestRefusal::Unknown);
            }
        }
    }

    /// Answers the sends of a batch that was stored, and records their pushes.
    fn finish(
        &mut self,
        appends: &[AppendRequest],
        callers: Vec<CallerContext>,
        outcomes: Vec<AppendOutcome>,
        took: f64,
    ) {
        let mut deliveries = Vec::with_capacity(outcomes.len());
        let mut written = Vec::new();
        // The tasks are woken after the loop: one that was woken at its own answer would run while
        // the others of the batch are still being answered.
        let mut wake_list = WakeList::default();
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let (sends, side_by_side) = (outcomes.len() as f64, (self.running_ids.len() + 1) as f64);
        self.seconds_per_send = Some(took / sends / side_by_side);
        for ((append, mut caller), outcome) in appends.iter().zip(callers).zip(outcomes) {
            match &outcome {
                AppendOutcome::Stored { seqs, job } => {
                    if let (true, MessageReceiver::Group(group)) = (*job, append.message.receiver) {
                        let share = caller.job_share.take();
                        self.jobs.opened(group, append.recipients.len(), share);
                    }
                    self.retention.note(seqs);
                    if !append.hooks.is_empty() {
                        written.push(&append.hooks);
                    }
                    deliveries.push(DeliveryBatch::Entries {
                        envelope: Arc::clone(&caller.envelope),
                        to: seqs.clone(),
                    });
                }
                AppendOutcome::Stale if caller.plans < MAX_REPLANS => {
                    caller.plans += 1;
                    self.plan_again(append, caller);
                    continue;
                }
                AppendOutcome::Stale => {
                    self.freed += caller.bytes;
                    wake_list.add(caller.completion.answer(Err(RequestRefusal::Unavailable)));
                    continue;
                }
                AppendOutcome::Repeated { .. } | AppendOutcome::Conflict => {}
            }
            self.freed += caller.bytes;
            wake_list.add(caller.completion.answer(Ok(outcome)));
        }
        // Before the next batch is formed: the answer must not wait for it.
        drop(wake_list);
        written.into_iter().for_each(EventHooks::notify);
        self.pushes.add(deliveries);
    }

    /// Refuses all sends of a batch that failed.
    fn refuse(
        &mut self,
        appends: &[AppendRequest],
        callers: Vec<CallerContext>,
        refusal: &RequestRefusal,
    ) {
        self.queue.statistics.record_failure();
        if *refusal == RequestRefusal::Unknown {
            // The store may have kept the batch nevertheless and opened jobs, so the job runner
            // looks.
            for group in appends.iter().filter_map(AppendRequest::group) {
                self.jobs.wake(group);
            }
        }
        let mut wake_list = WakeList::default();
        for caller in callers {
            self.freed += caller.bytes;
            wake_list.add(caller.completion.answer(Err(refusal.clone())));
        }
    }

    /// Answers one send that is in no batch.
    pub(super) fn answer(
        &mut self,
        caller: CallerContext,
        answer: Result<AppendOutcome, RequestRefusal>,
    ) {
        self.freed += caller.bytes;
        if let Some(waker) = caller.completion.answer(answer) {
            waker.wake();
        }
    }

    /// Answers a send that cannot be stored after it was planned again.
    pub(super) fn answer_plan(&mut self, send: QueuedSend, plan: ReplanOutcome) {
        let answer = match plan {
            ReplanOutcome::Refused(refusal) => Err(refusal),
            // A send without recipients counts as stored.
            ReplanOutcome::Nobody | ReplanOutcome::Made => Ok(AppendOutcome::Stored {
                seqs: Vec::new(),
                job: false,
            }),
        };
        self.answer(send.caller, answer);
    }

    /// Defers the sends of a batch that met a lock; nothing of the batch was stored.
    fn set_aside(
        &mut self,
        appends: &[AppendRequest],
        callers: Vec<CallerContext>,
        cautious: Option<Instant>,
    ) {
        let mut again = Vec::with_capacity(callers.len());
        for (append, caller) in appends.iter().zip(callers) {
            if caller.completion.restart() {
                let append = append.clone();
                again.push(QueuedSend { append, caller });
            } else {
                if cautious.is_some() {
                    self.aside.forget(append);
                }
                self.freed += caller.bytes;
            }
        }
        let now = Instant::now();
        match cautious {
            Some(until) => self.aside.give_back(again, until, now),
            None => self.aside.add_batch(again, now),
        }
    }

    fn plan_again(&mut self, append: &AppendRequest, caller: CallerContext) {
        match append.roster {
            Some((group, _)) if caller.completion.restart() => {
                let append = append.clone();
                self.replans.add(group, QueuedSend { append, caller });
            }
            _ => self.freed += caller.bytes,
        }
    }

    /// Plans the sends that waited for this roster, and answers those that cannot be stored.
    pub(super) fn planned(
        &mut self,
        group: GroupId,
        roster: Result<Arc<CachedRoster>, RequestRefusal>,
    ) {
        let answered = self.replans.plan_waiting(group, roster, Instant::now());
        for (send, plan) in answered {
            self.answer_plan(send, plan);
        }
        self.parked.look_again = true;
    }
}
