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
pub use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::sign::SingleCertAndKey;

/// The files of a node's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFiles {
    /// Authorities of the nodes' certificates.
    pub ca: PemFile,
    /// This node's certificate.
    pub cert: PemFile,
    /// Its private key.
    pub key: PemFile,
}

/// TLS of the calls to other nodes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeTls {
    config: Arc<ReloadablePem<ClientConfig>>,
    /// The name in every node's certificate; otherwise the host of its address is expected there.
    name: Option<ServerName<'static>>,
}

impl NodeTls {
    /// Loads the files; `name` is the name that all nodes' certificates have.
    ///
    /// # Errors
    /// A file cannot be read or used.
    pub fn load(files: NodeFiles, name: Option<ServerName<'static>>) -> Result<Self, PemError> {
        let NodeFiles { ca, cert, key } = files;
        let config = ReloadablePem::load(vec![ca, cert, key], build)?;
        Ok(Self {
            config: Arc::new(config),
            name,
        })
    }

    /// Returns the handle that loads the files again.
    #[must_use]
    pub fn reload_handle(&self) -> Arc<dyn ReloadFiles> {
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
