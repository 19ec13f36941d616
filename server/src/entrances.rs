//! The entrances of this process: the steps that connections of each listener pass before their
//! protocol begins.

use std::sync::Arc;

use gimlet_listen::ListenerEntrance;
use gimlet_listen::admission::ConnectionLimiter;
use tokio::net::TcpListener;

use crate::app::BuiltServer;
use crate::config::ListenerName;

impl BuiltServer {
    /// Returns the entrance of a listener for clients or operators.
    pub(crate) fn entrance(
        &self,
        which: ListenerName,
        listener: TcpListener,
        admission: &Arc<ConnectionLimiter>,
    ) -> ListenerEntrance {
        ListenerEntrance {
            tls: self.certificates.of(&self.config, which),
            trusted: self.config.forwarding().trusted,
            proxy_protocol: self.config.proxies.protocol.contains(&which),
            ..ListenerEntrance::plain(listener, Arc::clone(admission))
        }
    }

    /// Returns the entrance of the listener for backends and other nodes.
    pub(crate) fn internal_entrance(&self, listener: TcpListener) -> ListenerEntrance {
        ListenerEntrance {
            tls: self.certificates.internal(),
            ..ListenerEntrance::plain(listener, Arc::clone(&self.listener_limits.internal))
        }
    }
}
