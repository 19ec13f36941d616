//! The batch writer of sign-ins: raises generations. Sign-ins that arrive while one batch commits
//! form the next batch.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::coalesce::{BatchLoader, CoalescerError, CoalescerLimits, RequestCoalescer};
use crate::error::RequestRefusal;
use crate::id::{DeviceId, Generation, UserId};
use crate::store::DeviceStore;
use crate::time::TimeSource;

/// Limits of the batches of sign-ins, each of which is one step of the store.
const SIGN_IN_LIMITS: CoalescerLimits = CoalescerLimits {
    queue_len: 8_192,
    batch_len: 256,
    // One, so that the sign-ins of a device get their generations in the order of their calls.
    concurrency: 1,
    call_timeout: Duration::from_secs(5),
    load_timeout: Duration::from_secs(10),
};

/// Entry point to the batch writer of sign-ins.
///
/// A sign-in that has been given up is left out of its batch: raising its generation would end a
/// newer connection for nothing.
#[derive(Debug)]
pub(super) struct SignIns(RequestCoalescer<GenerationRaiser>);

impl SignIns {
    pub(super) fn new(
        devices: Arc<dyn DeviceStore>,
        clock: Arc<dyn TimeSource>,
        tracker: &TaskTracker,
        token: &CancellationToken,
    ) -> Self {
        let raiser = GenerationRaiser { devices, clock };
        let (tracker, token) = (tracker.clone(), token.clone());
        Self(RequestCoalescer::new(
            raiser,
            SIGN_IN_LIMITS,
            tracker,
            token,
        ))
    }

    /// Raises the device's generation and binds the device to the user.
    pub(super) async fn raise(
        &self,
        device: DeviceId,
        user: UserId,
    ) -> Result<Generation, RequestRefusal> {
        let raised = self.0.call((device, user)).await;
        raised.map_err(|error| match error {
            CoalescerError::Failed(refusal) => refusal,
            // An unused generation does no harm, so a repeat is safe.
            CoalescerError::QueueFull
            | CoalescerError::Stopped
            | CoalescerError::TimedOut
            | CoalescerError::NoAnswer => RequestRefusal::Unavailable,
        })
    }
}

/// Raises the generations of one batch in one step of the store.
#[derive(Debug)]
struct GenerationRaiser {
    devices: Arc<dyn DeviceStore>,
    clock: Arc<dyn TimeSource>,
}

impl BatchLoader for GenerationRaiser {
    type Key = (DeviceId, UserId);
    type Value = Generation;
    type Error = RequestRefusal;

    async fn load(
        &self,
        sign_ins: &[(DeviceId, UserId)],
    ) -> Result<Vec<Generation>, RequestRefusal> {
        let raised = self.devices.raise(sign_ins, self.clock.now()).await;
        raised.map_err(|error| {
            let chain = &error as &dyn std::error::Error;
            crate::warn_rated!(
                error = chain,
                sign_ins = sign_ins.len(),
                "generations not raised"
            );
            match RequestRefusal::from(error) {
                RequestRefusal::Unknown => RequestRefusal::Unavailable,
                other => other,
            }
        })
    }

    fn note_no_answer(&self, _: usize) {
        crate::error_rated!("the store did not answer all sign-ins");
    }
}
