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
mod proxies;
mod sections;
mod service_link;
mod table;
mod tls;

pub use check::Notice;
pub use codec::Secret;
pub(crate) use load::env_name;
pub use load::{ConfigError, Problem};
pub use sections::{
    Business, Cluster, CodeVerifier, Compat, Direct, Durability, GroupAdd, Http, Limits, Listen,
    Listener, Log, LogFormat, Policy, Proxies, Role, Roles, RoomPush, Stop, Storage, StorageKind,
    SyncFromZero, Tls,
};

use std::fmt::Write as _;
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
    pub roles: Roles,
    /// Storage engine.
    pub storage: Storage,
    /// Addresses for clients and backends.
    pub listen: Listen,
    /// Proxies in front of the listeners.
    pub proxies: Proxies,
    /// Certificate of the listeners, and who encrypts without one.
    pub tls: Tls,
    /// The built-in business service.
    pub business: Business,
    /// Upload and download of files.
    pub http: Http,
    /// Switches for gim's old clients.
    pub compat: Compat,
    /// Rules that each deployment chooses.
    pub policy: Policy,
    /// Bounds of what rooms keep.
    pub rooms: RoomBounds,
    /// Bounds of everything else.
    pub limits: Limits,
    /// Timing of a stop.
    pub stop: Stop,
    /// Format and level of the log.
    pub log: Log,
    /// Other nodes.
    pub cluster: Cluster,
    /// `true` if variables of a service named gimlet were in the environment and were ignored.
    #[doc(hidden)]
    pub service_links: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            roles: Roles::default(),
            storage: Storage::default(),
            listen: Listen::default(),
            proxies: Proxies::default(),
            tls: Tls::default(),
            business: Business::default(),
            http: Http::default(),
            compat: Compat::default(),
            policy: Policy::default(),
            rooms: RoomBounds::default(),
            limits: Limits::default(),
            stop: Stop::default(),
            log: Log::default(),
            cluster: Cluster::default(),
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
            storage: Storage {
                kind: StorageKind::Memory,
                ..Storage::default()
            },
            listen: Listen::any_port(),
            business: Business {
                code_verifier: CodeVerifier::Development,
                ..Business::default()
            },
            ..Self::default()
        }
    }

    /// Returns the listeners that the roles of this process open.
    #[must_use]
    pub fn opened(&self) -> Listen {
        self.listen.of(&self.roles)
    }

    /// Returns whether this process opens MySQL: a connect node reads through logic nodes.
    #[must_use]
    pub fn needs_mysql(&self) -> bool {
        self.storage.kind == StorageKind::Mysql
            && (self.roles.has(Role::Logic) || self.roles.has(Role::Business))
    }

    /// Returns the keys whose values differ in another configuration.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<&'static str> {
        table::SETTINGS
            .iter()
            .filter(|setting| !(setting.same)(self, other))
            .map(|setting| setting.key)
            .collect()
    }

    /// Returns the effective values as TOML, secrets masked: `gimlet check-config`.
    #[must_use]
    pub fn masked(&self) -> String {
        let mut text = String::new();
        let mut open = "";
        for setting in table::SETTINGS {
            let (section, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
            if section != open {
                let _ = write!(text, "\n[{section}]\n");
                open = section;
            }
            let value = (setting.get)(self);
            let _ = writeln!(text, "{name} = {}", toml::Value::String(value));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        let mut config = Config::default();
        config.cluster.secret = Some(Secret::new("tr0ub4dor"));
        config.business.code_verifier = CodeVerifier::Fixed(Secret::new("248163"));
        config.storage.mysql_url = Some(Secret::new("mysql://root:pass@db/gimlet"));
        for text in [config.masked(), format!("{config:?}")] {
            assert!(!text.contains("tr0ub4dor"), "{text}");
            assert!(!text.contains("248163"), "{text}");
            assert!(!text.contains("pass"), "{text}");
        }
        assert!(config.masked().contains("[cluster]\nsecret = \"***\""));
    }
}
