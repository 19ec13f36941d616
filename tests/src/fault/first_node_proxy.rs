//! The load balancer before the connect nodes of a real cluster: one address that leads to the
//! first node that accepts.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A proxy to the first of several nodes that accepts a connection. Dropping it cuts every
/// connection.
#[derive(Debug)]
pub struct FirstNodeProxy {
    /// Address for clients.
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl FirstNodeProxy {
    /// Starts a proxy to these nodes, tried in this order.
    pub async fn to(nodes: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                links.spawn(lead(client, nodes.clone()));
                while links.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }
}

async fn lead(mut client: TcpStream, nodes: Vec<SocketAddr>) {
    for node in nodes {
        let Ok(mut server) = TcpStream::connect(node).await else {
            continue;
        };
        let quick = client.set_nodelay(true).and(server.set_nodelay(true));
        if quick.is_ok() {
            // In every case both connections close at the end.
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
        return;
    }
}
