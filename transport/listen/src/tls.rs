//! TLS of the listeners: certificate and key from PEM files, TLS 1.2 and 1.3, by rustls and aws-lc.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::SingleCertAndKey;

use crate::pem::{self, PemError, PemFile, ReloadFiles, ReloadablePem};
use crate::stream::{ClientStream, CountedSocket};

/// The provider of all cryptography. It is named, because another library of the process may bring
/// a second one, and rustls refuses to choose.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The application protocols that a listener offers in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlpnProtocols {
    /// No protocol name: gim's frames have no registered one.
    Frames,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, and HTTP/1.1. A gRPC port answers clients of HTTP/1.1 with the right port.
    Http2,
}

impl AlpnProtocols {
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Frames => Vec::new(),
            Self::Http1 => vec![b"http/1.1".to_vec()],
            Self::Http2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
    }
}

/// The files of a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// The certificate, followed by those of its CAs.
    pub cert: PemFile,
    /// Its private key.
    pub key: PemFile,
    /// CAs of the certificates that clients must present; `None` if clients need no certificate.
    pub client_ca: Option<PemFile>,
}

/// One configuration for each kind of listener.
struct TlsConfigs {
    frames: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
    http2: Arc<ServerConfig>,
}

/// A server's certificate, for all listeners that use it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<ReloadablePem<TlsConfigs>>);

impl ServerTls {
    /// Loads certificate and key.
    ///
    /// # Errors
    /// They cannot be read, or do not belong together.
    pub fn load(files: ServerFiles) -> Result<Self, PemError> {
        let ServerFiles {
            cert,
            key,
            client_ca,
        } = files;
        let files = [cert, key].into_iter().chain(client_ca).collect();
        ReloadablePem::load(files, build).map(Arc::new).map(Self)
    }

    /// Returns the TLS of one listener of this kind.
    #[must_use]
    pub fn listener(&self, alpn: AlpnProtocols) -> ListenerTls {
        ListenerTls {
            tls: self.clone(),
            alpn,
        }
    }

    /// Returns the handle that loads the files again.
    #[must_use]
    pub fn reload_handle(&self) -> Arc<dyn ReloadFiles> {
        Arc::clone(&self.0) as _
    }
}

fn build(files: &[PemFile], texts: &[Vec<u8>]) -> Result<TlsConfigs, PemError> {
    let provider = provider();
    let ([cert, key, rest @ ..], [cert_text, key_text, rest_texts @ ..]) = (files, texts) else {
        unreachable!("certificate and key are always among the files");
    };
    let identity = pem::identity((cert, cert_text), (key, key_text), &provider)?;
    let resolver = Arc::new(SingleCertAndKey::from(identity));
    let verifier = match (rest, rest_texts) {
        ([ca, ..], [text, ..]) => {
            let roots = Arc::new(pem::authorities(ca, text)?);
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
            let verifier = verifier.build().map_err(|error| PemError::Unusable {
                file: ca.clone(),
                reason: error.to_string(),
            })?;
            Some(verifier)
        }
        _ => None,
    };
    let config = |alpn: AlpnProtocols| {
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("aws-lc has the ciphers of TLS 1.2 and 1.3");
        let mut config = match verifier.clone() {
            Some(verifier) => config.with_client_cert_verifier(verifier),
            None => config.with_no_client_auth(),
        }
        .with_cert_resolver(Arc::clone(&resolver) as _);
        config.alpn_protocols = alpn.protocols();
        // A client that returns resumes its session with a ticket that it keeps itself, because
        // after a restart of a proxy or a network all clients return at once. Sessions kept here
        // would cost memory for clients that are gone. Each load of the files draws a new key for
        // tickets, so no ticket outlives a CA that was removed.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
            config.ticketer = ticketer;
        }
        Arc::new(config)
    };
    Ok(TlsConfigs {
        frames: config(AlpnProtocols::Frames),
        http1: config(AlpnProtocols::Http1),
        http2: config(AlpnProtocols::Http2),
    })
}

/// TLS of one listener. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    tls: ServerTls,
    alpn: AlpnProtocols,
}

impl ListenerTls {
    /// Does the handshake with the certificate that is in force now.
    ///
    /// # Errors
    /// The client does not finish the handshake.
    pub(crate) async fn accept(&self, socket: TcpStream) -> std::io::Result<ClientStream> {
        let configs = self.tls.0.current();
        let config = match self.alpn {
            AlpnProtocols::Frames => &configs.frames,
            AlpnProtocols::Http1 => &configs.http1,
            AlpnProtocols::Http2 => &configs.http2,
        };
        let acceptor = TlsAcceptor::from(Arc::clone(config));
        // Released before the handshake, which may take long: a connection needs no other part of
        // the configuration.
        drop(configs);
        let tls = acceptor.accept(CountedSocket::new(socket)).await?;
        Ok(ClientStream::Tls(Box::new(tls)))
    }
}
