//! Settings with which a cluster's storage is opened. Plain data; the server fills it from its own
//! configuration.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use gimlet_core::memory::RoomBounds;

/// Settings of both engines, MySQL and Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Connection to MySQL, which holds the durable data.
    pub mysql: MysqlConfig,
    /// Connection to Redis, which holds the volatile data.
    pub redis: RedisConfig,
}

impl Config {
    /// Returns the defaults for two addresses.
    #[must_use]
    pub fn new(mysql: impl Into<String>, redis: impl Into<String>) -> Self {
        Self {
            mysql: MysqlConfig::new(mysql),
            redis: RedisConfig::new(redis),
        }
    }
}

/// Settings of the connection to MySQL, MariaDB or TiDB.
#[derive(Clone, PartialEq, Eq)]
pub struct MysqlConfig {
    /// Address, `mysql://user:password@host:port/database`. Never printed.
    pub url: String,
    /// Connections of this process; default 16.
    pub connections: u32,
    /// Batches of sends that this process has in flight at a time; default 8. Never more than half
    /// of the connections, so that reads always find a free one.
    pub parallel_batches: u32,
    /// Deadline of a call; default 1.2 s, so that a send is answered within its own deadline of 1.5
    /// s while the server hangs.
    pub deadline: Duration,
    /// Deadline of housekeeping calls (trimming, sweeping); default 10 s.
    pub slow_deadline: Duration,
    /// PEM file of the CA that signed the server's certificate. With it, the certificate and its
    /// host name are verified, unless the address says otherwise (`?ssl-mode=…`).
    pub ca: Option<PathBuf>,
    /// Accepts a server that acknowledges a commit before it is on disk. Off by default: such a
    /// server is refused at start, because an answered send could be lost with the machine.
    pub relaxed_durability: bool,
}

impl MysqlConfig {
    /// Returns the defaults for an address.
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

    /// Returns the number of batches in flight that the connections allow.
    pub(crate) fn parallel_batches(&self) -> u32 {
        self.parallel_batches.min(self.connections / 2).max(1)
    }
}

impl fmt::Debug for MysqlConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may contain a password, so it is left out.
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

/// Settings of the connection to Redis.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// Address, `redis://host:port/db`, or `rediss://` for TLS. Never printed. Several addresses,
    /// separated by commas, are the nodes of a Redis Cluster. With
    /// `redis+sentinel://host:port,host:port/service/0` the Sentinels name the master.
    pub url: String,
    /// PEM file of the CA that signed the server's certificate, for `rediss://`; without it the
    /// system's CAs are trusted.
    pub ca: Option<PathBuf>,
    /// Prefix of every key, so that several clusters can share one Redis; default `gimlet:`.
    pub prefix: String,
    /// Deadline of a call; default 500 ms.
    pub deadline: Duration,
    /// Time for which a node's lease lives without a renewal; default 15 s.
    pub lease: Duration,
    /// Bounds of a room's history.
    pub room: RoomBounds,
}

impl RedisConfig {
    /// Returns the defaults for an address.
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
        // The address may contain a password, so it is left out.
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
