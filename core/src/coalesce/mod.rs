//! Batches concurrent calls: callers that need one value each share one load.
//!
//! A call starts a worker if fewer than the allowed number run; calls that arrive meanwhile form
//! its batch, and calls that arrive while all workers load form the next batch. There is no timer,
//! so a lone call is not delayed. A value is loaded after its call began, never before: a caller
//! sees every change that was complete when it called.
//!
//! A [`RequestCoalescer`] keeps four promises:
//! - **Bounded.** At most [`queue_len`](CoalescerLimits::queue_len) calls wait, a load has at most
//!   [`batch_len`](CoalescerLimits::batch_len) keys, and at most
//!   [`concurrency`](CoalescerLimits::concurrency) loads run.
//! - **Deadline-keeping.** A call is answered within
//!   [`call_timeout`](CoalescerLimits::call_timeout), even if the loader hangs. A load is dropped
//!   after [`load_timeout`](CoalescerLimits::load_timeout), so a loader that hangs occupies its
//!   worker no longer than that.
//! - **Panic-safe.** A panic of the loader answers all calls of its batch with
//!   [`CoalescerError::NoAnswer`]; the next batch is loaded as usual.
//! - **Cancel-safe.** A caller may drop its call at any time. A call that was dropped while it
//!   waited is left out of its batch, and a batch without calls is not loaded. A load that has
//!   begun continues even if all its callers are gone, because it may be in the middle of a
//!   change.
//!
//! The batch writer of sends (`crate::batch`) is not built on this: it keeps the order of each
//! sender, and is fair between senders.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Loads the values of one batch of calls.
pub trait BatchLoader: Send + Sync + 'static {
    /// The subject of a call.
    type Key: Send + Sync + 'static;
    /// The answer to one key.
    type Value: Send + 'static;
    /// The error of a whole load; each call of the batch gets a clone.
    type Error: Clone + Send + 'static;

    /// Loads one value for each key, in the order of the keys. A key may occur several times.
    ///
    /// The future is dropped after [`CoalescerLimits::load_timeout`]. A loader that changes data
    /// must therefore do it in a step that completes, or does nothing, when its future is dropped.
    fn load(
        &self,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<Vec<Self::Value>, Self::Error>> + Send;

    /// Notes that [`load`](Self::load) panicked, or returned another number of values than keys, so
    /// that this number of calls got no answer. The default does nothing.
    fn note_no_answer(&self, calls: usize) {
        let _ = calls;
    }
}

/// Bounds of a coalescer.
#[derive(Clone, Copy, Debug)]
pub struct CoalescerLimits {
    /// Maximum number of calls that wait for a worker; further calls are refused.
    pub queue_len: usize,
    /// Maximum number of keys in one load.
    pub batch_len: usize,
    /// Maximum number of loads at the same time. More than one, if a load that hangs must not
    /// delay the others.
    pub concurrency: usize,
    /// Time after which a call is given up.
    pub call_timeout: Duration,
    /// Time after which a load is given up: longer than the loader's own time limits, which report
    /// the reason.
    pub load_timeout: Duration,
}

/// Reasons a call has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoalescerError<E> {
    /// The queue is full; nothing was loaded for this call.
    QueueFull,
    /// The coalescer was stopped before the call; nothing was loaded for it.
    Stopped,
    /// The call was not answered in time. Its key may have been loaded.
    TimedOut,
    /// The loader panicked, or did not return one value for each key.
    NoAnswer,
    /// The loader failed.
    Failed(E),
}

/// The answer to a call.
type CallResult<L> = Result<<L as BatchLoader>::Value, CoalescerError<<L as BatchLoader>::Error>>;

/// Answers calls by loads that many of them share; see the [module](self).
pub struct RequestCoalescer<L: BatchLoader> {
    shared: Arc<CoalescerShared<L>>,
}

/// State shared by the callers and the workers.
struct CoalescerShared<L: BatchLoader> {
    loader: L,
    limits: CoalescerLimits,
    tasks: TaskTracker,
    stop: CancellationToken,
    queue: Mutex<CallQueue<L>>,
}

