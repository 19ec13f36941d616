//! The certificates of this process: loaded at start, and again on SIGHUP and when their files
//! change. Open connections are not affected: a handshake uses the certificate that is in force
//! then.

use std::sync::Arc;
use std::time::Duration;

use gimlet_listen::pem::{FileCheck, PemError, ReloadFiles};
use gimlet_listen::{AlpnProtocols, ListenerTls, ServerTls};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ListenerName};
use gimlet_cluster::NodeTls;

/// Interval of the checks of the files. A file watch would miss the changes of Kubernetes and
/// certbot, which replace symbolic links.
const LOOK: Duration = Duration::from_secs(5);

/// The certificates of a running server. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CertificateFiles {
    listeners: Option<ServerTls>,
    internal: Option<ServerTls>,
    nodes: Option<NodeTls>,
    all: Vec<Arc<dyn ReloadFiles>>,
}

impl CertificateFiles {
    /// Loads what the configuration names.
    pub(crate) fn load(config: &Config) -> Result<Self, PemError> {
        let listeners = config.certificate_files().map(ServerTls::load);
        let listeners = listeners.transpose()?;
        let (internal, nodes) = (config.internal_tls()?, config.node_tls()?);
        let servers = listeners.iter().chain(&internal);
        let servers = servers.map(ServerTls::reload_handle);
        let all = servers.chain(nodes.iter().map(NodeTls::reload_handle));
        Ok(Self {
            all: all.collect(),
            listeners,
            internal,
            nodes,
        })
    }

    /// Returns TLS of the listener for backends and other nodes, if it speaks it.
    pub(crate) fn internal(&self) -> Option<ListenerTls> {
        let tls = self.internal.as_ref()?;
        Some(tls.listener(AlpnProtocols::Http2))
    }

    /// Returns TLS of the calls to other nodes, if they use it.
    pub(crate) fn nodes(&self) -> Option<NodeTls> {
        self.nodes.clone()
    }

    /// Returns TLS for a listener, if it speaks it.
    pub(crate) fn of(&self, config: &Config, listener: ListenerName) -> Option<ListenerTls> {
        let alpn = match listener {
            ListenerName::Tcp => AlpnProtocols::Frames,
            ListenerName::Ws | ListenerName::Ops => AlpnProtocols::Http1,
            ListenerName::Http | ListenerName::Grpc => AlpnProtocols::Http2,
        };
        let tls = self.listeners.as_ref()?;
        config.has_tls(listener).then(|| tls.listener(alpn))
    }

    /// Reads all files again. Files that cannot be used change nothing.
    pub fn reload(&self) {
        for certificate in &self.all {
            let files = certificate.files();
            match certificate.reload() {
                Ok(()) => tracing::info!(files, "certificate loaded again"),
                Err(error) => {
                    tracing::error!(%error, "SIGHUP: the certificate stays as it was");
                }
            }
        }
    }

    /// Looks for changed files until `stop`.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        if self.all.is_empty() {
            return;
        }
        while tokio::time::timeout(LOOK, stop.cancelled()).await.is_err() {
            let looking = self.clone();
            // Files may be on a network: no thread of the runtime waits for them.
            let looked = tokio::task::spawn_blocking(move || looking.look());
            if looked.await.is_err() {
                return;
            }
        }
    }

    fn look(&self) {
        for certificate in &self.all {
            match certificate.look() {
                FileCheck::Unchanged => {}
                FileCheck::Reloaded => {
                    let files = certificate.files();
                    tracing::info!(files, "certificate changed, loaded again");
                }
                FileCheck::Refused(error) => {
                    gimlet_core::warn_rated!(
                        %error,
                        "changed certificate cannot be used, the former one stays"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn changed_files_are_used_by_themselves_and_a_certificate_without_its_key_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let certify = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let made = certify();
        std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let mut config = Config::default();
        config.tls.cert = Some(path("cert.pem").display().to_string());
        config.tls.key = Some(path("key.pem").display().to_string());
        let certificates = CertificateFiles::load(&config).unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(certificates.clone().follow(stop.clone()));
        let loads = || certificates.all[0].loads();
        let made = certify();
        std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
        tokio::time::sleep(LOOK * 5).await;
        assert_eq!(
            loads(),
            1,
            "the key is still that of the former certificate"
        );
        std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        tokio::time::sleep(LOOK * 5).await;
        assert_eq!(loads(), 2);
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
