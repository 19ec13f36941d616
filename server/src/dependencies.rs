//! The dependencies of this node (MySQL and Redis), and the rules by which a failing one makes the
//! node not ready.
//!
//! A node that cannot reach MySQL can neither sign in nor send nor read: it is not ready. Without
//! Redis everything works except pushes between nodes and rooms, which come late. A node that has
//! reached Redis before stays ready, since all nodes lose it together and none would be left. A
//! node that has never reached it, or that Redis refuses, is configured wrongly: it is not ready.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use gimlet_core::dependency::{DependencyFailure, DependencyHealth};
use tokio_util::sync::CancellationToken;

use gimlet_web::metrics::ServerMetrics;

/// A dependency that does not answer for this long makes the node not ready: a failover is often
/// shorter.
const FAILURE_TOLERANCE: Duration = Duration::from_secs(5);

/// Interval at which MySQL is pinged, so that an idle node notices a failure as well.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// The dependencies of this node. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeDependencies {
    known: Vec<KnownDependency>,
    #[cfg(feature = "mysql")]
    lasting: Option<gimlet_storage_mysql::MysqlStores>,
}

#[derive(Clone, Debug)]
struct KnownDependency {
    server: Arc<DependencyHealth>,
    /// `true` if the node cannot serve without it.
    needed: bool,
}

impl KnownDependency {
    fn keeps_out(&self, failure: &DependencyFailure) -> bool {
        let long = failure.since.elapsed() >= FAILURE_TOLERANCE;
        let never = !self.server.has_answered();
        never || (long && (self.needed || failure.refused))
    }
}

impl NodeDependencies {
    /// Returns the dependencies of a cluster's storage.
    #[cfg(feature = "mysql")]
    pub(crate) fn of(
        lasting: Option<&gimlet_storage_mysql::MysqlStores>,
        live: &gimlet_storage_mysql::RedisStores,
    ) -> Self {
        let mysql = lasting.map(|lasting| KnownDependency {
            server: lasting.health(),
            needed: true,
        });
        let redis = KnownDependency {
            server: Arc::clone(live.health()),
            needed: false,
        };
        Self {
            known: mysql.into_iter().chain([redis]).collect(),
            lasting: lasting.cloned(),
        }
    }

    /// Returns the reason that this node cannot serve, if a dependency prevents it.
    pub(crate) fn keep_out(&self) -> Option<String> {
        let troubles = self.known.iter().filter_map(|known| {
            let failure = known
                .server
                .current_failure()
                .filter(|it| known.keeps_out(it))?;
            Some(format!("{} fails: {}", known.server.name(), failure.cause))
        });
        let text = troubles.collect::<Vec<_>>().join("; ");
        (!text.is_empty()).then_some(text)
    }

    /// Returns the failures that do not prevent serving, one per line.
    pub(crate) fn failing(&self) -> String {
        let mut text = String::new();
        for known in &self.known {
            if let Some(failure) = known.server.current_failure() {
                let (name, seconds) = (known.server.name(), failure.since.elapsed().as_secs());
                let _ = writeln!(text, "{name} fails for {seconds} s: {}", failure.cause);
            }
        }
        text
    }

    /// Sets the metrics of each dependency.
    pub(crate) fn scrape(&self, metrics: &ServerMetrics) {
        for known in &self.known {
            let label = || ("dependency", known.server.name().to_owned());
            let up = u64::from(known.server.current_failure().is_none());
            metrics.gauge_of("gimlet_dependency_up", label(), up);
            let failures = known.server.failures();
            metrics.counter_of("gimlet_dependency_failures_total", label(), failures);
        }
    }

    /// Pings MySQL until `stop`. Redis needs no ping, because routes are read from it all the time.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        while tokio::time::timeout(PING_INTERVAL, stop.cancelled())
            .await
            .is_err()
        {
            #[cfg(feature = "mysql")]
            if let Some(lasting) = &self.lasting {
                lasting.ping().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    use super::*;

    fn servers() -> (NodeDependencies, [Arc<DependencyHealth>; 2]) {
        let both = ["mysql", "redis"].map(|name| Arc::new(DependencyHealth::new(name)));
        let known = both.iter().map(|server| KnownDependency {
            server: Arc::clone(server),
            needed: server.name() == "mysql",
        });
        let servers = NodeDependencies {
            known: known.collect(),
            #[cfg(feature = "mysql")]
            lasting: None,
        };
        (servers, both)
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_mysql_makes_the_node_not_ready_and_a_dead_redis_is_reported() {
        let (servers, [mysql, redis]) = servers();
        mysql.note_answer();
        redis.note_answer();
        mysql.note_failure(&Error::other("gone"), false);
        assert_eq!(servers.keep_out(), None, "a failover may be that long");
        tokio::time::advance(FAILURE_TOLERANCE).await;
        assert_eq!(servers.keep_out().unwrap(), "mysql fails: gone");
        mysql.note_answer();
        assert_eq!(servers.keep_out(), None);
        redis.note_failure(&Error::other("gone too"), false);
        tokio::time::advance(FAILURE_TOLERANCE * 10).await;
        assert_eq!(servers.keep_out(), None);
        assert_eq!(servers.failing(), "redis fails for 50 s: gone too\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_redis_that_was_never_reached_or_refuses_takes_the_node_out() {
        let (servers, [_, redis]) = servers();
        redis.note_failure(&Error::other("certificate unknown"), false);
        let text = servers.keep_out().unwrap();
        assert_eq!(text, "redis fails: certificate unknown");
        redis.note_answer();
        assert_eq!(servers.keep_out(), None);
        redis.note_failure(&Error::other("NOAUTH"), true);
        tokio::time::advance(FAILURE_TOLERANCE).await;
        assert!(servers.keep_out().unwrap().contains("NOAUTH"));
    }
}
