//! The entrances of this process: what connections of each listener pass before their protocol begins.

use std::sync::Arc;

use gimlet_listen::Entrance;
use gimlet_listen::admission::Admission;
use tokio::net::TcpListener;

use crate::app::App;
use crate::config::Listener;

impl App {
    /// Returns the entrance of a listener for clients or operators.
    pub(crate) fn entrance(
        &self,
        which: Listener,
        listener: TcpListener,
        admission: &Arc<Admission>,
    ) -> Entrance {
        Entrance {
            tls: self.certificates.of(&self.config, which),
            trusted: self.config.forwarding().trusted,
            proxy_protocol: self.config.proxies.protocol.contains(&which),
            ..Entrance::plain(listener, Arc::clone(admission))
        }
    }

    /// Returns the entrance of the listener for backends and other nodes.
    pub(crate) fn internal_entrance(&self, listener: TcpListener) -> Entrance {
        Entrance {
            tls: self.certificates.internal(),
            ..Entrance::plain(listener, Arc::clone(&self.places.internal))
        }
    }
}
