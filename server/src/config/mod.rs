//! Configuration: plain data in three layers, defaults < TOML file < environment.
//!
//! Serves everything in this crate; nothing else reads a file or the environment. An unknown key is
//! an error that names the nearest known one, and everything is checked before anything opens. This
//! module knows no store, socket or service.

mod check;
mod codec;
mod load;
#[cfg(feature = "cli")]
mod log_level;
mod nearest;
mod problem;
mod proxies;
mod sections;
mod service_link;
mod table;
mod tls;

pub use crate::secret::SecretString;
pub(crate) use load::env_name;
pub use problem::{ConfigError, ConfigNotice, ConfigProblem};
pub use sections::{
    BusinessConfig, ClusterConfig, CodeVerifier, CompatConfig, DirectPolicy, GroupAdd, HttpConfig,
    LimitsConfig, ListenConfig, ListenerName, LogConfig, LogFormat, NodeRole, NodeRoles,
    PolicyConfig, ProxyConfig, RoomPush, StopConfig, StorageConfig, StorageDurability, StorageKind,
    SyncFromZero, TlsConfig,
};

use std::path::PathBuf;

use gimlet_core::memory::RoomBounds;

/// The commented configuration file with every key at its default: `gimlet config default`.
pub const TEMPLATE: &str = include_str!("../../gimlet.toml");

/// The whole configuration. `gimlet.toml` beside this crate says what each key means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Folder of the embedded storage and of uploaded files.
    pub data_dir: PathBuf,
    /// The roles of this process.
    pub roles: NodeRoles,
    /// Storage engine.
    pub storage: StorageConfig,
    /// Addresses for clients and backends.
    pub listen: ListenConfig,
    /// Proxies in front of the listeners.
    pub proxies: ProxyConfig,
    /// Certificate of the listeners, and who encrypts without one.
    pub tls: TlsConfig,
    /// The built-in business service.
    pub business: BusinessConfig,
    /// Upload and download of files.
    pub http: HttpConfig,
    /// Switches for gim's old clients.
    pub compat: CompatConfig,
    /// Rules that each deployment chooses.
    pub policy: PolicyConfig,
    /// Bounds of what rooms keep.
    pub rooms: RoomBounds,
    /// Bounds of everything else.
    pub limits: LimitsConfig,
    /// Timing of a stop.
    pub stop: StopConfig,
    /// Format and level of the log.
    pub log: LogConfig,
    /// Other nodes.
    pub cluster: ClusterConfig,
    /// `true` if variables of a service named gimlet were in the environment and were ignored.
    #[doc(hidden)]
    pub service_links: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            roles: NodeRoles::default(),
            storage: StorageConfig::default(),
            listen: ListenConfig::default(),
            proxies: ProxyConfig::default(),
            tls: TlsConfig::default(),
            business: BusinessConfig::default(),
            http: HttpConfig::default(),
            compat: CompatConfig::default(),
            policy: PolicyConfig::default(),
            rooms: RoomBounds::default(),
            limits: LimitsConfig::default(),
            stop: StopConfig::default(),
            log: LogConfig::default(),
            cluster: ClusterConfig::default(),
            service_links: false,
        }
    }
}

impl Config {
    /// Returns the configuration of a whole server inside another program: a development run with
    /// in-memory storage, every listener on a free port of loopback, and no files but uploads in a
    /// temporary folder.
    #[must_use]
    pub fn embedded() -> Self {
        Self {
            storage: StorageConfig {
                kind: StorageKind::Memory,
                ..StorageConfig::default()
            },
            listen: ListenConfig::any_port(),
            business: BusinessConfig {
                code_verifier: CodeVerifier::Development,
                ..BusinessConfig::default()
            },
            ..Self::default()
        }
    }

    /// Returns the listeners that the roles of this process open.
    #[must_use]
    pub fn opened(&self) -> ListenConfig {
        self.listen.of(&self.roles)
    }

    /// Returns whether this process opens MySQL: a connect node reads through logic nodes.
    #[must_use]
    pub fn needs_mysql(&self) -> bool {
        self.storage.kind == StorageKind::Mysql
            && (self.roles.has(NodeRole::Logic) || self.roles.has(NodeRole::Business))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        let mut config = Config::default();
        config.cluster.secret = Some(SecretString::new("tr0ub4dor"));
        config.business.code_verifier = CodeVerifier::Fixed(SecretString::new("248163"));
        config.storage.mysql_url = Some(SecretString::new("mysql://root:pass@db/gimlet"));
        for text in [config.masked(), format!("{config:?}")] {
            assert!(!text.contains("tr0ub4dor"), "{text}");
            assert!(!text.contains("248163"), "{text}");
            assert!(!text.contains("pass"), "{text}");
        }
        assert!(config.masked().contains("[cluster]\nsecret = \"***\""));
    }
}
