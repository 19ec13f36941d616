//! Connections that leave hyper: an event stream is written, and a WebSocket served, on the raw socket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event_stream::RawEventStream;
use crate::web_socket::AdmittedUpgrade;

/// Use of a connection after hyper.
#[derive(Debug)]
pub(crate) enum HandedConnection {
    /// An event stream.
    Events(RawEventStream),
    /// A WebSocket.
    WebSocket(Box<AdmittedUpgrade>),
}

/// The way out of the service of a connection, to the connection's task.
#[derive(Clone, Debug, Default)]
pub(crate) struct HandOff(Arc<Mutex<Option<HandedConnection>>>);

impl HandOff {
    /// Gives the connection to its task, which polls the service.
    pub(crate) fn give(&self, connection: HandedConnection) {
        *self.lock() = Some(connection);
    }

    /// Returns whether the connection was given.
    pub(crate) fn is_given(&self) -> bool {
        self.lock().is_some()
    }

    /// Takes what was given.
    pub(crate) fn take(&self) -> Option<HandedConnection> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<HandedConnection>> {
        // A panic cannot leave the value half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
