//! The pushes of what was stored: handed on in the order in which batches ended.

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::envelope::Parcel;
use crate::fanout::Fanout;

/// Batches whose pushes to other nodes may wait; beyond it they are dropped (law 6).
const REMOTE_QUEUE: usize = 64;

/// The pushes of the batches that have ended, and where they go.
#[derive(Debug)]
pub(super) struct Pushes {
    fanout: Fanout,
    remote: mpsc::Sender<Vec<Parcel>>,
    parcels: Vec<Parcel>,
}

impl Pushes {
    /// Pushes to other nodes go out in batch order, beside the batch writer: a slow route read delays
    /// nothing but pushes. The task ends when the writer is dropped.
    pub(super) fn start(fanout: Fanout, tracker: &TaskTracker) -> Self {
        let (remote, mut parcels) = mpsc::channel::<Vec<Parcel>>(REMOTE_QUEUE);
        let here = fanout.clone();
        tracker.spawn(async move {
            while let Some(parcels) = parcels.recv().await {
                here.remote(parcels).await;
            }
        });
        Self {
            fanout,
            remote,
            parcels: Vec::new(),
        }
    }

    /// Adds those of a batch that has ended.
    pub(super) fn add(&mut self, parcels: Vec<Parcel>) {
        if self.parcels.is_empty() {
            self.parcels = parcels;
        } else {
            self.parcels.extend(parcels);
        }
    }

    /// Hands them on; does not wait.
    pub(super) fn deliver(&mut self) {
        let parcels = std::mem::take(&mut self.parcels);
        if parcels.is_empty() {
            return;
        }
        self.fanout.local(&parcels);
        if self.fanout.is_alone() {
            return;
        }
        if let Err(error) = self.remote.try_send(parcels) {
            crate::warn_rated!(%error, "pushes to other nodes dropped: their readers get it later");
        }
    }
}
