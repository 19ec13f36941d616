//! The one thread that changes the tree.
//!
//! Each round takes all waiting commands (no timer), runs them on one transaction, applies it as
//! one atomic batch, makes it durable once, shows it to readers, and then answers all callers. A
//! single change is not delayed, and many changes share one sync.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::error::EngineError;
use crate::garbage::PageCollector;
use crate::shared::{CommitError, SharedState};
use crate::space::SpaceEffect;
use crate::txn::WriteTransaction;

/// Commands of one commit, at most.
const COMMIT_MAX_COMMANDS: usize = 1_024;
/// Bytes of changes after which a commit takes no further command.
const COMMIT_MAX_BYTES: usize = 8 << 20;
/// Rows after which a commit takes no further command. sled frees no page while it applies them, so
/// this bounds the memory of one commit.
const COMMIT_MAX_ROWS: usize = 5_000;

/// A command: it runs on the transaction, and returns the function that answers its caller when the
/// outcome of the commit is known.
type WriteCommand =
    Box<dyn FnOnce(&mut WriteTransaction<'_>, &SharedState) -> AnswerCallback + Send>;
type AnswerCallback = Box<dyn FnOnce(&Result<(), CommitError>) + Send>;

/// The queue to the writer's thread.
#[derive(Debug)]
pub(crate) struct TreeWriter {
    commands: Option<mpsc::Sender<WriteCommand>>,
    thread: Option<JoinHandle<()>>,
}

impl TreeWriter {
    /// Starts the thread.
    pub(crate) fn start(shared: Arc<SharedState>, queue: usize) -> std::io::Result<Self> {
        let (commands, waiting) = mpsc::channel(queue.max(1));
        let thread = std::thread::Builder::new()
            .name("gimlet-sled".into())
            .spawn(move || run(&shared, waiting))?;
        Ok(Self {
            commands: Some(commands),
            thread: Some(thread),
        })
    }

    /// Runs a change on the writer's thread. Returns when the change is durable, or known to have
    /// failed.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        weight: SpaceEffect,
        change: impl FnOnce(&mut WriteTransaction<'_>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (answer, answered) = oneshot::channel();
        let command: WriteCommand = Box::new(move |txn, shared| {
            let outcome = shared
                .room_for(weight)
                .and_then(|()| txn.attempt(change))
                .inspect_err(|fault| shared.notice(fault));
            Box::new(move |commit| {
                let outcome = match (outcome, commit) {
                    (Ok(value), Ok(())) => Ok(value),
                    (Ok(_), Err(failed)) => Err(failed.fault()),
                    (Err(fault), _) => Err(fault),
                };
                // The send fails if the caller gave up waiting, which does not undo the change.
                let _ = answer.send(outcome);
            })
        });
        let stopped = || EngineError::Failed("the writer has stopped".into());
        let commands = self.commands.as_ref().ok_or_else(stopped)?;
        commands.send(command).await.map_err(|_| stopped())?;
        let lost = |_| EngineError::Unknown("the writer has stopped".into());
        answered.await.map_err(lost)?
    }
}

impl Drop for TreeWriter {
    /// Waits until every accepted change is on disk. The thread ends when the queue is closed and
    /// empty.
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            gimlet_core::error_rated!("the storage's writer panicked");
        }
    }
}

fn run(shared: &SharedState, mut waiting: mpsc::Receiver<WriteCommand>) {
    let guard = FailOnPanic(shared);
    let mut garbage = PageCollector::default();
    while let Some(first) = waiting.blocking_recv() {
        let mut txn = WriteTransaction::new(shared.tree(), &shared.heads, shared.now());
        let mut answers = vec![first(&mut txn, shared)];
        while answers.len() < COMMIT_MAX_COMMANDS
            && txn.bytes() < COMMIT_MAX_BYTES
            && txn.rows_changed() < COMMIT_MAX_ROWS
        {
            let Ok(next) = waiting.try_recv() else { break };
            answers.push(next(&mut txn, shared));
        }
        let rows = txn.rows_changed();
        let outcome = shared.commit(txn);
        // Only now, after the commit: a caller must not see an answer before its change is durable.
        for answer in answers {
            answer(&outcome);
        }
        // After the answers, so that no caller waits for the collection or for the stamp's sync.
        garbage.note(rows);
        shared.stamp.sync_if_due();
    }
    std::mem::forget(guard);
}

/// Fails the storage if the writer's thread panics: without it no change can be stored.
struct FailOnPanic<'a>(&'a SharedState);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        self.0.fail("the writer panicked");
    }
}
