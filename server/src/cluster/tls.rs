//! TLS of the calls to other nodes: their certificates are checked against the cluster's authority,
//! and this node shows its own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use gimlet_listen::pem::{self, PemError, PemFile, ReloadFiles, ReloadablePem};
use gimlet_listen::tls::provider;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::sign::SingleCertAndKey;

/// The files of a node's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeFiles {
    /// Authorities of the nodes' certificates.
    pub(crate) ca: PemFile,
    /// This node's certificate.
    pub(crate) cert: PemFile,
    /// Its private key.
    pub(crate) key: PemFile,
}

/// TLS of the calls to other nodes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct NodeTls {
    config: Arc<ReloadablePem<ClientConfig>>,
    /// The name in every node's certificate; otherwise the host of its address is expected there.
    name: Option<ServerName<'static>>,
}

impl NodeTls {
    /// Loads the files; `name` is the name that all nodes' certificates have.
    ///
    /// # Errors
    /// A file cannot be read or used.
    pub(crate) fn load(
        files: NodeFiles,
        name: Option<ServerName<'static>>,
    ) -> Result<Self, PemError> {
        let NodeFiles { ca, cert, key } = files;
        let config = ReloadablePem::load(vec![ca, cert, key], build)?;
        Ok(Self {
            config: Arc::new(config),
            name,
        })
    }

    /// Returns the handle that loads the files again.
    pub(crate) fn reload_handle(&self) -> Arc<dyn ReloadFiles> {
        Arc::clone(&self.config) as _
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let host = uri.host().unwrap_or_default();
        // IPv6 addresses have brackets in a URI.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or_default();
        let socket = TcpStream::connect((host, port)).await?;
        socket.set_nodelay(true)?;
        let name = match self.name {
            Some(name) => name,
            None => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
        };
        // The files of this moment: a node that connects again uses a renewed certificate.
        let connector = TlsConnector::from(self.config.current());
        connector.connect(name, socket).await.map(TokioIo::new)
    }
}

fn build(files: &[PemFile], texts: &[Vec<u8>]) -> Result<ClientConfig, PemError> {
    let ([ca, cert, key], [ca_text, cert_text, key_text]) = (files, texts) else {
        unreachable!("the three files are given by NodeTls::load");
    };
    let provider = provider();
    let roots = pem::authorities(ca, ca_text)?;
    let identity = pem::identity((cert, cert_text), (key, key_text), &provider)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc has the ciphers of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Connects to nodes by TLS.
impl tower::Service<Uri> for NodeTls {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;

    use gimlet_listen::admission::ConnectionLimiter;
    use gimlet_listen::tls::ServerFiles;
    use gimlet_listen::{AlpnProtocols, ListenerEntrance, ServerTls};
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tokio::net::TcpListener;
    use tokio_util::task::TaskTracker;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    use super::*;
    use crate::accept::{self, StopTokens};
    use crate::cluster::{ClusterId, NodeCredentials};

    /// Writes an authority, and a certificate that it has signed for this name.
    fn write(folder: &Path, name: &str) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let cert = params.signed_by(&key, &issuer).unwrap();
        for (file, text) in [
            ("ca.pem", ca),
            ("cert.pem", cert.pem()),
            ("key.pem", key.serialize_pem()),
        ] {
            std::fs::write(folder.join(file), text).unwrap();
        }
    }

    fn files(folder: &Path) -> NodeFiles {
        let file = |setting, name: &str| PemFile {
            setting,
            path: folder.join(name),
        };
        NodeFiles {
            ca: file("cluster.tls_ca", "ca.pem"),
            cert: file("cluster.tls_cert", "cert.pem"),
            key: file("cluster.tls_key", "key.pem"),
        }
    }

    /// Serves gRPC's health service to callers with a certificate of this folder's authority.
    async fn serve(folder: &Path, tasks: &TaskTracker, ends: &StopTokens) -> SocketAddr {
        let NodeFiles { ca, cert, key } = files(folder);
        let client_ca = Some(ca);
        let tls = ServerTls::load(ServerFiles {
            cert,
            key,
            client_ca,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let entrance = ListenerEntrance {
            tls: Some(tls.unwrap().listener(AlpnProtocols::Http2)),
            ..ListenerEntrance::plain(listener, ConnectionLimiter::new(10, 10))
        };
        let incoming = accept::incoming(entrance, tasks, ends.clone(), Arc::default());
        let (_reporter, health) = tonic_health::server::health_reporter();
        let served = tonic::transport::Server::builder()
            .add_service(health)
            .serve_with_incoming_shutdown(incoming, ends.stop.clone().cancelled_owned());
        tasks.spawn(async move { served.await.unwrap() });
        addr
    }

    async fn answers(tls: Option<NodeTls>, address: &str) -> bool {
        let caller = NodeCredentials::new(None, ClusterId::default()).unwrap();
        let channel = caller.with_tls(tls).channel(address).unwrap();
        let mut client = HealthClient::new(channel);
        client.check(HealthCheckRequest::default()).await.is_ok()
    }

    #[tokio::test]
    async fn nodes_of_one_authority_reach_each_other_and_nobody_else_does() {
        let (here, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(here.path(), "nodes.gimlet.internal");
        write(other.path(), "nodes.gimlet.internal");
        let (tasks, ends) = (TaskTracker::new(), StopTokens::default());
        let addr = serve(here.path(), &tasks, &ends).await.to_string();
        let name = || ServerName::try_from("nodes.gimlet.internal").ok();
        let ours = NodeTls::load(files(here.path()), name()).unwrap();
        assert!(answers(Some(ours), &addr).await);
        // The name in the certificate is not the host of the address.
        let unnamed = NodeTls::load(files(here.path()), None).unwrap();
        assert!(!answers(Some(unnamed), &addr).await);
        let stranger = NodeTls::load(files(other.path()), name()).unwrap();
        assert!(!answers(Some(stranger), &addr).await);
        // It trusts the node, and has no certificate that the node trusts.
        let mut mixed = files(other.path());
        mixed.ca = files(here.path()).ca;
        let uninvited = NodeTls::load(mixed, name()).unwrap();
        assert!(!answers(Some(uninvited), &addr).await);
        assert!(!answers(None, &addr).await);
        ends.stop.cancel();
        ends.force_close.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
