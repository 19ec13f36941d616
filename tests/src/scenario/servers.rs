//! The servers behind a fixture: one with all roles, or a cluster with separate roles, in this
//! process and over a real MySQL and Redis.

use std::net::SocketAddr;

use futures_util::future::try_join_all;
use gimlet_kit::server::get;
use gimlet_server::config::{NodeRole, NodeRoles};
use gimlet_server::{Config, ListenAddrs, Server};
use tokio::time::sleep;

use super::{ScenarioStore, soon};

/// Number of connect nodes. Clients are spread over them, so that most messages of a test cross
/// from one node to the other.
const CONNECT: usize = 2;
/// Number of logic nodes.
const LOGIC: usize = 2;

/// Running servers.
#[derive(Debug)]
pub(crate) struct ScenarioServers {
    connect: Vec<Server>,
    behind: Vec<Server>,
    /// Addresses of the servers.
    pub(crate) addresses: ServerAddresses,
}

/// Addresses of a test cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerAddresses {
    /// Addresses of each server with client sockets.
    pub(crate) connect: Vec<ListenAddrs>,
    /// Addresses of a server with `LogicExt` and `LogicInt`.
    pub(crate) logic: ListenAddrs,
    /// Addresses of a server with `BusinessExt`.
    pub(crate) business: ListenAddrs,
}

impl ScenarioServers {
    /// Starts the servers for this storage.
    pub(crate) async fn start(store: ScenarioStore, config: &Config) -> Self {
        match store {
            ScenarioStore::Memory | ScenarioStore::Sled => {
                let server = start(config.clone()).await;
                let addresses = ServerAddresses {
                    connect: vec![server.addrs().clone()],
                    logic: server.addrs().clone(),
                    business: server.addrs().clone(),
                };
                Self {
                    connect: vec![server],
                    behind: Vec::new(),
                    addresses,
                }
            }
            ScenarioStore::Cluster => Self::apart(config).await,
        }
    }

    async fn apart(config: &Config) -> Self {
        let with = |role| Config {
            roles: NodeRoles(vec![role]),
            ..config.clone()
        };
        let inside = |server: &Server| {
            let addr = server.addrs().internal.expect("every role listens on it");
            addr.to_string()
        };
        // Started from the inside out: each role needs the addresses of the nodes that it calls.
        let business = start(with(NodeRole::Business)).await;
        let mut logic = with(NodeRole::Logic);
        logic.cluster.business = vec![inside(&business)];
        let logic = all(logic, LOGIC).await;
        let mut connect = with(NodeRole::Connect);
        connect.cluster.logic = logic.iter().map(inside).collect();
        let connect = all(connect, CONNECT).await;
        let addresses = ServerAddresses {
            connect: connect.iter().map(|it| it.addrs().clone()).collect(),
            logic: logic
                .first()
                .map(|it| it.addrs().clone())
                .expect("several logic nodes"),
            business: business.addrs().clone(),
        };
        let mut behind = logic;
        behind.push(business);
        let each = connect.iter().map(|it| (it, CONNECT - 1));
        let each = each.chain(behind.iter().map(|it| (it, CONNECT)));
        for (server, others) in each {
            let ops = server.addrs().ops.expect("every role listens on it");
            soon("the nodes find each other", knows(ops, others)).await;
        }
        Self {
            connect,
            behind,
            addresses,
        }
    }

    /// Stops all servers in order, connect nodes first.
    pub(crate) async fn stop(self) {
        for part in [self.connect, self.behind] {
            let stops = part.into_iter().map(Server::stop);
            let stopped = soon("the stop", try_join_all(stops)).await;
            stopped.unwrap_or_else(|error| panic!("a server failed to stop: {error}"));
        }
    }
}

async fn start(config: Config) -> Server {
    let started = soon("the start", Server::start(config)).await;
    started.unwrap_or_else(|error| panic!("a server failed to start: {error}"))
}

async fn all(config: Config, count: usize) -> Vec<Server> {
    let starts = (0..count).map(|_| start(config.clone()));
    futures_util::future::join_all(starts).await
}

/// Waits until a server is ready and has found this many connect nodes.
async fn knows(ops: SocketAddr, nodes: usize) {
    let found = format!("\ngimlet_nodes {nodes}\n");
    let metrics = async || get(ops, "/metrics").await.unwrap_or_default();
    loop {
        let text = metrics().await;
        if text.contains(&found) && text.contains("\ngimlet_ready 1\n") {
            return;
        }
        sleep(std::time::Duration::from_millis(10)).await;
    }
}
