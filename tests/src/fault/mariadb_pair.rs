//! Two MariaDB servers; one is a semi-synchronous GTID replica of the other: a commit is answered
//! when the replica has received it. A proxy leads to the current primary.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a server that does not answer should panic"
)]

use std::time::Duration;

use gimlet_kit::backend::{BackendAddresses, PrivateBackend};
use gimlet_kit::database::SqlConnection;
use gimlet_kit::proxy::FaultProxy;
use tokio::time::{Instant, sleep};

/// Options of both servers. The wait for the replica never times out: a commit that the replica has
/// not received is not answered.
const OPTIONS: &str = "--log-bin=binlog --sync-binlog=1 --gtid-strict-mode=1 --log-slave-updates \
                       --rpl-semi-sync-master-wait-point=AFTER_SYNC \
                       --rpl-semi-sync-master-timeout=3600000 --rpl-semi-sync-slave-enabled=1";
/// Longest wait for the replica to apply what it has received.
const PATIENCE: Duration = Duration::from_secs(30);

/// The two servers and their proxy.
#[derive(Debug)]
pub struct MariaDbPair {
    servers: [PrivateBackend; 2],
    primary: usize,
    lead: FaultProxy,
    /// Address of the database, through the proxy to the primary.
    pub url: String,
}

impl MariaDbPair {
    /// Starts both, the second as replica of the first, with an empty database and an account that
    /// has all rights in it and no others.
    pub async fn new(shared: &BackendAddresses) -> Self {
        let start = |id| PrivateBackend::mysql_with(shared, &format!("{OPTIONS} --server-id={id}"));
        let servers = [start(1), start(2)];
        let lead = FaultProxy::before(host(&servers[0])).await;
        let url = format!("mysql://app:app@{}/app", lead.address);
        let pair = Self {
            servers,
            primary: 0,
            lead,
            url,
        };
        // Both start with empty binary logs and equal GTID positions.
        for at in 0..2 {
            pair.sql(at).await.runs("RESET MASTER").await;
        }
        pair.sql(0)
            .await
            .runs(
                "CREATE USER rep@'127.0.0.1' IDENTIFIED BY 'rep'; \
                 GRANT REPLICATION SLAVE ON *.* TO rep@'127.0.0.1'; \
                 CREATE USER app@'127.0.0.1' IDENTIFIED BY 'app'; \
                 CREATE DATABASE app; GRANT ALL ON app.* TO app@'127.0.0.1'",
            )
            .await;
        pair.follows(1).await;
        pair
    }

    async fn sql(&self, at: usize) -> SqlConnection {
        SqlConnection::connect(&self.servers[at].servers.mysql).await
    }

    /// Makes this server the replica of the other one, which answers commits when this server has
    /// received them.
    async fn follows(&self, at: usize) {
        let port = host(&self.servers[1 - at]);
        let port = port.rsplit_once(':').unwrap().1;
        let mut follower = self.sql(at).await;
        follower
            .runs(&format!(
                "SET GLOBAL read_only = 1; SET GLOBAL rpl_semi_sync_master_enabled = 0; \
                 CHANGE MASTER TO master_host = '127.0.0.1', master_port = {port}, \
                 master_user = 'rep', master_password = 'rep', master_connect_retry = 1, \
                 master_use_gtid = current_pos; START SLAVE"
            ))
            .await;
        let mut primary = self.sql(1 - at).await;
        let connected = "SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'";
        primary
            .runs("SET GLOBAL rpl_semi_sync_master_enabled = 1")
            .await;
        let begun = Instant::now();
        while primary.text(connected, 1).await != "1" {
            assert!(begun.elapsed() < PATIENCE, "the follower connects");
            sleep(Duration::from_millis(20)).await;
        }
        self.has_caught_up(at, None).await;
    }

    /// Waits until this server has applied a position, or everything that it has received.
    async fn has_caught_up(&self, at: usize, position: Option<String>) {
        let mut follower = self.sql(at).await;
        let wanted = match position {
            Some(position) => position,
            None => follower.text("SHOW SLAVE STATUS", "Gtid_IO_Pos").await,
        };
        if wanted.is_empty() {
            return;
        }
        let wait = format!(
            "SELECT MASTER_GTID_WAIT('{wanted}', {})",
            PATIENCE.as_secs()
        );
        assert_eq!(follower.number(&wait).await, Some(0), "it has {wanted}");
    }

    /// Promotes the replica to primary and directs the proxy to it.
    async fn is_promoted(&mut self, at: usize) -> Instant {
        self.sql(at)
            .await
            .runs("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0")
            .await;
        self.primary = at;
        self.lead.lead_to(&host(&self.servers[at]));
        Instant::now()
    }

    /// Hands over in order: the primary becomes read-only, the replica receives all its changes and
    /// takes its place, and the old primary becomes the replica. Open connections keep their
    /// server. Returns the time of the promotion.
    pub async fn hands_over(&mut self) -> Instant {
        let (old, new) = (self.primary, 1 - self.primary);
        let mut before = self.sql(old).await;
        // Read-only before the position is read: a later commit would be missing on the replica.
        before.runs("SET GLOBAL read_only = 1").await;
        let position = before.text("SELECT @@GLOBAL.gtid_binlog_pos", 0).await;
        self.has_caught_up(new, Some(position)).await;
        let there = self.is_promoted(new).await;
        self.follows(old).await;
        there
    }

    /// Kills the primary with `kill -9`; the replica takes its place with everything that it
    /// received.
    pub async fn fails_over(&mut self) -> Instant {
        let (old, new) = (self.primary, 1 - self.primary);
        self.servers[old].kill();
        self.has_caught_up(new, None).await;
        self.is_promoted(new).await
    }

    /// Stops the replication, and the primary's wait for it: what the primary commits from now on
    /// is lost if it dies.
    pub async fn loses_its_follower(&mut self) {
        let (primary, follower) = (self.primary, 1 - self.primary);
        let alone = "SET GLOBAL rpl_semi_sync_master_enabled = 0";
        self.sql(primary).await.runs(alone).await;
        let mut follower = self.sql(follower).await;
        follower.runs("STOP SLAVE IO_THREAD").await;
    }

    /// Cuts every connection through the proxy.
    pub fn cut_connections(&self) {
        self.lead.cut_connections();
    }
}

/// Returns the host and port of a server.
fn host(backend: &PrivateBackend) -> String {
    let (_, rest) = backend.servers.mysql.rsplit_once('@').unwrap();
    rest.split('/').next().unwrap().to_owned()
}
