//! A TCP proxy whose target can be changed, like a virtual address, a load balancer or a Kubernetes
//! service: open connections keep their server until they are cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running proxy. Dropping it cuts every connection.
#[derive(Debug)]
pub struct SwitchableProxy {
    /// Address for clients.
    pub address: SocketAddr,
    target: Arc<Mutex<String>>,
    /// Incremented to cut all connections.
    cuts: watch::Sender<u64>,
    _tasks: JoinSet<()>,
}

impl SwitchableProxy {
    /// Starts a proxy to this server.
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let target = Arc::new(Mutex::new(server.to_owned()));
        let (cuts, now) = (watch::Sender::new(0), Arc::clone(&target));
        let (mut tasks, cut) = (JoinSet::new(), cuts.subscribe());
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = now.lock().unwrap_or_else(PoisonError::into_inner).clone();
                links.spawn(carry(client, server, cut.clone()));
                while links.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            target,
            cuts,
            _tasks: tasks,
        }
    }

    /// Directs new connections to this server.
    pub fn leads_to(&self, server: &str) {
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        server.clone_into(&mut target);
    }

    /// Closes every open connection.
    pub fn cut_connections(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn carry(mut client: TcpStream, server: String, mut cut: watch::Receiver<u64>) {
    cut.mark_unchanged();
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    if client
        .set_nodelay(true)
        .and(server.set_nodelay(true))
        .is_err()
    {
        return;
    }
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = cut.changed() => {}
    }
}
