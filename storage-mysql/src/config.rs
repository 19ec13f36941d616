//! What a cluster's storage is opened with. Plain data: the server fills it from its own settings.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use gimlet_core::memory::RoomBounds;

/// MySQL and Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where what lasts is stored.
    pub mysql: MysqlConfig,
    /// Where what lives is kept.
    pub redis: RedisConfig,
}

impl Config {
    /// The defaults for two addresses.
    #[must_use]
    pub fn new(mysql: impl Into<String>, redis: impl Into<String>) -> Self {
        Self {
            mysql: MysqlConfig::new(mysql),
            redis: RedisConfig::new(redis),
        }
    }
}

/// How MySQL (or MariaDB, or TiDB) is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct MysqlConfig {
    /// `mysql://user:password@host:port/database`; never printed.
    pub url: String,
    /// Connections of this process; default 16.
    pub connections: u32,
    /// Batches of sends of this process in flight at a time; default 8, and never more than half of
    /// the connections, so that reads find one.
    pub parallel_batches: u32,
    /// A call ends within this, with an answer or a fault; default 1.2 s, so that a send is
    /// answered within its own deadline of 1.5 s while the server hangs.
    pub deadline: Duration,
    /// The same for housekeeping (trimming, sweeping); default 10 s.
    pub slow_deadline: Duration,
    /// A PEM file of the CA that signed the server's certificate. With it the certificate and its
    /// name are checked, unless the address says otherwise (`?ssl-mode=…`).
    pub ca: Option<PathBuf>,
    /// Accepts a server that answers a commit before it is on disk. Default off: such a server is
    /// refused at start, because an answered send could be lost with the machine.
    pub relaxed_durability: bool,
}

impl MysqlConfig {
    /// The defaults for an address.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections: 16,
            parallel_batches: 8,
            deadline: Duration::from_millis(1_200),
            slow_deadline: Duration::from_secs(10),
            ca: None,
            relaxed_durability: false,
        }
    }

    /// The batches in flight that the connections allow.
    pub(crate) fn parallel_batches(&self) -> u32 {
        self.parallel_batches.min(self.connections / 2).max(1)
    }
}

impl fmt::Debug for MysqlConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("MysqlConfig")
            .field("connections", &self.connections)
            .field("parallel_batches", &self.parallel_batches)
            .field("deadline", &self.deadline)
            .field("slow_deadline", &self.slow_deadline)
            .field("ca", &self.ca)
            .field("relaxed_durability", &self.relaxed_durability)
            .finish_non_exhaustive()
    }
}

/// How Redis is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis://host:port/db`, or `rediss://` for TLS; never printed. Several addresses, separated
    /// by commas, are the nodes of a Redis Cluster. `redis+sentinel://host:port,host:port/service/0`
    /// asks Sentinels for the master.
    pub url: String,
    /// A PEM file of the CA that signed the server's certificate, for `rediss://`; without it the
    /// system's CAs are trusted.
    pub ca: Option<PathBuf>,
    /// Stands before every key, so that several clusters may share one Redis; default `gimlet:`.
    pub prefix: String,
    /// A call ends within this; default 500 ms.
    pub deadline: Duration,
    /// How long a node's lease lives without being renewed; default 15 s.
    pub lease: Duration,
    /// What a room keeps.
    pub room: RoomBounds,
}

impl RedisConfig {
    /// The defaults for an address.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca: None,
            prefix: "gimlet:".into(),
            deadline: Duration::from_millis(500),
            lease: Duration::from_secs(15),
            room: RoomBounds::default(),
        }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("RedisConfig")
            .field("ca", &self.ca)
            .field("prefix", &self.prefix)
            .field("deadline", &self.deadline)
            .field("lease", &self.lease)
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_never_printed() {
        let config = Config::new("mysql://u:secret@h/db", "redis://:secret@h/");
        assert!(!format!("{config:?}").contains("secret"));
    }
}
