//! Binds every listener before anything else starts, so that a port in use is an error at start and
//! port 0 can be read back.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::app::StartError;
use crate::config::{Listen, env_name};

/// Connections that may wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const QUEUE: u32 = 4_096;

/// Where a server listens. What was configured off is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addrs {
    /// Clients' TCP.
    pub tcp: Option<SocketAddr>,
    /// Clients' WebSocket.
    pub ws: Option<SocketAddr>,
    /// Files.
    pub http: Option<SocketAddr>,
    /// Clients' gRPC services.
    pub grpc: Vec<SocketAddr>,
    /// Backends' gRPC services.
    pub internal: Option<SocketAddr>,
    /// Health and metrics.
    pub ops: Option<SocketAddr>,
}

/// The bound sockets.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) tcp: Option<TcpListener>,
    pub(crate) ws: Option<TcpListener>,
    pub(crate) http: Option<TcpListener>,
    pub(crate) grpc: Vec<TcpListener>,
    pub(crate) internal: Option<TcpListener>,
    pub(crate) ops: Option<TcpListener>,
}

impl Listeners {
    /// Binds everything, or nothing.
    pub(crate) fn bind(listen: &Listen) -> Result<(Self, Addrs), StartError> {
        let Listen {
            tcp,
            ws,
            http,
            grpc,
            internal,
            ops,
        } = listen;
        let mut bound_grpc = Vec::new();
        for addr in grpc {
            bound_grpc.push(one("listen.grpc", *addr)?);
        }
        let listeners = Self {
            tcp: maybe("listen.tcp", *tcp)?,
            ws: maybe("listen.ws", *ws)?,
            http: maybe("listen.http", *http)?,
            grpc: bound_grpc,
            internal: maybe("listen.internal", *internal)?,
            ops: maybe("listen.ops", *ops)?,
        };
        let addrs = listeners.addrs().map_err(StartError::Socket)?;
        Ok((listeners, addrs))
    }

    fn addrs(&self) -> io::Result<Addrs> {
        let of = |listener: &Option<TcpListener>| {
            listener.as_ref().map(TcpListener::local_addr).transpose()
        };
        Ok(Addrs {
            tcp: of(&self.tcp)?,
            ws: of(&self.ws)?,
            http: of(&self.http)?,
            grpc: self
                .grpc
                .iter()
                .map(TcpListener::local_addr)
                .collect::<io::Result<_>>()?,
            internal: of(&self.internal)?,
            ops: of(&self.ops)?,
        })
    }
}

fn maybe(key: &'static str, addr: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    match addr {
        Some(addr) => one(key, addr).map(Some),
        None => Ok(None),
    }
}

fn one(key: &'static str, addr: SocketAddr) -> Result<TcpListener, StartError> {
    bind(addr).map_err(|source| StartError::Bind {
        key,
        env: env_name(key),
        addr,
        source,
    })
}

/// As `TcpListener::bind`, whose queue of 128 is full at once when everybody comes back: the system
/// then drops what knocks, and a client knocks again after a second.
fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A restart need not wait for the last connections of the run before to be forgotten.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(QUEUE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_key() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut listen = Listen::any_port();
        listen.http = taken.local_addr().ok();
        let error = Listeners::bind(&listen).unwrap_err().to_string();
        let port = taken.local_addr().unwrap().to_string();
        assert!(
            error.contains("listen.http") && error.contains(&port),
            "{error}"
        );
        assert!(error.contains("GIMLET_LISTEN__HTTP"), "{error}");
    }

    #[tokio::test]
    async fn many_may_knock_at_once() {
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
        let most = most.ok().and_then(|it| it.trim().parse().ok());
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut knocking = Vec::new();
        // Nobody accepts: the system itself shakes hands with all who find a place in the queue.
        for _ in 0..most.unwrap_or(128).min(400_usize) {
            let knock = tokio::time::timeout(Duration::from_millis(900), TcpStream::connect(addr));
            knocking.push(knock.await.unwrap().unwrap());
        }
    }
}
