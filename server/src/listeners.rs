//! Binds every listener before anything else starts, so that a port in use is an error at start and
//! port 0 can be read back.

use std::io;
use std::net::SocketAddr;

use gimlet_listen::socket;
use tokio::net::{TcpListener, TcpSocket};

use crate::config::{ListenConfig, env_name};
use crate::start_error::StartError;

/// Connections that may wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const ACCEPT_QUEUE_LEN: u32 = 4_096;

/// Bytes that the system buffers for one connection of a gRPC or file client, in each direction:
/// 2.5 MB a second at 100 ms. Sockets have a setting; connections of other nodes are left to the
/// system.
const CALLER_BUFFER_BYTES: usize = 256 << 10;

/// The addresses of a server's listeners. A listener that is configured off is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenAddrs {
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
pub(crate) struct BoundListeners {
    pub(crate) tcp: Option<TcpListener>,
    pub(crate) ws: Option<TcpListener>,
    pub(crate) http: Option<TcpListener>,
    pub(crate) grpc: Vec<TcpListener>,
    pub(crate) internal: Option<TcpListener>,
    pub(crate) ops: Option<TcpListener>,
}

impl BoundListeners {
    /// Binds all listeners, or none. The system buffers `buffer` bytes for a client's socket, in
    /// each direction.
    pub(crate) fn bind(
        listen: &ListenConfig,
        buffer: usize,
    ) -> Result<(Self, ListenAddrs), StartError> {
        let ListenConfig {
            tcp,
            ws,
            http,
            grpc,
            internal,
            ops,
        } = listen;
        let mut bound_grpc = Vec::new();
        for addr in grpc {
            bound_grpc.push(one("listen.grpc", *addr, Some(CALLER_BUFFER_BYTES))?);
        }
        let listeners = Self {
            tcp: maybe("listen.tcp", *tcp, Some(buffer))?,
            ws: maybe("listen.ws", *ws, Some(buffer))?,
            http: maybe("listen.http", *http, Some(CALLER_BUFFER_BYTES))?,
            grpc: bound_grpc,
            internal: maybe("listen.internal", *internal, None)?,
            ops: maybe("listen.ops", *ops, Some(CALLER_BUFFER_BYTES))?,
        };
        let addrs = listeners.addrs().map_err(StartError::Socket)?;
        Ok((listeners, addrs))
    }

    fn addrs(&self) -> io::Result<ListenAddrs> {
        let of = |listener: &Option<TcpListener>| {
            listener.as_ref().map(TcpListener::local_addr).transpose()
        };
        Ok(ListenAddrs {
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

fn maybe(
    key: &'static str,
    addr: Option<SocketAddr>,
    buffer: Option<usize>,
) -> Result<Option<TcpListener>, StartError> {
    addr.map(|addr| one(key, addr, buffer)).transpose()
}

fn one(
    key: &'static str,
    addr: SocketAddr,
    buffer: Option<usize>,
) -> Result<TcpListener, StartError> {
    let bound = bind(addr).and_then(|listener| {
        if let Some(bytes) = buffer {
            socket::bound_buffers(&listener, bytes)?;
        }
        Ok(listener)
    });
    bound.map_err(|source| StartError::Bind {
        key,
        env: env_name(key),
        addr,
        source,
    })
}

/// Binds like `TcpListener::bind`, but with a longer queue. Its queue of 128 is full at once when
/// all clients reconnect: the system then drops connection attempts, and a client repeats its
/// attempt after a second.
fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A restart must not wait until the system has forgotten the last connections of the previous
    // run.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(ACCEPT_QUEUE_LEN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_key() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut listen = ListenConfig::any_port();
        listen.http = taken.local_addr().ok();
        let error = BoundListeners::bind(&listen, 64 << 10)
            .unwrap_err()
            .to_string();
        let port = taken.local_addr().unwrap().to_string();
        assert!(
            error.contains("listen.http") && error.contains(&port),
            "{error}"
        );
        assert!(error.contains("GIMLET_LISTEN__HTTP"), "{error}");
    }

    /// With the system's defaults, a client that never reads takes more than a megabyte of memory.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a11_the_system_holds_little_for_a_client_that_does_not_read() {
        let (listeners, addrs) = BoundListeners::bind(&ListenConfig::any_port(), 64 << 10).unwrap();
        let bound = [
            (listeners.tcp, addrs.tcp, 64 << 10),
            (listeners.ws, addrs.ws, 64 << 10),
            (listeners.http, addrs.http, CALLER_BUFFER_BYTES),
        ];
        for (listener, addr, buffer) in bound {
            let _client = TcpStream::connect(addr.unwrap()).await.unwrap();
            let (stream, _) = listener.unwrap().accept().await.unwrap();
            let socket = socket2::SockRef::from(&stream);
            // Linux doubles the given size, and does not grow it by itself.
            assert_eq!(socket.send_buffer_size().unwrap(), 2 * buffer);
            assert_eq!(socket.recv_buffer_size().unwrap(), 2 * buffer);
        }
    }

    #[tokio::test]
    async fn many_connections_can_wait_for_accept() {
        let queue_len = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
        let queue_len = queue_len.ok().and_then(|it| it.trim().parse().ok());
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut connected = Vec::new();
        // No task accepts: the system completes the handshakes of all connections that fit into the
        // queue.
        for _ in 0..queue_len.unwrap_or(128).min(400_usize) {
            let connecting =
                tokio::time::timeout(Duration::from_millis(900), TcpStream::connect(addr));
            connected.push(connecting.await.unwrap().unwrap());
        }
    }
}
