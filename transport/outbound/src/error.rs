//! Reasons that an exchange has no answer.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio_rustls::rustls;

use crate::resolver::ResolveError;
use crate::target::OutboundUrl;

/// Reasons that an exchange has no answer. An answer with any status is not an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The target lies in a network that is not public, and not allowed.
    #[error(
        "{host} is the address {address}, which is not public; if requests may go there, add its \
         network to outbound.allow"
    )]
    RefusedAddress {
        /// The target's host.
        host: String,
        /// The address.
        address: IpAddr,
    },
    /// The target is public and its address begins with `http://`.
    #[error(
        "{host} is the address {address}, which http:// does not reach; use https://, or add its \
         network to outbound.allow"
    )]
    Unencrypted {
        /// The target's host.
        host: String,
        /// The address.
        address: IpAddr,
    },
    /// The host has no address, or the lookup failed.
    #[error("{host} has no address: {reason}")]
    Dns {
        /// The target's host.
        host: String,
        /// The reason.
        reason: String,
    },
    /// No connection.
    #[error("cannot connect to {host}: {reason}")]
    Connect {
        /// The target's host.
        host: String,
        /// The reason.
        reason: String,
    },
    /// The certificate is not valid for this host, or the handshake failed.
    #[error("TLS with {host} failed: {reason}")]
    Tls {
        /// The target's host.
        host: String,
        /// The reason.
        reason: String,
    },
    /// The time of the exchange, or of its connect, is over.
    #[error("{host} did not answer within {} ms", .limit.as_millis())]
    Timeout {
        /// The target's host.
        host: String,
        /// The time that it had.
        limit: Duration,
    },
    /// The answer is larger than allowed.
    #[error("the answer of {host} is larger than {limit} bytes")]
    TooLarge {
        /// The target's host.
        host: String,
        /// The largest answer.
        limit: usize,
    },
    /// The connection ended, or its bytes are not HTTP.
    #[error("the exchange with {host} broke: {reason}")]
    Broken {
        /// The target's host.
        host: String,
        /// The reason.
        reason: String,
    },
}

impl OutboundError {
    /// Returns a name of the class, for metrics.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::RefusedAddress { .. } | Self::Unencrypted { .. } => "refused",
            Self::Dns { .. } => "dns",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Timeout { .. } => "timeout",
            Self::TooLarge { .. } => "too_large",
            Self::Broken { .. } => "broken",
        }
    }

    /// Refuses an address of the target.
    pub(crate) fn refused(url: &OutboundUrl, address: IpAddr) -> Self {
        let host = url.host().to_owned();
        if url.is_encrypted() {
            Self::RefusedAddress { host, address }
        } else {
            Self::Unencrypted { host, address }
        }
    }

    /// Sorts an error of the HTTP library. `connect_timeout` is the time that a connect had.
    pub(crate) fn classify(
        error: &reqwest::Error,
        url: &OutboundUrl,
        connect_timeout: Duration,
    ) -> Self {
        let host = url.host().to_owned();
        match find::<ResolveError>(error) {
            Some(ResolveError::Refused(address)) => return Self::refused(url, *address),
            Some(ResolveError::Failed(failed)) => {
                let reason = failed.to_string();
                return Self::Dns { host, reason };
            }
            None => {}
        }
        if let Some(tls) = find::<rustls::Error>(error) {
            let reason = tls.to_string();
            return Self::Tls { host, reason };
        }
        if error.is_timeout() {
            let limit = connect_timeout;
            return Self::Timeout { host, limit };
        }
        let reason = innermost(error);
        if error.is_connect() {
            Self::Connect { host, reason }
        } else {
            Self::Broken { host, reason }
        }
    }
}

/// Returns the cause of an error.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // `source` of an I/O error skips the error that it wraps.
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// Returns the first error of this type in the chain of causes.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = cause(error);
    }
    None
}

/// Returns the text of the last error in the chain of causes. The texts before it repeat the URL,
/// whose query may have a secret.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = cause(last) {
        last = next;
    }
    last.to_string()
}
