//! The client's address in a request that came through trusted HTTP proxies: `X-Forwarded-For`, or
//! `Forwarded` (RFC 7239).
//!
//! Each proxy appends the address that it saw, so the list is read from its end, and only as far as
//! trusted proxies wrote it: what comes before the first untrusted address is the client's own
//! claim. One header is read, the one that the proxies are configured to write: a client can add
//! the other one at will.

use std::net::{IpAddr, SocketAddr};

use crate::trusted::TrustedProxies;

/// The header that the proxies write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: 203.0.113.9, 10.0.0.7`.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=203.0.113.9, for="[2001:db8::7]:4711";proto=https`.
    Forwarded,
}

impl ForwardedHeader {
    /// Returns its name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    fn address(self, element: &str) -> Option<IpAddr> {
        match self {
            Self::XForwardedFor => node(element.trim()),
            Self::Forwarded => element.split(';').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                let is_for = name.trim().eq_ignore_ascii_case("for");
                let value = value.trim();
                let bare = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
                is_for.then(|| node(bare.unwrap_or(value)))?
            }),
        }
    }
}

/// Reads `192.0.2.1`, `192.0.2.1:5000`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:5000`.
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip);
    }
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Some(addr.ip());
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse().ok().map(IpAddr::V6)
}

/// The trusted proxies, and the header in which they name a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedHeaders {
    /// The proxies.
    pub trusted: TrustedProxies,
    /// The header that they write.
    pub header: ForwardedHeader,
}

impl ForwardedHeaders {
    /// Returns the client of a request on a connection from `peer`; `values` are the lines of the
    /// header, in their order. `None` if the peer is the client, or the proxies do not say.
    ///
    /// The lists are cut at commas without regard to quotes: an address has no comma, and so a
    /// client's unbalanced quote cannot hide what the proxies appended.
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        values: impl DoubleEndedIterator<Item = &'a str>,
    ) -> Option<IpAddr> {
        if !self.trusted.contains(peer) {
            return None;
        }
        let mut nearest = None;
        for element in values.rev().flat_map(|value| value.rsplit(',')) {
            let Some(address) = self.header.address(element) else {
                // "unknown", an obfuscated name, or garbage: the nearest address that could be
                // read counts.
                return nearest;
            };
            nearest = Some(address.to_canonical());
            if !self.trusted.contains(address) {
                break;
            }
        }
        nearest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forwarding(header: ForwardedHeader) -> ForwardedHeaders {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|it| it.parse().unwrap());
        ForwardedHeaders {
            trusted: TrustedProxies::new(&networks),
            header,
        }
    }

    fn client(header: ForwardedHeader, peer: &str, lines: &[&str]) -> Option<String> {
        let peer = peer.parse().unwrap();
        let found = forwarding(header).client(peer, lines.iter().copied());
        found.map(|ip| ip.to_string())
    }

    #[test]
    fn the_client_is_the_last_address_that_no_proxy_has() {
        let found = |lines: &[&str]| client(ForwardedHeader::XForwardedFor, "10.0.0.1", lines);
        for (lines, expected) in [
            (&["203.0.113.9"][..], Some("203.0.113.9")),
            // An address that the client itself claims comes before it.
            (&["1.2.3.4, 203.0.113.9"], Some("203.0.113.9")),
            (&["1.2.3.4", "203.0.113.9,10.0.0.7"], Some("203.0.113.9")),
            (
                &["1.2.3.4, garbage\", 203.0.113.9 , 10.0.0.7"],
                Some("203.0.113.9"),
            ),
            (&["203.0.113.9:5000"], Some("203.0.113.9")),
            (&["[2001:db8::1]:5000"], Some("2001:db8::1")),
            (&["2001:db8::1, fd00::2"], Some("2001:db8::1")),
            (&["::ffff:203.0.113.9"], Some("203.0.113.9")),
            (&["10.0.0.8, 10.0.0.7"], Some("10.0.0.8")),
            (&["203.0.113.9, unknown, 10.0.0.7"], Some("10.0.0.7")),
            (&["unknown"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(found(lines).as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_by_its_for() {
        let found = |lines: &[&str]| client(ForwardedHeader::Forwarded, "fd00::1", lines);
        for (lines, expected) in [
            (&["for=203.0.113.9"][..], Some("203.0.113.9")),
            (
                &["For=\"[2001:db8:cafe::17]:4711\""],
                Some("2001:db8:cafe::17"),
            ),
            (
                &["for=\"[2001:db8::1]\";proto=https;by=10.0.0.1"],
                Some("2001:db8::1"),
            ),
            (
                &["proto=https; for=203.0.113.9 ;host=x"],
                Some("203.0.113.9"),
            ),
            (&["for=\"x, for=203.0.113.9"], Some("203.0.113.9")),
            (
                &["for=1.2.3.4, for=203.0.113.9, for=10.0.0.3"],
                Some("203.0.113.9"),
            ),
            (&["for=_hidden, for=unknown"], None),
            (&["203.0.113.9"], None),
        ] {
            assert_eq!(found(lines).as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_not_believed() {
        for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
            let lines = ["203.0.113.9", "for=203.0.113.9"];
            assert_eq!(client(header, "192.0.2.1", &lines), None);
        }
        let nobody = ForwardedHeaders::default();
        let peer = "127.0.0.1".parse().unwrap();
        assert_eq!(nobody.client(peer, ["203.0.113.9"].into_iter()), None);
    }

    proptest! {
        /// Whatever a client writes, the address that the proxy appended is the one that counts.
        #[test]
        fn a_claim_changes_nothing(claim in ".{0,200}") {
            let appended = format!("{claim}, 203.0.113.9, 10.0.0.7");
            let lines = [claim.as_str(), appended.as_str()];
            let found = client(ForwardedHeader::XForwardedFor, "10.0.0.1", &lines);
            prop_assert_eq!(found.as_deref(), Some("203.0.113.9"));
            let appended = format!("{claim}, for=203.0.113.9, for=10.0.0.7");
            let lines = [claim.as_str(), appended.as_str()];
            let found = client(ForwardedHeader::Forwarded, "10.0.0.1", &lines);
            prop_assert_eq!(found.as_deref(), Some("203.0.113.9"));
        }
    }
}
