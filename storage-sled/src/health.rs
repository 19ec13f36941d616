//! State of the storage: working, failed or closed. The server watches it. A failed storage must
//! not be used again, so the process ends and its supervisor restarts it.

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Clone, Debug, Default)]
struct HealthState {
    failure: Option<Arc<str>>,
    closed: bool,
}

/// The state of an opened directory. It is cheap to clone and outlives the directory.
#[derive(Clone, Debug)]
pub struct StorageHealth {
    state: Arc<watch::Sender<HealthState>>,
}

impl StorageHealth {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(HealthState::default())),
        }
    }

    /// Returns the reason the storage failed, or `None` while it works. After a failure every call
    /// is refused as unavailable.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let state = self.state.borrow();
        state.failure.as_deref().map(str::to_owned)
    }

    /// Returns when the storage has failed, with the reason. The caller should end the process
    /// then.
    pub async fn failed(&self) -> String {
        let mut state = self.state.subscribe();
        let failed = state.wait_for(|it| it.failure.is_some()).await;
        let reason = failed.ok().and_then(|it| it.failure.clone());
        reason.as_deref().unwrap_or("closed").to_owned()
    }

    /// Returns when every handle is dropped, every accepted change is on disk, and the directory
    /// may be opened again.
    pub async fn closed(&self) {
        let mut state = self.state.subscribe();
        // The only error is a dropped sender, and `self` holds the sender.
        let _ = state.wait_for(|it| it.closed).await;
    }

    /// Records the first failure and logs it.
    pub(crate) fn fail(&self, reason: &str) {
        let first = self.state.send_if_modified(|it| {
            let first = it.failure.is_none();
            if first {
                it.failure = Some(reason.into());
            }
            first
        });
        if first {
            tracing::error!(reason, "the storage has failed: nothing more is accepted");
        }
    }

    pub(crate) fn close(&self) {
        self.state.send_modify(|it| it.closed = true);
    }
}
