//! The threads that read the tree, so that a read that waits for the disk holds up no task.
//!
//! They are few. A read costs microseconds and waking a thread for it as much again; under load
//! these go from one read to the next without sleeping.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{JoinHandle, available_parallelism};

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::oneshot;

use crate::error::Fault;
use crate::shared::Shared;

/// Threads for each core: some may wait for the disk.
const EACH: usize = 2;

type Read = Box<dyn FnOnce(&Shared) + Send>;

/// The queue to the threads. Its callers wait, so it is as long as they are many.
#[derive(Debug)]
pub(crate) struct Readers {
    reads: Option<Sender<Read>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts the threads.
    pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<Self> {
        let (reads, waiting) = unbounded();
        let mut readers = Self {
            reads: Some(reads),
            threads: Vec::new(),
        };
        let cores = available_parallelism().map_or(1, usize::from);
        for number in 1..=EACH * cores {
            let (shared, waiting) = (Arc::clone(shared), waiting.clone());
            let thread = std::thread::Builder::new()
                .name(format!("gimlet-read-{number}"))
                .spawn(move || run(&shared, &waiting))?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Has a thread read.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        let read: Read = Box::new(move |shared| {
            // The caller gave up, before or meanwhile.
            if !answer.is_closed() {
                let _ = answer.send(read(shared));
            }
        });
        let stopped = || Fault::Failed("the readers have stopped".into());
        let reads = self.reads.as_ref().ok_or_else(stopped)?;
        reads.send(read).map_err(|_| stopped())?;
        let lost = |_| Fault::Failed("a reader panicked".into());
        answered.await.map_err(lost)?
    }
}

impl Drop for Readers {
    /// Waits for the threads, which hold the directory open.
    fn drop(&mut self) {
        self.reads = None;
        for thread in self.threads.drain(..) {
            // A panic ends no thread: it was caught.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, waiting: &Receiver<Read>) {
    for read in waiting {
        // What a read holds is its own, or a guard that a panic lets go.
        if catch_unwind(AssertUnwindSafe(|| read(shared))).is_err() {
            gimlet_core::error_rated!("a read of the storage panicked");
        }
    }
}