/// Waiting calls and running workers.
///
/// Invariant: while calls wait, a worker is about to take its first batch, or `concurrency` workers
/// run. A worker that finds no call therefore leaves under the same lock under which it looked.
struct CallQueue<L: BatchLoader> {
    waiting: VecDeque<QueuedCall<L>>,
    workers: usize,
    /// Set while a worker was started that has not taken its first batch. It will take what
    /// arrives until then, so no other worker is started for it.
    has_starting_worker: bool,
    /// Buffers of workers that have ended, so that a call after an idle time allocates none.
    spare: Vec<CallBatch<L>>,
}

/// A call that waits for a worker.
struct QueuedCall<L: BatchLoader> {
    key: L::Key,
    deadline: Instant,
    reply: oneshot::Sender<CallResult<L>>,
}

/// The calls of one load: keys and replies have the same order.
struct CallBatch<L: BatchLoader> {
    keys: Vec<L::Key>,
    replies: Vec<oneshot::Sender<CallResult<L>>>,
}

impl<L: BatchLoader> fmt::Debug for RequestCoalescer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestCoalescer")
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

impl<L: BatchLoader> RequestCoalescer<L> {
    /// Makes a coalescer whose workers run on `tasks`, only while there are calls. When `stop` is
    /// cancelled, new calls are refused; waiting calls are still loaded and answered.
    pub fn new(
        loader: L,
        limits: CoalescerLimits,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            shared: Arc::new(CoalescerShared {
                loader,
                limits,
                tasks,
                stop,
                queue: Mutex::new(CallQueue {
                    waiting: VecDeque::new(),
                    workers: 0,
                    has_starting_worker: false,
                    spare: Vec::new(),
                }),
            }),
        }
    }

    /// Loads the value of this key, together with the keys of other callers.
    pub async fn call(&self, key: L::Key) -> CallResult<L> {
        let deadline = Instant::now() + self.shared.limits.call_timeout;
        let answered = self.enter(key, deadline)?;
        match timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => answer,
            // The worker was dropped with the runtime.
            Ok(Err(_)) => Err(CoalescerError::NoAnswer),
            Err(_) => Err(CoalescerError::TimedOut),
        }
    }

    /// Queues a call, and starts a worker for it if needed.
    fn enter(
        &self,
        key: L::Key,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<CallResult<L>>, CoalescerError<L::Error>> {
        let shared = &self.shared;
        if shared.stop.is_cancelled() {
            return Err(CoalescerError::Stopped);
        }
        let (reply, answered) = oneshot::channel();
        let starts = {
            let mut queue = shared.lock();
            if queue.waiting.len() >= shared.limits.queue_len {
                return Err(CoalescerError::QueueFull);
            }
            queue.waiting.push_back(QueuedCall {
                key,
                deadline,
                reply,
            });
            queue.add_worker(&shared.limits)
        };
        if starts {
            shared.start_worker();
        }
        Ok(answered)
    }
}

impl<L: BatchLoader> CoalescerShared<L> {
    // Each change of the queue is one step that cannot panic, so poisoning is ignored.
    fn lock(&self) -> MutexGuard<'_, CallQueue<L>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spawns a worker that [`CallQueue::add_worker`] has counted.
    fn start_worker(self: &Arc<Self>) {
        let worker = BatchWorker {
            shared: Arc::clone(self),
            stage: WorkerStage::Starting,
            batch: CallBatch::default(),
        };
        self.tasks.spawn(worker.run());
    }
}

impl<L: BatchLoader> CallQueue<L> {
    /// Counts another worker if the invariant needs one; the caller then starts it, after it has
    /// released the lock.
    fn add_worker(&mut self, limits: &CoalescerLimits) -> bool {
        let starts = !self.waiting.is_empty()
            && !self.has_starting_worker
            && self.workers < limits.concurrency.max(1);
        if starts {
            self.has_starting_worker = true;
            self.workers += 1;
        }
        starts
    }
}

impl<L: BatchLoader> Default for CallBatch<L> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            replies: Vec::new(),
        }
    }
}

