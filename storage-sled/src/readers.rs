//! Threads that read the tree, so that a read that waits for the disk blocks no async task.
//!
//! There are few of them: a read costs microseconds, and waking a thread costs as much again. Under
//! load these threads go from one read to the next without sleeping.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{JoinHandle, available_parallelism};

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::oneshot;

use crate::error::EngineError;
use crate::shared::SharedState;

/// Threads per core; more than one, because some wait for the disk.
const THREADS_PER_CORE: usize = 2;

type ReadTask = Box<dyn FnOnce(&SharedState) + Send>;

/// The queue to the threads. It is unbounded, because each caller waits for its answer and so adds
/// one read at most.
#[derive(Debug)]
pub(crate) struct ReaderPool {
    reads: Option<Sender<ReadTask>>,
    threads: Vec<JoinHandle<()>>,
}

impl ReaderPool {
    /// Starts the threads.
    pub(crate) fn start(shared: &Arc<SharedState>) -> std::io::Result<Self> {
        let (reads, waiting) = unbounded();
        let mut readers = Self {
            reads: Some(reads),
            threads: Vec::new(),
        };
        let cores = available_parallelism().map_or(1, usize::from);
        for number in 1..=THREADS_PER_CORE * cores {
            let (shared, waiting) = (Arc::clone(shared), waiting.clone());
            let thread = std::thread::Builder::new()
                .name(format!("gimlet-read-{number}"))
                .spawn(move || run(&shared, &waiting))?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Runs a read on one of the threads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&SharedState) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (answer, answered) = oneshot::channel();
        let read: ReadTask = Box::new(move |shared| {
            // Skips the read if its caller has already given up.
            if !answer.is_closed() {
                let _ = answer.send(read(shared));
            }
        });
        let stopped = || EngineError::Failed("the readers have stopped".into());
        let reads = self.reads.as_ref().ok_or_else(stopped)?;
        reads.send(read).map_err(|_| stopped())?;
        let lost = |_| EngineError::Failed("a reader panicked".into());
        answered.await.map_err(lost)?
    }
}

impl Drop for ReaderPool {
    /// Waits for the threads, which hold the directory open.
    fn drop(&mut self) {
        self.reads = None;
        for thread in self.threads.drain(..) {
            // The thread catches panics of its reads, so the join fails only on a bug here.
            let _ = thread.join();
        }
    }
}

fn run(shared: &SharedState, waiting: &Receiver<ReadTask>) {
    for read in waiting {
        // A read owns its state, or holds a lock guard that a panic releases.
        if catch_unwind(AssertUnwindSafe(|| read(shared))).is_err() {
            gimlet_core::error_rated!("a read of the storage panicked");
        }
    }
}
