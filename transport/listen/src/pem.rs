//! PEM files, and values built from them, which are built again when the files change.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error as RustlsError, InconsistentKeys};

/// A PEM file and the setting that names it; shown as `tls.cert = "/etc/gimlet/cert.pem"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemFile {
    /// The setting.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
}

impl fmt::Display for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = \"{}\"", self.setting, self.path.display())
    }
}

/// Reasons that PEM files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// A file cannot be read.
    #[error("{file} cannot be read ({source}); name a PEM file that gimlet's user may read")]
    Unreadable {
        /// The file.
        file: PemFile,
        /// The system's reason.
        source: io::Error,
    },
    /// A file has no certificate.
    #[error("{0} has no certificate; name a PEM file with -----BEGIN CERTIFICATE-----")]
    NoCertificate(PemFile),
    /// A file has no private key.
    #[error("{0} has no private key; name a PEM file with -----BEGIN PRIVATE KEY-----")]
    NoKey(PemFile),
    /// The private key has a password.
    #[error(
        "{0} has a private key with a password; write it without one (openssl pkey -in KEY -out \
         NEW), readable by gimlet's user alone"
    )]
    EncryptedKey(PemFile),
    /// A file is damaged, or of a kind that cannot be used.
    #[error("{file} cannot be used: {reason}")]
    Unusable {
        /// The file.
        file: PemFile,
        /// The reason.
        reason: String,
    },
    /// Key and certificate are not a pair.
    #[error("{key} does not belong to {cert}; name the key that this certificate was made for")]
    Mismatch {
        /// The certificate's file.
        cert: PemFile,
        /// The key's file.
        key: PemFile,
    },
}

/// Reads the certificates of a file's text.
///
/// # Errors
/// The file has no certificate, or a damaged one.
pub fn certificates(file: &PemFile, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| unusable(file, &error))?;
    if found.is_empty() {
        return Err(PemError::NoCertificate(file.clone()));
    }
    Ok(found)
}

/// Returns the time, in seconds since 1970, at which the first certificate of a file's text expires.
///
/// # Errors
/// The file has no certificate, or a damaged one.
pub fn expiry(file: &PemFile, text: &[u8]) -> Result<i64, PemError> {
    let chain = certificates(file, text)?;
    let first = chain
        .first()
        .ok_or_else(|| PemError::NoCertificate(file.clone()))?;
    let parsed = x509_parser::parse_x509_certificate(first);
    let (_, certificate) = parsed.map_err(|error| PemError::Unusable {
        file: file.clone(),
        reason: error.to_string(),
    })?;
    Ok(certificate.validity().not_after.timestamp())
}

/// Reads the certificates of a file's text as those of trusted CAs.
///
/// # Errors
/// The file has no certificate, or a damaged one.
pub fn authorities(file: &PemFile, text: &[u8]) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, text)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(file, &error))?;
    }
    Ok(roots)
}

/// Reads a certificate with its chain and its private key, and checks that they are a pair.
///
/// # Errors
/// One of them is missing or damaged, or they do not belong together.
pub fn identity(
    (cert, cert_text): (&PemFile, &[u8]),
    (key, key_text): (&PemFile, &[u8]),
    provider: &CryptoProvider,
) -> Result<CertifiedKey, PemError> {
    let chain = certificates(cert, cert_text)?;
    let private = PrivateKeyDer::pem_slice_iter(key_text).next();
    let private = match private {
        Some(private) => private.map_err(|error| unusable(key, &error))?,
        None if contains(key_text, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") => {
            return Err(PemError::EncryptedKey(key.clone()));
        }
        None => return Err(PemError::NoKey(key.clone())),
    };
    CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
        RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => PemError::Mismatch {
            cert: cert.clone(),
            key: key.clone(),
        },
        // rustls reports a certificate that cannot be parsed by an error of its own, and the faults
        // of a key by general errors.
        error @ RustlsError::InvalidCertificate(_) => unusable(cert, &error),
        error => unusable(key, &error),
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn unusable(file: &PemFile, error: &dyn fmt::Display) -> PemError {
    PemError::Unusable {
        file: file.clone(),
        reason: error.to_string(),
    }
}

/// Builds a value from the contents of its files, in their order.
type BuildFn<T> = Box<dyn Fn(&[PemFile], &[Vec<u8>]) -> Result<T, PemError> + Send + Sync>;

/// A value built from PEM files, which can be built again while it is in use.
pub struct ReloadablePem<T> {
    files: Vec<PemFile>,
    build: BuildFn<T>,
    current: RwLock<Arc<T>>,
    seen: Mutex<SeenFiles>,
    loads: AtomicU64,
}

/// Fingerprint of the files' contents, or the reason that they cannot be read.
type ContentFingerprint = Result<u64, String>;

/// Fingerprints of the files at earlier checks.
struct SeenFiles {
    /// At the last check.
    last: ContentFingerprint,
    /// At the last check whose contents were used or refused.
    handled: ContentFingerprint,
}

/// Outcome of a check of the files.
#[derive(Debug)]
pub enum FileCheck {
    /// No change, or a change that two checks in a row have not confirmed yet.
    Unchanged,
    /// The files have changed and are in use.
    Reloaded,
    /// The files have changed and cannot be used; the previous value stays. Reported once per
    /// change.
    Refused(PemError),
}

impl<T> ReloadablePem<T> {
    /// Reads the files and builds the value.
    ///
    /// # Errors
    /// A file cannot be read or used.
    pub fn load(
        files: Vec<PemFile>,
        build: impl Fn(&[PemFile], &[Vec<u8>]) -> Result<T, PemError> + Send + Sync + 'static,
    ) -> Result<Self, PemError> {
        let texts = read(&files)?;
        let current = build(&files, &texts)?;
        let fingerprint = fingerprint(&texts);
        Ok(Self {
            files,
            build: Box::new(build),
            current: RwLock::new(Arc::new(current)),
            seen: Mutex::new(SeenFiles {
                last: Ok(fingerprint),
                handled: Ok(fingerprint),
            }),
            loads: AtomicU64::new(1),
        })
    }

    fn replace(&self, value: T) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
        self.loads.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the current value.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }
}

