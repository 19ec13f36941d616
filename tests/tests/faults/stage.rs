//! What every fault begins with: a cluster over a database of its own, and how long things last.

use std::time::Duration;

use gimlet_tests::cluster::{Cluster, Servers};
use gimlet_tests::fault::{Database, is_long};
use tokio::time::sleep;

/// Two connect nodes, two logic nodes, a business node.
pub(crate) const APART: [usize; 3] = [2, 2, 1];

/// The load is no flood, but beyond what one user may send.
const MORE: &[(&str, &str)] = &[
    ("GIMLET_LIMITS__SEND_RATE", "100000"),
    ("GIMLET_LIMITS__SEND_BURST", "100000"),
    ("GIMLET_STORAGE__RELAXED_DURABILITY", "false"),
];

/// Where a fault takes place.
pub(crate) struct Stage {
    /// The servers that all faults share, and none may harm.
    pub(crate) shared: Servers,
}

/// A cluster, and the database it is over.
pub(crate) struct Place {
    /// The cluster; it ends before the database.
    pub(crate) cluster: Cluster,
    /// The database.
    pub(crate) database: Database,
}

impl Stage {
    /// A stage over these servers.
    pub(crate) const fn new(shared: Servers) -> Self {
        Self { shared }
    }

    /// A cluster with a database of its own on the shared servers.
    pub(crate) async fn place(&self, shape: [usize; 3]) -> Place {
        let database = Database::new(&self.shared.mysql).await;
        let cluster = over(&database.url, &self.shared.redis, shape).await;
        Place { cluster, database }
    }
}

/// A cluster over this database and this Redis.
pub(crate) async fn over(mysql: &str, redis: &str, shape: [usize; 3]) -> Cluster {
    let servers = Servers {
        mysql: mysql.to_owned(),
        redis: redis.to_owned(),
    };
    let cluster = Cluster::with(&servers, shape, MORE).await;
    cluster.unwrap_or_else(|error| panic!("no cluster: {error}"))
}

/// So much in the long run, and so much in the short one.
pub(crate) fn by_run<T>(long: T, short: T) -> T {
    if is_long() { long } else { short }
}

/// An outage of this many seconds; 3 in the short run.
pub(crate) async fn outage(secs: u64) {
    sleep(Duration::from_secs(by_run(secs, 3.min(secs)))).await;
}

/// How long an outage of this many seconds is, in words.
pub(crate) fn lasting(secs: u64) -> String {
    format!("{} s", by_run(secs, 3.min(secs)))
}
