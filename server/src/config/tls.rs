//! TLS of the listeners: the certificate's files, and the rule for listeners off loopback.

use std::path::PathBuf;

use gimlet_cluster::ServerName;
use gimlet_listen::ServerTls;
use gimlet_listen::pem::{PemError, PemFile};
use gimlet_listen::tls::ServerFiles;

use super::Config;
use super::load::env_name;
use super::values::ListenerName;
use gimlet_cluster::{NodeFiles, NodeTls};

/// Listeners that carry tokens, messages or the cluster's secret. The ops listener refuses the keys of
/// its console where a network would see them ([`Config::is_ops_encrypted`]).
const CONFIDENTIAL: [&str; 5] = [
    "listen.tcp",
    "listen.ws",
    "listen.http",
    "listen.grpc",
    "listen.internal",
];

impl Config {
    /// Returns the files of the listeners' certificate, if one is configured.
    pub(crate) fn certificate_files(&self) -> Option<ServerFiles> {
        Some(ServerFiles {
            cert: file("tls.cert", self.tls.cert.as_ref())?,
            key: file("tls.key", self.tls.key.as_ref())?,
            client_ca: None,
        })
    }

    /// Returns whether a listener speaks TLS.
    #[must_use]
    pub fn has_tls(&self, listener: ListenerName) -> bool {
        self.tls.cert.is_some() && self.tls.listeners.contains(&listener)
    }

    /// Returns the listeners that speak TLS.
    #[must_use]
    pub fn encrypted(&self) -> Vec<ListenerName> {
        let listeners = self.tls.listeners.iter().copied();
        listeners.filter(|it| self.has_tls(*it)).collect()
    }

    /// Returns whether the way to the ops listener is encrypted, by this process or by something else.
    #[must_use]
    pub fn is_ops_encrypted(&self) -> bool {
        self.tls.terminated_elsewhere || self.has_tls(ListenerName::Ops)
    }

    /// Returns whether calls between nodes use TLS.
    #[must_use]
    pub fn has_node_tls(&self) -> bool {
        self.cluster.tls_ca.is_some()
    }

    /// Returns the files of this node's certificate, if nodes call each other by TLS.
    pub(crate) fn node_files(&self) -> Option<NodeFiles> {
        let cluster = &self.cluster;
        Some(NodeFiles {
            ca: file("cluster.tls_ca", cluster.tls_ca.as_ref())?,
            cert: file("cluster.tls_cert", cluster.tls_cert.as_ref())?,
            key: file("cluster.tls_key", cluster.tls_key.as_ref())?,
        })
    }

    /// Loads TLS of the calls to other nodes, if they use it.
    pub(crate) fn node_tls(&self) -> Result<Option<NodeTls>, PemError> {
        // The check has already refused an invalid name.
        let name = self.cluster.tls_name.clone();
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let files = self.node_files();
        files.map(|files| NodeTls::load(files, name)).transpose()
    }

    /// Loads TLS of the internal listener, if nodes use it.
    pub(crate) fn internal_tls(&self) -> Result<Option<ServerTls>, PemError> {
        let load = |NodeFiles { ca, cert, key }| {
            let client_ca = self.cluster.tls_mutual.then_some(ca);
            ServerTls::load(ServerFiles {
                cert,
                key,
                client_ca,
            })
        };
        self.node_files().map(load).transpose()
    }

    fn check_node_tls(&self, problems: &mut Vec<String>) {
        let cluster = &self.cluster;
        let parts = [
            ("cluster.tls_ca", cluster.tls_ca.is_some()),
            ("cluster.tls_cert", cluster.tls_cert.is_some()),
            ("cluster.tls_key", cluster.tls_key.is_some()),
        ];
        let missing: Vec<_> = parts.iter().filter(|(_, set)| !set).collect();
        if let [(first, _), ..] = missing.as_slice()
            && missing.len() < parts.len()
        {
            problems.push(format!(
                "{first} is not set, but TLS between nodes needs an authority, a certificate and its \
                 key; set {}, or leave all three out",
                env_name(first)
            ));
        }
        if missing.len() == parts.len() && (cluster.tls_mutual || cluster.tls_name.is_some()) {
            problems.push(format!(
                "cluster.tls_mutual and cluster.tls_name need TLS between nodes; set {}, or leave \
                 them out",
                env_name("cluster.tls_ca")
            ));
        }
        if let Some(name) = &cluster.tls_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            problems.push(format!(
                "cluster.tls_name = \"{name}\" is not a host name that a certificate can have; write \
                 one such as nodes.gimlet.internal"
            ));
        }
        let loaded = self.node_tls().map(drop);
        if let Err(error) = loaded.and_then(|()| self.internal_tls().map(drop)) {
            problems.push(error.to_string());
        }
    }

    pub(super) fn check_tls(&self, problems: &mut Vec<String>) {
        let (cert, key) = (&self.tls.cert, &self.tls.key);
        for (set, one, other) in [
            (cert.is_some() && key.is_none(), "tls.cert", "tls.key"),
            (key.is_some() && cert.is_none(), "tls.key", "tls.cert"),
        ] {
            if set {
                problems.push(format!(
                    "{one} is set and {other} is not; set {} to the other PEM file of the pair",
                    env_name(other)
                ));
            }
        }
        if let Some(files) = self.certificate_files()
            && let Err(error) = ServerTls::load(files)
        {
            problems.push(error.to_string());
        }
        self.check_node_tls(problems);
        self.check_encryption(problems);
    }

    /// Off loopback nothing confidential goes in the clear, unless the operator says that something
    /// else encrypts.
    fn check_encryption(&self, problems: &mut Vec<String>) {
        if self.tls.terminated_elsewhere || self.is_development() {
            return;
        }
        let (listen, encrypted) = (self.opened(), self.encrypted());
        let open = listen.all().filter(|(key, addr)| {
            let is_open = !addr.ip().is_loopback() && CONFIDENTIAL.contains(key);
            let by_nodes = *key == "listen.internal" && self.has_node_tls();
            is_open && !by_nodes && !encrypted.iter().any(|listener| listener.key() == *key)
        });
        let open: Vec<_> = open.map(|(key, addr)| format!("{key} = {addr}")).collect();
        if !open.is_empty() {
            problems.push(format!(
                "{} would be reachable from outside without TLS; set {} and {}, or set {} to true if \
                 a proxy or a private network encrypts",
                open.join(", "),
                env_name("tls.cert"),
                env_name("tls.key"),
                env_name("tls.terminated_elsewhere"),
            ));
        }
    }
}