impl<T> fmt::Debug for ReloadablePem<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value is left out: it may contain a private key.
        f.debug_struct("ReloadablePem")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// A value built from files, which can be built again while it is in use.
pub trait ReloadFiles: fmt::Debug + Send + Sync {
    /// Reads the files again, changed or not.
    ///
    /// # Errors
    /// They cannot be used; the previous value stays.
    fn reload(&self) -> Result<(), PemError>;

    /// Checks whether the files have changed. They are used when two checks in a row find the same
    /// contents: a certificate and its key are rarely replaced at the same instant.
    fn look(&self) -> FileCheck;

    /// The files, for the log.
    fn files(&self) -> String;

    /// Returns how often the files were loaded.
    fn loads(&self) -> u64;
}

impl<T: Send + Sync> ReloadFiles for ReloadablePem<T> {
    fn reload(&self) -> Result<(), PemError> {
        let texts = read(&self.files)?;
        let value = (self.build)(&self.files, &texts)?;
        let contents = Ok(fingerprint(&texts));
        // `seen` is locked before the value is replaced, here and in `look`: a check in between
        // must not mistake the contents that were just loaded for a change.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace(value);
        *seen = SeenFiles {
            last: contents.clone(),
            handled: contents,
        };
        Ok(())
    }

    fn look(&self) -> FileCheck {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let texts = read(&self.files);
        let contents = match &texts {
            Ok(texts) => Ok(fingerprint(texts)),
            Err(error) => Err(error.to_string()),
        };
        // A file may be half written, and a certificate is replaced before or after its key: only
        // contents that stayed the same since the last check are used.
        let is_settled = contents == seen.last;
        seen.last.clone_from(&contents);
        if !is_settled || contents == seen.handled {
            return FileCheck::Unchanged;
        }
        seen.handled = contents;
        match texts.and_then(|texts| (self.build)(&self.files, &texts)) {
            Ok(value) => {
                self.replace(value);
                FileCheck::Reloaded
            }
            Err(error) => FileCheck::Refused(error),
        }
    }

    fn files(&self) -> String {
        let shown: Vec<_> = self.files.iter().map(ToString::to_string).collect();
        shown.join(", ")
    }

    fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }
}

fn read(files: &[PemFile]) -> Result<Vec<Vec<u8>>, PemError> {
    let read = |file: &PemFile| {
        std::fs::read(&file.path).map_err(|source| PemError::Unreadable {
            file: file.clone(),
            source,
        })
    };
    files.iter().map(read).collect()
}

/// Returns a fingerprint that reveals a change. The contents, which include a private key, are not
/// kept.
fn fingerprint(texts: &[Vec<u8>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(file: &PemFile, text: &[u8]) -> Result<String, PemError> {
        match std::str::from_utf8(text) {
            Ok("bad") => Err(PemError::NoKey(file.clone())),
            text => Ok(text.unwrap().to_owned()),
        }
    }

    #[test]
    fn a_change_is_used_when_two_looks_agree_and_a_bad_one_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        std::fs::write(&path, "one").unwrap();
        let file = PemFile {
            setting: "tls.key",
            path: path.clone(),
        };
        let made =
            ReloadablePem::load(vec![file], |files, texts| text(&files[0], &texts[0])).unwrap();
        assert!(matches!(made.look(), FileCheck::Unchanged));
        std::fs::write(&path, "two").unwrap();
        assert!(
            matches!(made.look(), FileCheck::Unchanged),
            "it may be half written"
        );
        assert_eq!(*made.current(), "one");
        assert!(matches!(made.look(), FileCheck::Reloaded));
        assert_eq!(*made.current(), "two");
        assert!(matches!(made.look(), FileCheck::Unchanged));
        std::fs::write(&path, "bad").unwrap();
        assert!(matches!(made.look(), FileCheck::Unchanged));
        assert!(matches!(made.look(), FileCheck::Refused(_)));
        assert!(matches!(made.look(), FileCheck::Unchanged), "said once");
        assert!(made.reload().is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(made.look(), FileCheck::Unchanged));
        let FileCheck::Refused(error) = made.look() else {
            panic!("a file that is gone is said");
        };
        assert!(error.to_string().contains("tls.key = "), "{error}");
        assert_eq!(*made.current(), "two", "the former one stays");
        std::fs::write(&path, "three").unwrap();
        made.reload().unwrap();
        assert_eq!(*made.current(), "three", "at once, when it is asked for");
        assert!(matches!(made.look(), FileCheck::Unchanged));
    }
}
