//! A TCP relay between clients and the server: its connections can be cut, and it can lead to
//! another server, while clients keep using one address.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

type RelayTargets = (Arc<[SocketAddr]>, u64);

/// A TCP relay on a free port of loopback. Dropping it cuts every connection.
#[derive(Debug)]
pub struct TcpRelay {
    addr: SocketAddr,
    /// Target servers, used round-robin, and the number of cuts so far.
    plug: watch::Sender<RelayTargets>,
    _stop: DropGuard,
}

impl TcpRelay {
    /// Starts a relay without a target.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("a bound socket");
        let (plug, plugged) = watch::channel((Arc::default(), 0));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let inner = (tasks.clone(), stop.clone());
        tasks.spawn(async move {
            let (tasks, stop) = inner;
            let mut turn: usize = 0;
            while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
                if let Ok((stream, _)) = accepted {
                    let (plugged, stop) = (plugged.clone(), stop.clone());
                    turn = turn.wrapping_add(1);
                    tasks.spawn(async move {
                        stop.run_until_cancelled(join(stream, plugged, turn)).await
                    });
                }
            }
        });
        Self {
            addr,
            plug,
            _stop: stop.drop_guard(),
        }
    }

    /// Returns the address for clients.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Directs new connections to these servers, round-robin, or to none; existing connections are
    /// cut.
    pub fn lead(&self, to: Vec<SocketAddr>) {
        self.plug.send_modify(|(targets, cuts)| {
            *targets = to.into();
            *cuts += 1;
        });
    }

    /// Cuts every connection; new ones use the same targets.
    pub fn cut_connections(&self) {
        self.plug.send_modify(|(_, cuts)| *cuts += 1);
    }
}

async fn join(mut client: TcpStream, mut plugged: watch::Receiver<RelayTargets>, turn: usize) {
    let targets = Arc::clone(&plugged.borrow_and_update().0);
    let Some(target) = targets.get(turn % targets.len().max(1)) else {
        return;
    };
    let carry = async {
        let mut server = TcpStream::connect(target).await?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        copy_bidirectional(&mut client, &mut server).await
    };
    // Biased: the cut wins when both are ready.
    tokio::select! {
        biased;
        _ = plugged.changed() => {}
        _ = carry => {}
    }
}
