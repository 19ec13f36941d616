//! The addresses that a request may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use gimlet_listen::TrustedNetwork;

/// Addresses that a request may reach: public ones, and those of networks that the operator allows.
/// Cheap to clone.
///
/// Plain `http://` reaches the allowed networks only, so nothing crosses the internet unencrypted.
#[derive(Clone, Debug, Default)]
pub struct AddressRules(Arc<[TrustedNetwork]>);

impl AddressRules {
    /// Allows these networks in addition to public addresses.
    #[must_use]
    pub fn new(allowed: &[TrustedNetwork]) -> Self {
        Self(allowed.into())
    }

    /// Returns whether a request may reach this address.
    #[must_use]
    pub fn permits(&self, ip: IpAddr, is_encrypted: bool) -> bool {
        let ip = reached(ip);
        self.0.iter().any(|network| network.contains(ip)) || (is_encrypted && is_public(ip))
    }
}

/// Returns the address that a packet to `ip` arrives at: the IPv4 address inside an IPv4-mapped one
/// or inside one of NAT64 (RFC 6052).
fn reached(ip: IpAddr) -> IpAddr {
    let ip = ip.to_canonical();
    if let IpAddr::V6(v6) = ip
        && let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = v6.segments()
    {
        return IpAddr::V4(Ipv4Addr::from_bits(
            (u32::from(high) << 16) | u32::from(low),
        ));
    }
    ip
}

/// IPv4 networks that are not public: IANA's registry of special-purpose addresses, multicast, and
/// the address at which a large cloud answers its guests about themselves.
const SPECIAL_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([168, 63, 129, 16], 32),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 3),
];

/// Networks inside `2000::/3` that are not public: protocol assignments with Teredo, documentation,
/// and 6to4, whose addresses contain IPv4 addresses.
const SPECIAL_V6: &[(u128, u32)] = &[
    (0x2001_0000 << 96, 23),
    (0x2001_0db8 << 96, 32),
    (0x2002_0000 << 96, 16),
    (0x3fff_0000 << 96, 20),
];

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !SPECIAL_V4.iter().any(|(base, prefix)| {
            let base = Ipv4Addr::from(*base).to_bits();
            (ip.to_bits() ^ base).leading_zeros() >= *prefix
        }),
        IpAddr::V6(ip) => is_global_unicast(ip),
    }
}

/// Returns whether the address is in `2000::/3`, the only network from which public addresses are
/// assigned, and not in one of its special networks.
fn is_global_unicast(ip: Ipv6Addr) -> bool {
    let bits = ip.to_bits();
    bits >> 125 == 1
        && !SPECIAL_V6
            .iter()
            .any(|(base, prefix)| (bits ^ base).leading_zeros() >= *prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(rules: &AddressRules, ip: &str, is_encrypted: bool) -> bool {
        rules.permits(ip.parse().unwrap(), is_encrypted)
    }

    #[test]
    fn public_addresses_are_reached_by_tls_alone() {
        let rules = AddressRules::default();
        for ip in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:200::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
        ] {
            assert!(permits(&rules, ip, true), "{ip}");
            assert!(!permits(&rules, ip, false), "{ip}");
        }
    }

    #[test]
    fn no_other_address_is_reached_in_any_notation() {
        let rules = AddressRules::default();
        for ip in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.19.255.255",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "4000::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!permits(&rules, ip, true), "{ip}");
            assert!(!permits(&rules, ip, false), "{ip}");
        }
    }

    #[test]
    fn allowed_networks_are_reached_with_and_without_tls() {
        let allowed = ["127.0.0.0/8", "fd00::/8"].map(|it| it.parse().unwrap());
        let rules = AddressRules::new(&allowed);
        for ip in ["127.0.0.1", "::ffff:127.0.0.1", "fd12::1"] {
            assert!(permits(&rules, ip, true), "{ip}");
            assert!(permits(&rules, ip, false), "{ip}");
        }
        for ip in ["::1", "10.0.0.1", "169.254.169.254"] {
            assert!(!permits(&rules, ip, true), "{ip}");
        }
    }
}
