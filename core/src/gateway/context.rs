//! Context of a gateway, which its parts share: the hub, the logic role, the limits, the epoch, and the start
//! and end of their tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::RequestRefusal;
use crate::hub::ConnectionHub;
use crate::id::Epoch;
use crate::limits::Limits;
use crate::logic::LogicRole;

/// The seams of a gateway, its limits, and its tasks.
#[derive(Debug)]
pub(super) struct GatewayContext {
    pub(super) hub: Arc<ConnectionHub>,
    pub(super) logic: Arc<dyn LogicRole>,
    pub(super) limits: Arc<Limits>,
    /// Epoch of the inboxes' history; 0 until it was read.
    pub(super) epoch: AtomicU64,
    pub(super) tracker: TaskTracker,
    pub(super) token: CancellationToken,
}

impl GatewayContext {
    /// Returns the epoch of the inboxes' history; the first call reads it.
    pub(super) async fn epoch(&self) -> Result<Epoch, RequestRefusal> {
        let known = self.epoch.load(Ordering::Relaxed);
        if known != 0 {
            return Ok(Epoch(known));
        }
        let epoch = self.logic.epoch().await?;
        self.epoch.store(epoch.0, Ordering::Relaxed);
        Ok(epoch)
    }

    pub(super) fn known_epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }
}
