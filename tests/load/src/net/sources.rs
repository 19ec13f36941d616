//! Loopback addresses to connect from. One address has some 28,000 ports towards a server, and a
//! port of a closed connection lingers for a minute, so many connections need several addresses.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

/// Connections made from one address within a minute. This is a third of its ports: the search for
/// a free port takes longer the fewer there are.
const EACH: usize = 10_000;

/// 127.0.1.1: first address of a range that is given by its size.
const FIRST: u32 = u32::from_be_bytes([127, 0, 1, 1]);

/// Range of the addresses that are chosen here.
const CHOSEN: std::ops::Range<u32> =
    u32::from_be_bytes([127, 1, 0, 1])..u32::from_be_bytes([127, 240, 0, 0]);

/// Range of consecutive addresses; an empty one leaves the choice to the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceAddresses {
    first: u32,
    count: u32,
}

impl SourceAddresses {
    /// Returns `count` addresses, from 127.0.1.1 on.
    #[must_use]
    pub const fn of(count: u32) -> Self {
        Self {
            first: FIRST,
            count,
        }
    }

    /// Returns enough addresses for `connections` connections within a minute to a server at this
    /// address, or an empty range where the system's own choice does. The range begins at a random
    /// address, since the ports of an earlier run may still linger.
    #[must_use]
    pub fn enough(connections: usize, server: IpAddr) -> Self {
        if connections <= EACH || !server.is_loopback() {
            return Self::default();
        }
        let count = u32::try_from(connections.div_ceil(EACH)).unwrap_or(u32::MAX);
        Self {
            first: rand::random_range(CHOSEN),
            count: count.min(CHOSEN.end - CHOSEN.start),
        }
    }

    /// Returns the share of one of several processes, at least one address unless the range is
    /// empty.
    #[must_use]
    pub fn share(self, part: usize, parts: usize) -> Self {
        let cut = |part: usize| {
            let at = u64::from(self.count) * part as u64 / parts.max(1) as u64;
            u32::try_from(at).unwrap_or(self.count)
        };
        let (begin, end) = (cut(part), cut(part + 1));
        Self {
            first: self.first + begin,
            count: (end - begin).max(1).min(self.count),
        }
    }

    /// Returns the address of connection `number`, in turn.
    #[must_use]
    pub fn nth(self, number: u64) -> Option<Ipv4Addr> {
        let turn = u32::try_from(number.checked_rem(self.count.into())?).ok()?;
        Some(Ipv4Addr::from_bits(self.first.saturating_add(turn)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn addresses_are_taken_in_turn_and_pass_the_last_octet() {
        let sources = SourceAddresses::of(300);
        assert_eq!(sources.nth(0), Some(Ipv4Addr::new(127, 0, 1, 1)));
        assert_eq!(sources.nth(299), Some(Ipv4Addr::new(127, 0, 2, 44)));
        assert_eq!(sources.nth(300), sources.nth(0));
        assert_eq!(SourceAddresses::of(0).nth(7), None);
    }

    #[test]
    fn a_million_connections_get_what_they_need() {
        let sources = SourceAddresses::enough(2_000_000, HERE);
        assert_eq!(sources.count, 200);
        assert!(sources.nth(199).is_some_and(|it| it.is_loopback()));
        assert_eq!(
            SourceAddresses::enough(10_000, HERE),
            SourceAddresses::default()
        );
        let elsewhere = Ipv4Addr::new(10, 0, 0, 1).into();
        assert_eq!(
            SourceAddresses::enough(2_000_000, elsewhere),
            SourceAddresses::default()
        );
    }

    #[test]
    fn processes_share_them_without_meeting() {
        let all = SourceAddresses::of(7);
        let mut addresses = Vec::new();
        for part in 0..3 {
            let share = all.share(part, 3);
            addresses.extend((0..share.count.into()).filter_map(|n| share.nth(n)));
        }
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), 7);
        assert_eq!(
            SourceAddresses::default().share(0, 2),
            SourceAddresses::default()
        );
    }
}
