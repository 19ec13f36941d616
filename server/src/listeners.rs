//! Binds every listener before anything else starts, so that a port in use is an error at start and
//! port 0 can be read back.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::app::StartError;
use crate::config::{Listen, env_name};

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
    pub(crate) async fn bind(listen: &Listen) -> Result<(Self, Addrs), StartError> {
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
            bound_grpc.push(one("listen.grpc", *addr).await?);
        }
        let listeners = Self {
            tcp: maybe("listen.tcp", *tcp).await?,
            ws: maybe("listen.ws", *ws).await?,
            http: maybe("listen.http", *http).await?,
            grpc: bound_grpc,
            internal: maybe("listen.internal", *internal).await?,
            ops: maybe("listen.ops", *ops).await?,
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

async fn maybe(
    key: &'static str,
    addr: Option<SocketAddr>,
) -> Result<Option<TcpListener>, StartError> {
    match addr {
        Some(addr) => one(key, addr).await.map(Some),
        None => Ok(None),
    }
}

async fn one(key: &'static str, addr: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(addr)
        .await
        .map_err(|source| StartError::Bind {
            key,
            env: env_name(key),
            addr,
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_key() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut listen = Listen::any_port();
        listen.http = taken.local_addr().ok();
        let error = Listeners::bind(&listen).await.unwrap_err().to_string();
        let port = taken.local_addr().unwrap().to_string();
        assert!(
            error.contains("listen.http") && error.contains(&port),
            "{error}"
        );
        assert!(error.contains("GIMLET_LISTEN__HTTP"), "{error}");
    }
}
