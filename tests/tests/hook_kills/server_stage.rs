//! The servers of a run: gimlet with the embedded storage, or two nodes over a MariaDB of their own.

use std::net::SocketAddr;

use gimlet_kit::backend::{BackendAddresses, PrivateBackend};
use gimlet_kit::database::TempDatabase;
use gimlet_kit::server::{ServerPorts, ServerProcess, binary};
use gimlet_tests::cluster::{NodeCluster, NodeRole};
use tempfile::TempDir;

use crate::api_connection::API_KEY;
use crate::receiver_program::{ReceiverProgram, SECRET};

/// Nodes of a cluster.
const NODES: usize = 2;

/// Running servers.
pub(crate) enum ServerStage {
    /// One process over the embedded storage.
    Sled {
        /// The process.
        process: ServerProcess,
        /// Its data.
        data: TempDir,
        /// Its settings.
        environment: Vec<(String, String)>,
    },
    /// Nodes with all roles. The cluster is dropped before the database, and that before its server.
    Mysql {
        /// The nodes.
        cluster: NodeCluster,
        /// Their database.
        _database: TempDatabase,
        /// Its server.
        backend: PrivateBackend,
    },
}

/// Returns the settings of a server with these programs as webhooks.
fn environment(programs: &[ReceiverProgram], batch: usize) -> Vec<(String, String)> {
    let mut environment: Vec<(String, String)> = [
        ("GIMLET_HTTP__API_KEYS", API_KEY),
        ("GIMLET_LIMITS__SEND_RATE", "1000000"),
        ("GIMLET_LIMITS__SEND_BURST", "1000000"),
        ("GIMLET_STORAGE__RELAXED_DURABILITY", "false"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for (number, program) in programs.iter().enumerate() {
        let batch = batch.to_string();
        for (key, value) in [
            ("NAME", program.language.name()),
            ("URL", &program.url()),
            ("EVENTS", "message.created"),
            ("SECRETS", SECRET),
            ("ALLOW_PRIVATE", "true"),
            ("BATCH", &batch),
        ] {
            let name = format!("GIMLET_WEBHOOKS__{number}__{key}");
            environment.push((name, value.to_owned()));
        }
    }
    environment
}

fn borrowed(environment: &[(String, String)]) -> Vec<(&str, &str)> {
    let pairs = environment.iter();
    pairs
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

impl ServerStage {
    /// Starts gimlet over the embedded storage.
    pub(crate) async fn sled(programs: &[ReceiverProgram], batch: usize) -> Self {
        let mut environment = environment(programs, batch);
        environment.retain(|(name, _)| name != "GIMLET_STORAGE__RELAXED_DURABILITY");
        let data = tempfile::tempdir().expect("a folder");
        let (ports, more) = (ServerPorts::free(), borrowed(&environment));
        let process = ServerProcess::spawn(&binary().expect("gimlet"), data.path(), ports, &more);
        let mut process = process.expect("gimlet starts");
        process.ready_to_serve().await.expect("gimlet is ready");
        Self::Sled {
            process,
            data,
            environment,
        }
    }

    /// Starts two nodes over a private MariaDB.
    pub(crate) async fn mysql(
        shared: &BackendAddresses,
        programs: &[ReceiverProgram],
        batch: usize,
    ) -> Self {
        let backend = PrivateBackend::mysql(shared);
        let database = TempDatabase::new(&backend.servers.mysql).await;
        let servers = BackendAddresses {
            mysql: database.url.clone(),
            redis: backend.servers.redis.clone(),
        };
        let environment = environment(programs, batch);
        let cluster = NodeCluster::with(&servers, [NODES, 0, 0], &borrowed(&environment)).await;
        Self::Mysql {
            cluster: cluster.expect("the nodes start"),
            _database: database,
            backend,
        }
    }

    /// Returns the addresses of the HTTP API.
    pub(crate) fn nodes(&self) -> Vec<SocketAddr> {
        match self {
            Self::Sled { process, .. } => vec![process.ports.http],
            Self::Mysql { cluster, .. } => {
                let nodes = cluster.connect.iter();
                nodes.map(|node| node.ports().http).collect()
            }
        }
    }

    /// Kills gimlet with `kill -9`, one node after the other with each call, and starts it again.
    pub(crate) async fn kill_gimlet(&mut self, number: usize) {
        match self {
            Self::Sled {
                process,
                data,
                environment,
            } => {
                process.kill().expect("the process is ours");
                let (ports, more) = (process.ports, borrowed(environment));
                let again =
                    ServerProcess::spawn(&binary().expect("gimlet"), data.path(), ports, &more);
                *process = again.expect("gimlet starts");
                process.ready_to_serve().await.expect("gimlet is ready");
            }
            Self::Mysql { cluster, .. } => {
                let node = number % NODES;
                let killed = cluster.connect.get_mut(node).expect("a node").kill();
                killed.expect("the process is ours");
                let again = cluster.restart(NodeRole::Whole, node).await;
                again.expect("gimlet starts");
            }
        }
    }

    /// Kills MariaDB with `kill -9` and starts it again. The embedded storage is killed with gimlet.
    pub(crate) fn kill_database(&mut self) {
        if let Self::Mysql { backend, .. } = self {
            backend.kill();
            backend.start_again();
        }
    }

    /// Returns whether there is a database that can be killed apart from gimlet.
    pub(crate) const fn has_database(&self) -> bool {
        matches!(self, Self::Mysql { .. })
    }
}
