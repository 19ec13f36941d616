//! The address of a target.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::{Host, Url};

/// Longest address, in bytes.
const URL_MAX_BYTES: usize = 2_048;

/// An `http://` or `https://` address without credentials. Shown without its query, which may have
/// a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboundUrl(Url);

/// Reasons that a text is not the address of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboundUrlError {
    /// The text is not a URL.
    #[error("write an address such as https://app.example.com/gimlet")]
    Malformed,
    /// Another scheme.
    #[error("write an address that begins with https:// (or http:// inside an allowed network)")]
    Scheme,
    /// The address names a user or a password.
    #[error("write the address without a user name and password")]
    Credentials,
    /// The address is too long.
    #[error("write an address of at most 2048 bytes")]
    TooLong,
}

impl OutboundUrl {
    /// Returns the host as it is written in the address.
    #[must_use]
    pub fn host(&self) -> &str {
        // A URL of these two schemes always has a host: `from_str` refuses others.
        self.0.host_str().unwrap_or_default()
    }

    /// Returns whether the address begins with `https://`.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Returns the address as a string, with its query.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns scheme, host and port as RFC 6454 writes an origin.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Returns the IP address, if the address names one instead of a host.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
            Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
            Host::Domain(_) => None,
        }
    }

    /// Returns host and port: the unit of [`OutboundPolicy::exchanges_per_host`].
    ///
    /// [`OutboundPolicy::exchanges_per_host`]: crate::OutboundPolicy::exchanges_per_host
    pub(crate) fn authority(&self) -> String {
        let port = self.0.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", self.host())
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for OutboundUrl {
    type Err = OutboundUrlError;

    fn from_str(text: &str) -> Result<Self, OutboundUrlError> {
        if text.len() > URL_MAX_BYTES {
            return Err(OutboundUrlError::TooLong);
        }
        let mut url = Url::parse(text.trim()).map_err(|_| OutboundUrlError::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(OutboundUrlError::Scheme);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(OutboundUrlError::Malformed);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OutboundUrlError::Credentials);
        }
        url.set_fragment(None);
        Ok(Self(url))
    }
}

impl fmt::Display for OutboundUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.0.path())
    }
}

impl fmt::Debug for OutboundUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutboundUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_addresses_without_credentials_are_targets() {
        for (text, error) in [
            ("app.example.com/hook", OutboundUrlError::Malformed),
            ("", OutboundUrlError::Malformed),
            ("https://", OutboundUrlError::Malformed),
            ("ftp://app.example.com", OutboundUrlError::Scheme),
            ("file:///etc/passwd", OutboundUrlError::Scheme),
            ("https://a:b@app.example.com", OutboundUrlError::Credentials),
            ("https://a@app.example.com", OutboundUrlError::Credentials),
        ] {
            assert_eq!(text.parse::<OutboundUrl>().unwrap_err(), error, "{text}");
        }
        let long = format!("https://app.example.com/{}", "x".repeat(URL_MAX_BYTES));
        let refused = long.parse::<OutboundUrl>().unwrap_err();
        assert_eq!(refused, OutboundUrlError::TooLong);
    }

    #[test]
    fn every_notation_of_an_ip_address_is_recognised() {
        for text in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
        ] {
            let url: OutboundUrl = text.parse().unwrap();
            assert_eq!(url.literal(), Some("127.0.0.1".parse().unwrap()), "{text}");
        }
        let mapped: OutboundUrl = "https://[::ffff:10.0.0.1]:8443/".parse().unwrap();
        let ip = mapped.literal().unwrap();
        assert_eq!(ip.to_canonical(), "10.0.0.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn a_query_is_not_shown() {
        let url: OutboundUrl = "https://app.example.com/hook?key=s3cret#top"
            .parse()
            .unwrap();
        assert_eq!(url.to_string(), "https://app.example.com/hook");
        assert_eq!(url.as_str(), "https://app.example.com/hook?key=s3cret");
        assert_eq!(url.authority(), "app.example.com:443");
    }
}
