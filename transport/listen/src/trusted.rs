//! Networks of the proxies whose word about a client's address counts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// A network: `10.0.0.0/8`, `fd00::/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedNetwork {
    base: IpAddr,
    prefix: u8,
}

impl TrustedNetwork {
    /// Returns whether an address lies in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, ip.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                let mask = mask_v4(self.prefix);
                u32::from(ip) & mask == u32::from(base)
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => {
                let mask = mask_v6(self.prefix);
                u128::from(ip) & mask == u128::from(base)
            }
            _ => false,
        }
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for TrustedNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || "write a network such as 10.0.0.0/8, 192.0.2.7 or fd00::/8".to_owned();
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| wanted())?;
        // An IPv4 address in IPv6's clothes would never match: clients' addresses are undressed.
        if base != base.to_canonical() {
            return Err(format!(
                "write the IPv4 address itself: {}",
                base.to_canonical()
            ));
        }
        let max = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => max,
            Some(prefix) => {
                let digits = prefix.bytes().all(|it| it.is_ascii_digit());
                let prefix = prefix.parse().ok().filter(|it| digits && *it <= max);
                prefix.ok_or_else(wanted)?
            }
        };
        let first = match base {
            IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from(u32::from(ip) & mask_v4(prefix))),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) & mask_v6(prefix))),
        };
        if first != base {
            return Err(format!(
                "{base} is not the first address of the network: write {first}/{prefix}"
            ));
        }
        Ok(Self { base, prefix })
    }
}

impl fmt::Display for TrustedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// The networks of all trusted proxies. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[TrustedNetwork]>);

impl TrustedProxies {
    /// Trusts these networks.
    #[must_use]
    pub fn new(networks: &[TrustedNetwork]) -> Self {
        Self(networks.into())
    }

    /// Returns whether no proxy is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether this address is a trusted proxy's.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(ip))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_lies_in_its_network_and_no_other() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.0/31", "192.0.2.1", "192.0.2.2"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("fd00::/8", "fdff::1", "fe80::1"),
            ("::1", "::1", "::2"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
            ("127.0.0.0/8", "::ffff:127.0.0.1", "::1"),
        ] {
            let parsed: TrustedNetwork = network.parse().unwrap();
            assert!(
                parsed.contains(inside.parse().unwrap()),
                "{network} {inside}"
            );
            assert!(
                !parsed.contains(outside.parse().unwrap()),
                "{network} {outside}"
            );
        }
    }

    #[test]
    fn a_network_that_cannot_be_meant_says_what_would_be_right() {
        for (text, right) in [
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("10.0.0.0/33", "10.0.0.0/8"),
            ("10.0.0.0/+8", "10.0.0.0/8"),
            ("10.0.0.0/", "10.0.0.0/8"),
            ("proxy.example", "10.0.0.0/8"),
            ("", "10.0.0.0/8"),
        ] {
            let error = text.parse::<TrustedNetwork>().unwrap_err();
            assert!(error.contains(right), "{text}: {error}");
        }
        assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn a_network_is_written_as_it_is_read(ip: u128, prefix in 0..=128_u8) {
            let base = Ipv6Addr::from(ip & mask_v6(prefix));
            prop_assume!(IpAddr::V6(base).to_canonical().is_ipv6());
            let text = format!("{base}/{prefix}");
            let network: TrustedNetwork = text.parse().unwrap();
            prop_assert_eq!(network.to_string(), text);
            prop_assert!(network.contains(base.into()));
        }
    }
}
