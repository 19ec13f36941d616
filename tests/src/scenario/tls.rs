//! TLS of a fixture: the certificate of its client listeners, and the clients' side of a handshake.

use std::sync::Arc;

use gimlet_client::TrustedRoots;
use gimlet_kit::wire::ByteStream;
use gimlet_server::Config;
use gimlet_server::config::ListenerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::certificates::{CERTIFIED, TestCertificates};

/// The certificate of a fixture, and the configuration of clients that trust it.
#[derive(Debug)]
pub(crate) struct FixtureTls {
    files: TestCertificates,
    client: Arc<ClientConfig>,
}

impl FixtureTls {
    /// Creates a certificate.
    pub(crate) fn new() -> Self {
        let files = TestCertificates::new().expect("a temporary folder");
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(files.authority().as_bytes());
        let added = roots.add(authority.expect("PEM text"));
        added.expect("an authority's certificate");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            files,
            client: Arc::new(client),
        }
    }

    /// Makes the servers of this configuration speak TLS with clients over sockets.
    pub(crate) fn configure(&self, config: &mut Config) {
        config.tls.cert = Some(self.files.path("cert.pem"));
        config.tls.key = Some(self.files.path("key.pem"));
        config.tls.listeners = vec![ListenerName::Tcp, ListenerName::Ws];
    }

    /// Returns the authorities for the client library.
    pub(crate) fn trust(&self) -> TrustedRoots {
        TrustedRoots::with_pem(self.files.authority().as_bytes()).expect("PEM text")
    }

    /// Performs the handshake of a client.
    pub(crate) async fn connect(&self, stream: TcpStream) -> Box<dyn ByteStream> {
        let name = ServerName::try_from(CERTIFIED).expect("an address");
        let connector = TlsConnector::from(Arc::clone(&self.client));
        let stream = connector.connect(name, stream).await;
        Box::new(stream.expect("the server has the fixture's certificate"))
    }
}
