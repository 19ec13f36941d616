//! The start of every fault test: a cluster over its own database, and the durations of outages.

use std::time::Duration;

use gimlet_kit::backend::BackendAddresses;
use gimlet_kit::database::TempDatabase;
use gimlet_tests::cluster::NodeCluster;
use gimlet_tests::fault::is_long;
use tokio::time::sleep;

/// Two connect nodes, two logic nodes and a business node.
pub(crate) const APART: [usize; 3] = [2, 2, 1];

/// Limits above the load, which exceeds the default rate of one user.
const MORE: &[(&str, &str)] = &[
    ("GIMLET_LIMITS__SEND_RATE", "100000"),
    ("GIMLET_LIMITS__SEND_BURST", "100000"),
    ("GIMLET_STORAGE__RELAXED_DURABILITY", "false"),
];

/// Environment of a fault test.
pub(crate) struct FaultStage {
    /// Servers that all fault tests share, and that none may harm.
    pub(crate) shared: BackendAddresses,
}

/// A cluster and its database.
pub(crate) struct FaultCluster {
    /// The cluster; it is dropped before the database.
    pub(crate) cluster: NodeCluster,
    /// The database.
    pub(crate) database: TempDatabase,
}

impl FaultStage {
    /// Creates the environment over these servers.
    pub(crate) const fn new(shared: BackendAddresses) -> Self {
        Self { shared }
    }

    /// Starts a cluster with a database of its own on the shared servers.
    pub(crate) async fn start_cluster(&self, shape: [usize; 3]) -> FaultCluster {
        let database = TempDatabase::new(&self.shared.mysql).await;
        let cluster = over(&database.url, &self.shared.redis, shape).await;
        FaultCluster { cluster, database }
    }
}

/// Starts a cluster over this database and this Redis.
pub(crate) async fn over(mysql: &str, redis: &str, shape: [usize; 3]) -> NodeCluster {
    let servers = BackendAddresses {
        mysql: mysql.to_owned(),
        redis: redis.to_owned(),
    };
    let cluster = NodeCluster::with(&servers, shape, MORE).await;
    cluster.unwrap_or_else(|error| panic!("no cluster: {error}"))
}

/// Returns the first value in the long run, the second one in the short run.
pub(crate) fn by_run<T>(long: T, short: T) -> T {
    if is_long() { long } else { short }
}

/// Waits this many seconds; at most 3 in the short run.
pub(crate) async fn outage(secs: u64) {
    sleep(Duration::from_secs(by_run(secs, 3.min(secs)))).await;
}

/// Returns the duration of such an outage as text.
pub(crate) fn lasting(secs: u64) -> String {
    format!("{} s", by_run(secs, 3.min(secs)))
}
