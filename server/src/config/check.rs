//! Checks of the configuration: a combination that cannot work is refused before anything opens,
//! and a legal but dangerous one gets a notice.

use gimlet_cluster::{ClusterId, NodeCredentials, check_address};
use gimlet_listen::origins::AllowedOrigins;
use gimlet_web::verifier;

use super::Config;
use super::codec::without_password;
use super::load::env_name;
#[cfg(feature = "cli")]
use super::log_level;
use super::problem::{ConfigError, ConfigNotice, ConfigProblem};
use super::sections::{LISTS, all_settings};
use super::values::{BusinessKind, CodeVerifier, NodeRole, StorageKind};
use crate::secret::SecretString;

impl Config {
    /// Refuses a configuration that cannot work or must not run; returns the notices for the
    /// operator.
    pub fn check(&self) -> Result<Vec<ConfigNotice>, ConfigError> {
        let mut problems = Vec::new();
        self.check_roles_and_cluster(&mut problems);
        self.check_storage(&mut problems);
        self.check_listeners(&mut problems);
        self.check_exposure(&mut problems);
        self.check_tls(&mut problems);
        self.check_proxies(&mut problems);
        self.check_bounds(&mut problems);
        self.check_verifier(&mut problems);
        self.check_auth(&mut problems);
        self.check_origins(&mut problems);
        self.check_webhooks(&mut problems);
        self.check_push(&mut problems);
        self.check_files(&mut problems);
        #[cfg(feature = "cli")]
        self.check_log(&mut problems);
        if problems.is_empty() {
            return Ok(self.notices());
        }
        Err(ConfigError(
            problems.into_iter().map(ConfigProblem::Refused).collect(),
        ))
    }

