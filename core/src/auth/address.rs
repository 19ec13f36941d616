//! The address that a client's limits are counted by.

use std::net::{IpAddr, Ipv6Addr};

/// Returns the address that a client is counted by: its own, or for IPv6 its /64, which is one
/// customer's. Returns `None` for loopback: that is usually a proxy on this machine that stands for
/// many clients, and does not identify one of them.
#[must_use]
pub fn client_address(ip: IpAddr) -> Option<IpAddr> {
    match ip.to_canonical() {
        ip if ip.is_loopback() => None,
        IpAddr::V4(ip) => Some(IpAddr::V4(ip)),
        IpAddr::V6(ip) => {
            let prefix = u128::from(ip) & !u128::from(u64::MAX);
            Some(IpAddr::V6(Ipv6Addr::from(prefix)))
        }
    }
}