fn file(setting: &'static str, path: Option<&String>) -> Option<PemFile> {
    let path = PathBuf::from(path?);
    Some(PemFile { setting, path })
}

#[cfg(test)]
mod tests {
    use super::super::{CodeVerifier, SecretString};
    use super::*;

    fn config() -> Config {
        let mut config = Config::default();
        config.business.code_verifier = CodeVerifier::Fixed(SecretString::new("1"));
        config
    }

    fn refusal(config: &Config) -> String {
        config.check().unwrap_err().to_string()
    }

    /// A certificate for localhost with its key, as PEM files in a folder.
    fn files(config: &mut Config) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        config.tls.cert = Some(path("cert.pem"));
        config.tls.key = Some(path("key.pem"));
        folder
    }

    #[test]
    fn off_loopback_nothing_confidential_goes_in_the_clear() {
        let mut open = config();
        open.listen.tcp = "0.0.0.0:8080".parse().ok();
        open.listen.ops = "0.0.0.0:8086".parse().ok();
        let text = refusal(&open);
        assert_eq!(text.lines().count(), 2, "one line for it: {text}");
        assert!(text.contains("listen.tcp = 0.0.0.0:8080 would"), "{text}");
        assert!(text.contains("GIMLET_TLS__TERMINATED_ELSEWHERE"), "{text}");
        assert!(!text.contains("listen.ops"), "{text}");
        let mut elsewhere = open.clone();
        elsewhere.tls.terminated_elsewhere = true;
        assert!(elsewhere.check().is_ok());
        assert!(elsewhere.is_ops_encrypted() && !open.is_ops_encrypted());
        let _files = files(&mut open);
        assert!(open.check().is_ok());
        assert!(!open.is_ops_encrypted(), "by default it has no TLS");
        let mut with_ops = open.clone();
        with_ops.tls.listeners.push(ListenerName::Ops);
        assert!(with_ops.is_ops_encrypted());
        // TLS on some listeners says nothing of the others.
        open.tls.listeners = vec![ListenerName::Ws];
        assert!(refusal(&open).contains("listen.tcp"));
        open.tls.listeners = vec![ListenerName::Tcp];
        open.listen.internal = "0.0.0.0:50000".parse().ok();
        open.cluster.secret = Some(SecretString::new("s"));
        assert!(refusal(&open).contains("listen.internal"));
    }

    #[test]
    fn tls_between_nodes_is_whole_or_not_there() {
        let mut node = config();
        node.cluster.tls_mutual = true;
        assert!(refusal(&node).contains("GIMLET_CLUSTER__TLS_CA"));
        let mut certificate = config();
        let _folder = files(&mut certificate);
        node.cluster.tls_ca.clone_from(&certificate.tls.cert);
        assert!(refusal(&node).contains("GIMLET_CLUSTER__TLS_CERT"));
        node.cluster.tls_cert.clone_from(&certificate.tls.cert);
        node.cluster.tls_key.clone_from(&certificate.tls.key);
        assert!(node.check().is_ok());
        node.listen.internal = "0.0.0.0:50000".parse().ok();
        node.cluster.secret = Some(SecretString::new("s"));
        assert!(node.check().is_ok(), "it is encrypted");
        node.cluster.tls_name = Some("not a name".into());
        assert!(refusal(&node).contains("cluster.tls_name"));
        node.cluster.tls_name = None;
        node.cluster.tls_ca = Some("/no/such/ca.pem".into());
        assert!(refusal(&node).contains("cluster.tls_ca = \"/no/such/ca.pem\""));
    }

    #[test]
    fn files_that_cannot_be_used_are_said_with_their_setting() {
        let mut half = config();
        half.tls.cert = Some("/no/such/cert.pem".into());
        assert!(refusal(&half).contains("GIMLET_TLS__KEY"));
        half.tls.key = Some("/no/such/key.pem".into());
        let text = refusal(&half);
        assert!(
            text.contains("tls.cert = \"/no/such/cert.pem\" cannot be read"),
            "{text}"
        );
        let mut right = config();
        let folder = files(&mut right);
        assert!(right.check().is_ok());
        let mut other = config();
        let _other = files(&mut other);
        let mut swapped = right.clone();
        swapped.tls.key = other.tls.key;
        let text = refusal(&swapped);
        assert!(text.contains("does not belong to tls.cert = "), "{text}");
        let mut wrong = right.clone();
        wrong.tls.key.clone_from(&right.tls.cert);
        assert!(refusal(&wrong).contains("has no private key"));
        let locked = folder.path().join("locked.pem");
        let pem =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        std::fs::write(&locked, pem).unwrap();
        wrong.tls.key = Some(locked.display().to_string());
        assert!(refusal(&wrong).contains("openssl pkey"));
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        let mut wrong = right;
        wrong.tls.cert = Some(empty.display().to_string());
        assert!(refusal(&wrong).contains("has no certificate"));
    }
}
