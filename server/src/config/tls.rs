//! TLS of the listeners: the certificate's files, and the rule for listeners off loopback.

use std::path::PathBuf;

use gimlet_listen::ServerTls;
use gimlet_listen::pem::PemFile;
use gimlet_listen::tls::ServerFiles;

use super::Config;
use super::load::env_name;
use super::sections::Listener;

/// Listeners that carry tokens, messages or the cluster's secret. The ops listener has none of them.
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
        let file = |setting, path: &Option<String>| {
            let path = PathBuf::from(path.as_ref()?);
            Some(PemFile { setting, path })
        };
        Some(ServerFiles {
            cert: file("tls.cert", &self.tls.cert)?,
            key: file("tls.key", &self.tls.key)?,
            client_ca: None,
        })
    }

    /// Returns whether a listener speaks TLS.
    #[must_use]
    pub fn has_tls(&self, listener: Listener) -> bool {
        self.tls.cert.is_some() && self.tls.listeners.contains(&listener)
    }

    /// Returns the listeners that speak TLS.
    #[must_use]
    pub fn encrypted(&self) -> Vec<Listener> {
        let listeners = self.tls.listeners.iter().copied();
        listeners.filter(|it| self.has_tls(*it)).collect()
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
            is_open && !encrypted.iter().any(|listener| listener.key() == *key)
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

#[cfg(test)]
mod tests {
    use super::super::{CodeVerifier, Secret};
    use super::*;

    fn config() -> Config {
        let mut config = Config::default();
        config.business.code_verifier = CodeVerifier::Fixed(Secret::new("1"));
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
        let _files = files(&mut open);
        assert!(open.check().is_ok());
        // TLS on some listeners says nothing of the others.
        open.tls.listeners = vec![Listener::Ws];
        assert!(refusal(&open).contains("listen.tcp"));
        open.tls.listeners = vec![Listener::Tcp];
        open.listen.internal = "0.0.0.0:50000".parse().ok();
        open.cluster.secret = Some(Secret::new("s"));
        assert!(refusal(&open).contains("listen.internal"));
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