impl<L: BatchLoader> CallBatch<L> {
    /// Answers all calls. A call that was dropped meanwhile does not take its answer.
    fn answer(&mut self, loaded: Result<Vec<L::Value>, CoalescerError<L::Error>>) {
        let replies = self.replies.drain(..);
        match loaded {
            Ok(values) => {
                for (reply, value) in replies.zip(values) {
                    let _ = reply.send(Ok(value));
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Progress of a worker, which says what its end has to undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WorkerStage {
    /// Counted, and has not taken its first batch.
    Starting,
    /// Counted.
    Running,
    /// Not counted any more.
    Ended,
}

/// Loads batch after batch until no call waits.
struct BatchWorker<L: BatchLoader> {
    shared: Arc<CoalescerShared<L>>,
    stage: WorkerStage,
    batch: CallBatch<L>,
}

impl<L: BatchLoader> BatchWorker<L> {
    async fn run(mut self) {
        while self.take_batch() {
            let loaded = self.load().await;
            self.batch.answer(loaded);
            // A loader that answers at once never waits: without this, constant load would keep a
            // thread of the runtime.
            tokio::task::coop::consume_budget().await;
        }
    }

    /// Takes the next batch; `false` if no call waits, which ends the worker.
    fn take_batch(&mut self) -> bool {
        let limits = self.shared.limits;
        let now = Instant::now();
        let mut queue = self.shared.lock();
        if self.stage == WorkerStage::Starting {
            self.stage = WorkerStage::Running;
            queue.has_starting_worker = false;
            self.batch = queue.spare.pop().unwrap_or_default();
        }
        self.batch.keys.clear();
        while self.batch.keys.len() < limits.batch_len.max(1)
            && let Some(call) = queue.waiting.pop_front()
        {
            // Dropped from the batch: calls whose caller has gone, and calls whose caller will
            // find its deadline passed when it is polled next.
            if call.deadline > now && !call.reply.is_closed() {
                self.batch.keys.push(call.key);
                self.batch.replies.push(call.reply);
            } else {
                let _ = call.reply.send(Err(CoalescerError::TimedOut));
            }
        }
        if self.batch.keys.is_empty() {
            // Under the lock: a call that enters after this must not count on this worker.
            self.stage = WorkerStage::Ended;
            queue.workers -= 1;
            queue.waiting.shrink_to(limits.batch_len);
            queue.spare.push(std::mem::take(&mut self.batch));
            return false;
        }
        // The calls beyond this batch relied on this worker while it was starting.
        let starts = queue.add_worker(&limits);
        drop(queue);
        if starts {
            self.shared.start_worker();
        }
        true
    }

    /// Loads the batch within its time limit, and catches a panic of the loader.
    async fn load(&self) -> Result<Vec<L::Value>, CoalescerError<L::Error>> {
        let (loader, keys) = (&self.shared.loader, &self.batch.keys);
        // `load` is called inside the block, so that a panic before its first await is caught, too.
        // A loader shares its state with its callers behind locks, as between two tasks, so a panic
        // leaves it as usable as the panic of a task would.
        let load = AssertUnwindSafe(async { loader.load(keys).await }).catch_unwind();
        match timeout(self.shared.limits.load_timeout, load).await {
            Ok(Ok(Ok(values))) if values.len() == keys.len() => Ok(values),
            Ok(Ok(Err(error))) => Err(CoalescerError::Failed(error)),
            Ok(Ok(Ok(_)) | Err(_)) => {
                loader.note_no_answer(keys.len());
                Err(CoalescerError::NoAnswer)
            }
            Err(_) => Err(CoalescerError::TimedOut),
        }
    }
}

impl<L: BatchLoader> Drop for BatchWorker<L> {
    /// Uncounts a worker that was cut off, by the end of its runtime. The calls that it leaves wait
    /// for the worker that the next call starts.
    fn drop(&mut self) {
        if self.stage == WorkerStage::Ended {
            return;
        }
        let mut queue = self.shared.lock();
        queue.workers -= 1;
        if self.stage == WorkerStage::Starting {
            queue.has_starting_worker = false;
        }
    }
}
