//! The entry point for embedding: a whole server inside another program.

use gimlet_core::node::RunningNode;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::app::build;
use crate::certificates::CertificateFiles;
use crate::config::Config;
use crate::lifecycle::RunError;
use crate::listeners::ListenAddrs;
use crate::start_error::StartError;

/// A running server. Dropping it stops it too, without waiting.
#[derive(Debug)]
pub struct Server {
    addrs: ListenAddrs,
    certificates: CertificateFiles,
    node: Option<RunningNode>,
    stop: DropGuard,
    running: JoinHandle<Result<(), RunError>>,
}

impl Server {
    /// Starts a server on the current tokio runtime; every listener is open when it returns.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        // Boxed: opening everything is a large future, which the embedding program would hold.
        let app = Box::pin(build(config)).await?;
        let (addrs, node) = (app.addrs().clone(), app.node().cloned());
        let certificates = app.certificates();
        let stop = CancellationToken::new();
        let running = TaskTracker::new().spawn(app.run(stop.clone()));
        Ok(Self {
            addrs,
            certificates,
            node,
            stop: stop.drop_guard(),
            running,
        })
    }

    /// Returns the addresses that it listens on.
    #[must_use]
    pub const fn addrs(&self) -> &ListenAddrs {
        &self.addrs
    }

    /// Returns the certificates, to load them again.
    #[must_use]
    pub const fn certificates(&self) -> &CertificateFiles {
        &self.certificates
    }

    /// Returns the node inside: its services and its live connections, without a socket between.
    /// `None` if the connect or the logic role is in another process.
    #[must_use]
    pub const fn node(&self) -> Option<&RunningNode> {
        self.node.as_ref()
    }

    /// Stops the server in order and waits for the end.
    pub async fn stop(self) -> Result<(), RunError> {
        // The node holds the storage open: it is dropped first, or the stop would wait for its
        // whole grace.
        drop((self.node, self.stop));
        self.running
            .await
            .unwrap_or_else(|panic| Err(RunError::Storage(format!("the server panicked: {panic}"))))
    }
}
