//! Configuration: plain data in three layers, defaults < TOML file < environment.
//!
//! Serves everything in this crate; nothing else reads a file or the environment. An unknown key is
//! an error that names the nearest known one, and everything is checked before anything opens. This
//! module knows no store, socket or service.

mod auth;
mod check;
mod codec;
mod documents;
mod files;
mod load;
#[cfg(feature = "cli")]
mod log_level;
mod nearest;
mod problem;
mod proxies;
mod push;
mod repeated;
mod sections;
mod service_link;
mod setting;
mod tls;
mod values;
mod webhook_settings;
mod webhooks;

pub use crate::secret::SecretString;
pub use documents::{TABLES_START, page_tables, template};
pub(crate) use load::env_name;
pub use problem::{ConfigError, ConfigNotice, ConfigProblem};
pub use sections::{
    ApnsConfig, AuthConfig, BusinessConfig, ClusterConfig, CompatConfig, Config, FcmConfig,
    FilesConfig, HttpConfig, LimitsConfig, ListenConfig, LogConfig, OutboundConfig, PolicyConfig,
    ProxyConfig, PushConfig, StopConfig, StorageConfig, TlsConfig, WebPushConfig,
};
pub use values::{
    BusinessKind, CodeVerifier, DirectPolicy, FileStoreKind, GroupAdd, ListenerName, LogFormat,
    NodeRole, NodeRoles, RoomPush, StorageDurability, StorageKind, SyncFromZero, WebhookEvent,
    WebhookFailure, WebhookReceiver,
};
pub use webhook_settings::WebhookConfig;

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
        config.http.api_keys = vec![SecretString::new("k3y"), SecretString::new("k3y-2")];
        for text in [config.masked(), format!("{config:?}")] {
            assert!(!text.contains("tr0ub4dor"), "{text}");
            assert!(!text.contains("248163"), "{text}");
            assert!(!text.contains("pass"), "{text}");
            assert!(!text.contains("k3y"), "{text}");
        }
        assert!(config.masked().contains("[cluster]\nsecret = \"***\""));
    }
}
