//! The writer of best-effort events: those of rooms and of presence, whose subjects are not durable
//! themselves. They are collected and stored in batches, so that neither a room nor a sign-in waits
//! for the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::ErrorChain;
use crate::events::{EventSubscriptions, NewEvent};
use crate::store::OutboxStore;

/// Events that wait to be stored; further ones are dropped.
const EVENT_QUEUE_LEN: usize = 4_096;
/// Events stored in one step.
const EVENTS_PER_PUT: usize = 256;
/// Pause after a failure of the store.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Time that a stop waits for the store to take the events that still wait.
const LAST_PUT_TIMEOUT: Duration = Duration::from_secs(2);

/// Entry point of the writer. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct EventWriter {
    /// `None` if there are no hooks.
    queue: Option<mpsc::Sender<NewEvent>>,
    dropped: Arc<AtomicU64>,
}

impl EventWriter {
    /// Starts the writer's task on the tracker; without hooks there is none.
    pub(super) fn start(
        outbox: &Arc<dyn OutboxStore>,
        subscriptions: &EventSubscriptions,
        tracker: &TaskTracker,
        token: &CancellationToken,
    ) -> Self {
        let dropped = Arc::new(AtomicU64::new(0));
        if subscriptions.is_empty() {
            let queue = None;
            return Self { queue, dropped };
        }
        let (queue, waiting) = mpsc::channel(EVENT_QUEUE_LEN);
        let task = WriterTask {
            outbox: Arc::clone(outbox),
            waiting,
            dropped: Arc::clone(&dropped),
        };
        tracker.spawn(task.run(token.clone()));
        let queue = Some(queue);
        Self { queue, dropped }
    }

    /// Hands an event to the writer; drops it if too many wait.
    pub(super) fn write(&self, event: NewEvent) {
        let Some(queue) = &self.queue else {
            return;
        };
        if queue.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            crate::error_rated!("event of a room or of presence dropped: too many wait");
        }
    }

    /// Returns the number of events that were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The task of the writer.
struct WriterTask {
    outbox: Arc<dyn OutboxStore>,
    waiting: mpsc::Receiver<NewEvent>,
    dropped: Arc<AtomicU64>,
}

impl WriterTask {
    /// Runs until the token is cancelled, and then stores what still waits, once.
    async fn run(mut self, token: CancellationToken) {
        let mut batch = Vec::new();
        'running: loop {
            let received = self.waiting.recv_many(&mut batch, EVENTS_PER_PUT);
            match token.run_until_cancelled(received).await {
                Some(0) => return,
                Some(_) => {}
                None => break,
            }
            // A failed put is repeated with the same ids, so that a receiver recognises events that
            // the first attempt had stored after all.
            while !self.put(&batch).await {
                let pause = tokio::time::sleep(RETRY_INTERVAL);
                if token.run_until_cancelled(pause).await.is_none() {
                    break 'running;
                }
            }
            batch.clear();
        }
        self.waiting.close();
        while let Ok(event) = self.waiting.try_recv() {
            batch.push(event);
        }
        let last = timeout(LAST_PUT_TIMEOUT, self.put(&batch)).await;
        if last != Ok(true) && !batch.is_empty() {
            self.dropped
                .fetch_add(batch.len() as u64, Ordering::Relaxed);
            crate::error_rated!(
                events = batch.len(),
                "events of rooms or of presence dropped at the stop: the store did not take them"
            );
        }
    }

    async fn put(&self, events: &[NewEvent]) -> bool {
        if events.is_empty() {
            return true;
        }
        match self.outbox.put(events).await {
            Ok(()) => {
                for event in events {
                    event.hooks.notify();
                }
                true
            }
            Err(error) => {
                let error = ErrorChain(&error);
                crate::warn_rated!(%error, "events of rooms or of presence not stored, retrying");
                false
            }
        }
    }
}
