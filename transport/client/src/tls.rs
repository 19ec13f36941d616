//! TLS: the certificate authorities that a client trusts, and the handshake.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::error::ClientError;

/// The certificate authorities that a client trusts: the public ones (Mozilla's list) and added
/// ones.
#[derive(Clone)]
pub struct TrustedRoots {
    config: Arc<ClientConfig>,
    /// The added authorities in their original PEM text.
    pem: Arc<[u8]>,
}

impl TrustedRoots {
    /// Trusts the public authorities.
    #[must_use]
    pub fn public() -> Self {
        // Some 150 roots: parsed once and shared by all clients of the process.
        static PUBLIC: OnceLock<TrustedRoots> = OnceLock::new();
        let public = PUBLIC.get_or_init(|| Self {
            config: config(public_roots()),
            pem: Arc::default(),
        });
        public.clone()
    }

    /// Trusts the public authorities and those in this PEM text: the CA of a company, or a
    /// self-made certificate.
    ///
    /// # Errors
    /// The text has no certificate, or a damaged one.
    pub fn with_pem(pem: &[u8]) -> Result<Self, ClientError> {
        let mut roots = public_roots();
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let added = certificate
                .map_err(|error| error.to_string())
                .and_then(|der| roots.add(der).map_err(|error| error.to_string()));
            added.map_err(|error| {
                ClientError::Invalid(format!(
                    "the CA file has a certificate that cannot be read: {error}"
                ))
            })?;
        }
        if roots.len() == before {
            let text = "the CA file has no certificate: it must be PEM text, \
                        -----BEGIN CERTIFICATE----- …";
            return Err(ClientError::Invalid(text.to_owned()));
        }
        Ok(Self {
            config: config(roots),
            pem: pem.into(),
        })
    }

    /// Returns the same configuration for gRPC, which makes its own connections.
    pub(crate) fn grpc(&self) -> ClientTlsConfig {
        let tls = ClientTlsConfig::new().with_webpki_roots();
        if self.pem.is_empty() {
            tls
        } else {
            tls.ca_certificate(Certificate::from_pem(&self.pem))
        }
    }

    /// Performs the handshake as a client of `host`.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            io::Error::other(format!(
                "\"{host}\" is not a host name that a certificate can have"
            ))
        })?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(name, stream).await.map_err(|error| {
            let text = error.to_string();
            if text.contains("UnknownIssuer") {
                io::Error::other(
                    "the server's certificate is signed by an authority that is not trusted; give \
                     the CA's certificate",
                )
            } else if text.contains("CaUsedAsEndEntity") {
                io::Error::other(
                    "the server uses the certificate of an authority; issue one for the server, \
                     with basicConstraints CA:FALSE",
                )
            } else {
                io::Error::other(format!("TLS handshake with the server failed: {text}"))
            }
        })
    }
}

impl Default for TrustedRoots {
    fn default() -> Self {
        Self::public()
    }
}

impl fmt::Debug for TrustedRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedRoots")
            .field("added_pem_bytes", &self.pem.len())
            .finish_non_exhaustive()
    }
}

fn public_roots() -> RootCertStore {
    RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    }
}

fn config(roots: RootCertStore) -> Arc<ClientConfig> {
    // The provider is named explicitly: another library of the process may bring a second one, and
    // rustls would then refuse to choose.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("aws-lc has the ciphers of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_a_certificate_says_what_it_must_be() {
        for (text, expected) in [
            ("", "no certificate"),
            ("hello", "no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "cannot be read",
            ),
        ] {
            let error = TrustedRoots::with_pem(text.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(TrustedRoots::public().config.alpn_protocols.is_empty());
    }
}
