//! The batch writer of sign-ins: raises generations. Sign-ins that arrive while one batch commits
//! form the next batch.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::RequestRefusal;
use crate::id::{DeviceId, Generation, UserId};
use crate::store::DeviceStore;
use crate::time::TimeSource;

/// Waiting sign-ins; more are refused as unavailable.
const SIGN_IN_QUEUE_LEN: usize = 8_192;
/// Sign-ins in one step of the store.
const SIGN_IN_BATCH_LEN: usize = 256;
/// Time for which a sign-in waits for its generation.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(5);

type GenerationReply = oneshot::Sender<Result<Generation, RequestRefusal>>;

#[derive(Debug)]
struct GenerationRequest {
    device: DeviceId,
    user: UserId,
    answer: GenerationReply,
}

/// Entry point to the batch writer of sign-ins. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct SignIns {
    queue: mpsc::Sender<GenerationRequest>,
}

impl SignIns {
    pub(super) fn start(
        devices: Arc<dyn DeviceStore>,
        clock: Arc<dyn TimeSource>,
        tracker: &TaskTracker,
        token: CancellationToken,
    ) -> Self {
        let (queue, entrants) = mpsc::channel(SIGN_IN_QUEUE_LEN);
        let tasks = tracker.clone();
        tracker.spawn(run(devices, clock, tasks, entrants, token));
        Self { queue }
    }

    /// Raises the device's generation and binds the device to the user.
    pub(super) async fn raise(
        &self,
        device: DeviceId,
        user: UserId,
    ) -> Result<Generation, RequestRefusal> {
        let (answer, answered) = oneshot::channel();
        let entrant = GenerationRequest {
            device,
            user,
            answer,
        };
        self.queue
            .try_send(entrant)
            .map_err(|_| RequestRefusal::Unavailable)?;
        match timeout(SIGN_IN_TIMEOUT, answered).await {
            Ok(Ok(answer)) => answer,
            // An unused generation does no harm, so a repeat is safe.
            Ok(Err(_)) | Err(_) => Err(RequestRefusal::Unavailable),
        }
    }
}

async fn run(
    devices: Arc<dyn DeviceStore>,
    clock: Arc<dyn TimeSource>,
    tracker: TaskTracker,
    mut entrants: mpsc::Receiver<GenerationRequest>,
    token: CancellationToken,
) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            // The token before the queue: after a stop no new sign-in enters. The queued ones are
            // still processed; `recv_many` returns 0 once they are done.
            () = token.cancelled(), if !entrants.is_closed() => {
                entrants.close();
                continue;
            }
            count = entrants.recv_many(&mut batch, SIGN_IN_BATCH_LEN) => if count == 0 { return },
        }
        // Requests whose caller timed out are dropped before the commit: raising their generation
        // would end a newer connection for nothing.
        batch.retain(|one| !one.answer.is_closed());
        if batch.is_empty() {
            continue;
        }
        let pairs: Vec<_> = batch.iter().map(|one| (one.device, one.user)).collect();
        let (store, at) = (Arc::clone(&devices), clock.now());
        // In a task of its own, so that a panic of the store does not end this loop.
        let raised = tracker.spawn(async move { store.raise(&pairs, at).await });
        let outcome = match raised.await {
            Ok(Ok(generations)) if generations.len() == batch.len() => Ok(generations),
            Ok(Ok(_)) | Err(_) => {
                crate::error_rated!("the store did not answer all sign-ins");
                Err(RequestRefusal::Unavailable)
            }
            Ok(Err(error)) => {
                let chain = &error as &dyn std::error::Error;
                crate::warn_rated!(
                    error = chain,
                    sign_ins = batch.len(),
                    "generations not raised"
                );
                Err(match RequestRefusal::from(error) {
                    RequestRefusal::Unknown => RequestRefusal::Unavailable,
                    other => other,
                })
            }
        };
        match outcome {
            Ok(generations) => {
                for (one, generation) in batch.drain(..).zip(generations) {
                    let _ = one.answer.send(Ok(generation));
                }
            }
            Err(refusal) => {
                for one in batch.drain(..) {
                    let _ = one.answer.send(Err(refusal.clone()));
                }
            }
        }
    }
}
