//! Certificates for tests: an authority, and one certificate of it for loopback.

use std::fs;
use std::io;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// The address that the certificate is for.
pub const CERTIFIED: &str = "127.0.0.1";

/// The files `ca.pem`, `cert.pem` and `key.pem` in a temporary folder.
#[derive(Debug)]
pub struct TestCertificates {
    folder: TempDir,
    authority: String,
}

impl TestCertificates {
    /// Creates an authority and a certificate of it.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let authority = write(folder.path())?;
        Ok(Self { folder, authority })
    }

    /// Returns the path of one of the files.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Returns the authority's certificate as PEM text.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

/// Writes the files into a folder and returns the authority's certificate.
fn write(folder: &Path) -> io::Result<String> {
    let mut params = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let authority = params.self_signed(&key).map_err(io::Error::other)?.pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let params = CertificateParams::new([CERTIFIED.to_owned()]).map_err(io::Error::other)?;
    let certificate = params.signed_by(&key, &issuer).map_err(io::Error::other)?;
    fs::write(folder.join("ca.pem"), &authority)?;
    fs::write(folder.join("cert.pem"), certificate.pem())?;
    fs::write(folder.join("key.pem"), key.serialize_pem())?;
    Ok(authority)
}
