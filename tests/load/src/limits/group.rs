//! Minimal group commit: many senders, and one thread that commits all waiting items together.
//!
//! Serves the disk and the sled probes; both commit for the same senders, so their figures compare.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{ProbeOutcome, ProbePass};

/// Maximum number of items in one commit.
const BATCH: usize = 1_024;

type WaitingItem<T> = (T, oneshot::Sender<()>);

/// Runs `senders` tasks that each send one item after another, each when the last one is durable.
pub(super) fn commit<T, C>(
    senders: u64,
    span: Duration,
    make: impl Fn(u64) -> T + Clone + Send + 'static,
    mut commit: C,
) -> ProbeOutcome<ProbePass>
where
    T: Send + 'static,
    C: FnMut(&[T]) -> ProbeOutcome<()> + Send + 'static,
{
    let (queue, mut waiting) = mpsc::channel::<WaitingItem<T>>(BATCH);
    let writer = std::thread::spawn(move || {
        while let Some(first) = waiting.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = waiting.try_recv()
            {
                batch.push(next);
            }
            let (things, answers): (Vec<T>, Vec<_>) = batch.into_iter().unzip();
            commit(&things)?;
            for answer in answers {
                // A sender that has stopped waiting needs no answer.
                let _ = answer.send(());
            }
        }
        ProbeOutcome::Ok(())
    });
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let start = Instant::now();
    let count = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for sender in 0..senders {
            tasks.spawn(send(queue.clone(), sender, start + span, make.clone()));
        }
        drop(queue);
        tasks.join_all().await.into_iter().sum()
    });
    let span = start.elapsed();
    writer
        .join()
        .map_err(|_| "the committing thread panicked")??;
    Ok(ProbePass {
        count,
        span,
        cpu: None,
    })
}

async fn send<T: Send>(
    queue: mpsc::Sender<WaitingItem<T>>,
    sender: u64,
    end: Instant,
    make: impl Fn(u64) -> T + Send,
) -> u64 {
    let mut done = 0;
    while Instant::now() < end {
        let (answer, answered) = oneshot::channel();
        let thing = make(sender.wrapping_mul(1_000_003) + done);
        if queue.send((thing, answer)).await.is_err() || answered.await.is_err() {
            break;
        }
        done += 1;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_was_committed() {
        let (seen, committed) = std::sync::mpsc::channel();
        let pass = commit(
            8,
            Duration::from_millis(20),
            |n| n,
            move |batch: &[u64]| {
                seen.send(batch.len()).unwrap();
                Ok(())
            },
        );
        let committed: usize = committed.iter().sum();
        assert_eq!(pass.unwrap().count, committed as u64);
    }
}