    /// Returns whether this is a development run: 000000 signs in any phone number, uploads need no
    /// sign-in, and requests through a proxy are refused. It must be chosen and is never inferred
    /// from an address: a proxy on this machine reaches loopback listeners for the whole world.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.business.code_verifier == CodeVerifier::Development
    }

    /// Returns whether the HTTP listener serves the web chat.
    #[must_use]
    pub fn serves_chat(&self) -> bool {
        self.http.chat || self.is_development()
    }

    fn check_roles_and_cluster(&self, problems: &mut Vec<String>) {
        let has = |role| self.roles.has(role);
        let (connect, logic, business) = (
            has(NodeRole::Connect),
            has(NodeRole::Logic),
            has(NodeRole::Business),
        );
        let clustered = self.storage.kind == StorageKind::Mysql;
        let together = connect && logic;
        if !(clustered || together) {
            problems.push(format!(
                "roles: with storage.kind = \"{}\" connect and logic must be in one process; add \
                 the other one, or set {} to mysql",
                if self.storage.kind == StorageKind::Sled {
                    "sled"
                } else {
                    "memory"
                },
                env_name("storage.kind")
            ));
        }
        let cluster = &self.cluster;
        let lacks = [
            (clustered && connect && !logic, "logic", &cluster.logic),
            (
                logic && !business && self.business.kind == BusinessKind::Grpc,
                "business",
                &cluster.business,
            ),
        ];
        for (needed, role, addresses) in lacks {
            if needed && addresses.is_empty() {
                problems.push(format!(
                    "roles: {role} is not in this process and its address is not set; set {} to \
                     host:port of its internal listener, or add the role",
                    env_name(&format!("cluster.{role}"))
                ));
            }
        }
        if !clustered && cluster.advertise.is_some() {
            problems.push(
                "cluster.advertise is set, but only storage.kind = \"mysql\" has other nodes; \
                 leave it out"
                    .into(),
            );
        }
        let all = [
            ("cluster.logic", cluster.logic.as_slice()),
            ("cluster.business", cluster.business.as_slice()),
            ("cluster.advertise", cluster.advertise.as_slice()),
        ];
        for (key, addresses) in all {
            for address in addresses {
                if let Err(expected) = check_address(address) {
                    problems.push(format!(
                        "{key} = {address:?} is not a host:port address: {expected}"
                    ));
                }
            }
        }
        let secret = cluster.secret.as_ref().map(SecretString::reveal);
        if let Err(expected) = NodeCredentials::new(secret, ClusterId::default()) {
            problems.push(format!("cluster.secret cannot be sent: {expected}"));
        }
        if clustered && connect && cluster.advertise.is_none() {
            match self.listen.internal {
                None => problems.push(
                    "listen.internal = off, but other nodes deliver pushes to this one there; set an \
                     address"
                        .into(),
                ),
                Some(addr) if addr.ip().is_unspecified() => problems.push(format!(
                    "listen.internal = {addr} has no address that other nodes can reach; set {} to \
                     this node's host:port",
                    env_name("cluster.advertise")
                )),
                Some(_) => {}
            }
        }
    }

    fn check_storage(&self, problems: &mut Vec<String>) {
        let storage = &self.storage;
        match storage.kind {
            StorageKind::Mysql if cfg!(not(feature = "mysql")) => problems.push(
                "storage.kind = \"mysql\": this build has no mysql storage; build with \
                 --features mysql"
                    .into(),
            ),
            StorageKind::Mysql => {
                let urls = [
                    (
                        "mysql_url",
                        storage.mysql_url.is_none() && self.needs_mysql(),
                    ),
                    ("redis_url", storage.redis_url.is_none()),
                ];
                for (name, _) in urls.into_iter().filter(|(_, missing)| *missing) {
                    problems.push(format!(
                        "storage.{name} is not set, and storage.kind = \"mysql\" needs it; set {}",
                        env_name(&format!("storage.{name}"))
                    ));
                }
                let files = [
                    ("mysql_ca", &storage.mysql_ca),
                    ("redis_ca", &storage.redis_ca),
                ];
                for (name, file) in files {
                    if let Some(file) = file
                        && let Err(error) = std::fs::File::open(file)
                    {
                        problems.push(format!(
                            "storage.{name} = \"{file}\" cannot be read ({error}); name a PEM file"
                        ));
                    }
                }
            }
            StorageKind::Sled if cfg!(not(feature = "sled")) => problems.push(
                "storage.kind = \"sled\": this build has no sled storage; write memory, or build \
                 with --features sled"
                    .into(),
            ),
            StorageKind::Sled | StorageKind::Memory => {
                let urls = [
                    ("storage.mysql_url", storage.mysql_url.is_some()),
                    ("storage.redis_url", storage.redis_url.is_some()),
                    ("storage.mysql_ca", storage.mysql_ca.is_some()),
                    ("storage.redis_ca", storage.redis_ca.is_some()),
                ];
                for (key, _) in urls.into_iter().filter(|(_, set)| *set) {
                    problems.push(format!(
                        "{key} is set, but storage.kind does not use it; leave it out"
                    ));
                }
            }
        }
    }

    fn check_listeners(&self, problems: &mut Vec<String>) {
        let listen = self.opened();
        let all: Vec<_> = listen.all().collect();
        for (at, (key, addr)) in all.iter().enumerate() {
            let twin = all
                .iter()
                .take(at)
                .find(|(_, other)| other == addr && addr.port() != 0);
            if let Some((other, _)) = twin {
                problems.push(format!(
                    "{key} and {other} are both {addr}; give each listener an address of its own"
                ));
            }
        }
        if listen.ws.is_some() && cfg!(not(feature = "ws")) {
            problems.push(
                "listen.ws: this build has no WebSocket; write off, or build with --features ws"
                    .into(),
            );
        }
        if let Some(url) = &self.http.public_url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            problems.push(format!(
                "http.public_url = \"{}\": begin it with http:// or https://, for example \
                 https://files.example.com",
                without_password(url)
            ));
        }
    }

    fn check_exposure(&self, problems: &mut Vec<String>) {
        let listen = self.opened();
        let open = listen.all().find(|(_, addr)| !addr.ip().is_loopback());
        if let Some((key, addr)) = open
            && self.is_development()
        {
            problems.push(format!(
                "{key} = {addr} is reachable from outside, where the development code 000000 \
                 would let anyone sign in as any user; set {} to the http:// address of your code \
                 checker, or to fixed:CODE for a closed test",
                env_name("business.code_verifier")
            ));
        }
        if let Some(addr) = self.listen.internal
            && !addr.ip().is_loopback()
            && self.cluster.secret.is_none()
        {
            problems.push(format!(
                "listen.internal = {addr}: the internal services act for any user, so off \
                 loopback they need a shared secret; set {}, or listen on 127.0.0.1",
                env_name("cluster.secret")
            ));
        }
    }

    fn check_origins(&self, problems: &mut Vec<String>) {
        for origin in &self.http.origins {
            if let Err(expected) = AllowedOrigins::check(origin) {
                problems.push(format!(
                    "http.origins has \"{origin}\", which is not {expected}"
                ));
            }
        }
    }

    fn check_verifier(&self, problems: &mut Vec<String>) {
        // Users with JWTs need no code.
        if self.roles.has(NodeRole::Business)
            && self.business.code_verifier == CodeVerifier::Unset
            && !self.has_jwt_keys()
        {
            problems.push(format!(
                "business.code_verifier is not set, and any configuration must name a checker \
                 of verification codes; set {} to dev (development on this machine: 000000 signs in \
                 any phone number), to the http:// address of your code checker, or to fixed:CODE \
                 for a closed test",
                env_name("business.code_verifier")
            ));
        }
        let CodeVerifier::Http(url) = &self.business.code_verifier else {
            return;
        };
        if verifier::is_address(url) {
            return;
        }
        problems.push(
            "business.code_verifier is not an http address: write one, for example \
             http://127.0.0.1:7000/check"
                .into(),
        );
    }

    #[cfg(feature = "cli")]
    fn check_log(&self, problems: &mut Vec<String>) {
        let level = &self.log.level;
        if let Err(wrong) = log_level::check(level) {
            problems.push(format!("log.level = \"{level}\" {wrong}"));
        } else if let Err(error) = tracing_subscriber::EnvFilter::try_new(level) {
            problems.push(format!(
                "log.level = \"{level}\" is not a filter ({error}): write error, warn, info, \
                 debug or trace, or a filter, for example info,gimlet_core=debug"
            ));
        }
    }

    /// Refuses values that are out of their bounds. Those of an unused storage do not matter.
    fn check_bounds(&self, problems: &mut Vec<String>) {
        let is_mysql = self.storage.kind == StorageKind::Mysql;
        let is_used = |key: &str| match key {
            "storage.cache" => !is_mysql,
            "storage.mysql_connections" | "storage.mysql_parallel_batches" => is_mysql,
            _ => true,
        };
        let used = all_settings().filter(|setting| is_used(setting.key));
        problems.extend(used.filter_map(|setting| setting.refusal(self)));
        problems.extend(LISTS.iter().flat_map(|list| list.refusals(self)));
    }

    fn notices(&self) -> Vec<ConfigNotice> {
        let mut notices = Vec::new();
        match &self.business.code_verifier {
            CodeVerifier::Development => notices.push(ConfigNotice(
                "development run: 000000 signs in any phone number and uploads need no sign-in, so \
                 requests through a proxy are refused; set business.code_verifier before anyone \
                 else can reach this server",
            )),
            _ if !self.roles.has(NodeRole::Business) => {}
            CodeVerifier::Fixed(_) => notices.push(ConfigNotice(
                "business.code_verifier is fixed: anyone who knows the code can sign in as any user",
            )),
            CodeVerifier::Unset | CodeVerifier::Http(_) => {}
        }
        notices.extend(self.jwt_notice());
        if self.service_links {
            notices.push(ConfigNotice(
                "variables of a Kubernetes service or Docker link named gimlet are not \
                 configuration and were ignored; enableServiceLinks: false keeps them out of a pod",
            ));
        }
        #[cfg(feature = "cli")]
        if log_level::is_partial(&self.log.level) {
            notices.push(ConfigNotice(
                "log.level names targets only: nothing else is logged; begin it with info for the \
                 rest",
            ));
        }
        if self.compat.fixed_token {
            notices.push(ConfigNotice(
                "compat.fixed_token is on: every user's token is \"0\" and anyone can act as \
                 any user; use it for gim's old test clients only",
            ));
        }
        let unreachable = |addr: std::net::SocketAddr| {
            addr.ip().is_unspecified() || addr.ip().is_loopback() && !self.is_development()
        };
        let has_files = self.roles.has(NodeRole::Business);
        let unreachable = has_files && self.opened().http.is_some_and(unreachable);
        if unreachable && self.http.public_url.is_none() {
            notices.push(ConfigNotice(
                "http.public_url is not set: the addresses of uploaded files will not be reachable; \
                 set it to the address at which clients reach the http listener",
            ));
        }
        if self.storage.kind == StorageKind::Memory {
            notices.push(ConfigNotice(
                "storage is in memory: all data is lost when this process ends",
            ));
        }
        notices
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NodeRole, NodeRoles, SecretString};
    use super::*;

    fn development() -> Config {
        let mut config = Config::default();
        config.business.code_verifier = CodeVerifier::Development;
        config
    }

    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut config = development();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn the_development_code_never_leaves_loopback() {
        let text = refusal(|c| c.listen.tcp = "0.0.0.0:8080".parse().ok());
        assert!(text.contains("GIMLET_BUSINESS__CODE_VERIFIER"), "{text}");
        let mut config = Config::default();
        config.listen.tcp = "0.0.0.0:8080".parse().ok();
        config.tls.terminated_elsewhere = true;
        config.business.code_verifier = CodeVerifier::Fixed(SecretString::new("1"));
        assert!(
            config
                .check()
                .unwrap()
                .iter()
                .any(|n| n.0.contains("fixed"))
        );
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        let text = refusal(|c| c.http.origins = vec!["chat.example".into()]);
        assert!(
            text.contains("http.origins") && text.contains("https://"),
            "{text}"
        );
        let mut config = development();
        config.http.origins = vec!["same".into(), "https://chat.example:8443".into()];
        assert!(config.check().is_ok());
    }

    #[test]
    fn loopback_alone_is_no_reason_for_development() {
        let text = Config::default().check().unwrap_err().to_string();
        assert!(
            text.contains("GIMLET_BUSINESS__CODE_VERIFIER to dev"),
            "{text}"
        );
        let mut config = Config::default();
        config.business.code_verifier = CodeVerifier::Fixed(SecretString::new("1"));
        let notices = config.check().unwrap();
        assert!(!config.is_development());
        // Behind a proxy, clients cannot reach 127.0.0.1: the addresses of uploads would be wrong.
        assert!(notices.iter().any(|n| n.0.contains("http.public_url")));
    }

    #[test]
    fn internal_services_off_loopback_need_a_secret() {
        let open = |c: &mut Config| {
            c.business.code_verifier = CodeVerifier::Fixed(SecretString::new("1"));
            c.listen.internal = "0.0.0.0:50000".parse().ok();
        };
        assert!(refusal(open).contains("GIMLET_CLUSTER__SECRET"));
        let mut config = Config::default();
        open(&mut config);
        config.cluster.secret = Some(SecretString::new("s"));
        config.tls.terminated_elsewhere = true;
        assert!(config.check().is_ok());
    }

    #[test]
    fn internal_and_clients_services_never_share_an_address() {
        let text = refusal(|c| c.listen.internal = c.listen.grpc.first().copied());
        assert!(
            text.contains("listen.internal and listen.grpc are both"),
            "{text}"
        );
    }

    #[test]
    fn what_this_build_cannot_do_is_refused() {
        assert!(refusal(|c| c.roles = NodeRoles(vec![NodeRole::Logic])).contains("one process"));
        assert!(refusal(|c| c.cluster.advertise = Some("a:1".into())).contains("mysql"));
        assert!(refusal(|c| c.limits.node.content = 1 << 20).contains("limits.content"));
        assert!(refusal(|c| c.http.public_url = Some("files".into())).contains("https://"));
    }

    #[test]
    fn a_cache_of_next_to_nothing_is_refused() {
        let text = refusal(|c| c.storage.cache = 64);
        assert!(text.contains("storage.cache = 64") && text.contains("1MiB"));
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn a_role_says_what_it_lacks() {
        let text = refusal(|c| c.storage.kind = StorageKind::Mysql);
        assert!(text.contains("GIMLET_STORAGE__MYSQL_URL"), "{text}");
        assert!(text.contains("GIMLET_STORAGE__REDIS_URL"), "{text}");
        let connect = |c: &mut Config| {
            c.storage.kind = StorageKind::Mysql;
            c.storage.redis_url = Some(SecretString::new("redis://127.0.0.1:6379/0"));
            c.roles = NodeRoles(vec![NodeRole::Connect]);
        };
        let text = refusal(connect);
        assert!(
            text.contains("GIMLET_CLUSTER__LOGIC") && !text.contains("MYSQL_URL"),
            "{text}"
        );
        let text = refusal(|c| {
            connect(c);
            c.cluster.logic = vec!["logic".into()];
            c.listen.internal = "0.0.0.0:1".parse().ok();
        });
        assert!(text.contains("host:port, for example"), "{text}");
        assert!(text.contains("GIMLET_CLUSTER__ADVERTISE"), "{text}");
        let mut config = Config::default();
        connect(&mut config);
        config.cluster.logic = vec!["logic-1:50000".into(), "10.0.0.2:50000".into()];
        // A process without accounts needs no code verifier.
        config.listen.tcp = "0.0.0.0:8080".parse().ok();
        config.tls.terminated_elsewhere = true;
        assert_eq!(config.check().map(|notices| notices.len()).ok(), Some(0));
        assert!(config.opened().http.is_some() && config.opened().grpc.is_empty());
    }

    #[test]
    fn a_business_server_of_ones_own_needs_no_cluster() {
        let mut config = Config {
            roles: NodeRoles(vec![NodeRole::Connect, NodeRole::Logic]),
            ..Config::default()
        };
        assert!(
            config
                .check()
                .unwrap_err()
                .to_string()
                .contains("GIMLET_CLUSTER__BUSINESS")
        );
        config.cluster.business = vec!["127.0.0.1:7000".into()];
        assert!(config.check().is_ok());
        assert!(config.opened().http.is_some(), "for the HTTP API");
    }

    #[test]
    fn what_would_not_start_is_refused_before() {
        for url in ["http://", "http:///check", "http://a b/"] {
            let text = refusal(|c| c.business.code_verifier = CodeVerifier::Http(url.into()));
            assert!(text.contains("business.code_verifier"), "{text}");
        }
        #[cfg(feature = "cli")]
        assert!(refusal(|c| c.log.level = "loud=very".into()).contains("log.level"));
    }

    #[test]
    fn danger_is_said_aloud() {
        let mut config = development();
        config.compat.fixed_token = true;
        assert!(
            config
                .check()
                .unwrap()
                .iter()
                .any(|n| n.0.contains("fixed_token"))
        );
    }
}
