//! Ids, one newtype for each kind, so that two kinds cannot be confused.
//!
//! Numeric ids are 1 … 2^63−1: `int64` on gim's wire, BIGINT at rest. Only the wire converters and
//! the stores' row mappers convert integers to ids.

use std::fmt;

use uuid::Uuid;

/// The largest numeric id: gim's wire carries `int64`.
pub const MAX_ID: u64 = i64::MAX as u64;

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The smallest id.
            pub const MIN: Self = Self(1);
            /// The largest id.
            pub const MAX: Self = Self(MAX_ID);

            /// Makes the id; `None` if the number is not in 1 … 2^63−1.
            #[must_use]
            pub const fn new(raw: u64) -> Option<Self> {
                if raw == 0 || raw > MAX_ID { None } else { Some(Self(raw)) }
            }

            /// Makes the id from a wire integer; `None` if it is zero or negative.
            #[must_use]
            pub fn from_wire(raw: i64) -> Option<Self> {
                u64::try_from(raw).ok().and_then(Self::new)
            }

            /// Returns the number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// Returns the number as gim's wire carries it.
            #[must_use]
            pub const fn to_wire(self) -> i64 {
                self.0.cast_signed()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, ":{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

numeric_id!(
    /// A user of the business backend.
    UserId, "u"
);
numeric_id!(
    /// A device: one installation of a client. It survives account switches.
    DeviceId, "d"
);
numeric_id!(
    /// A group: its messages go to every member's inbox.
    GroupId, "g"
);
numeric_id!(
    /// A room: its messages are kept briefly and go to its current subscribers.
    RoomId, "r"
);
numeric_id!(
    /// One connection of this process; never reused while the process lives.
    ConnId, "c"
);

/// An API key of a backend: the beginning of the key's hash. It names the key without telling
/// anything of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKeyId(u64);

impl ApiKeyId {
    /// Makes the id from its number; `None` if the number is not in 1 … 2^63−1.
    #[must_use]
    pub const fn new(raw: u64) -> Option<Self> {
        if raw == 0 || raw > MAX_ID {
            None
        } else {
            Some(Self(raw))
        }
    }

    /// Returns the id of the key with this hash: its first 63 bits.
    #[must_use]
    pub fn of_hash(hash: &[u8; 32]) -> Self {
        let (first, _) = hash.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        Self((u64::from_be_bytes(*first) >> 1).max(1))
    }

    /// Reads the text that [`Display`](fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(is_digit) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().and_then(Self::new)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A message: a `UUIDv7`, ordered by time, made by the node that accepts the send.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// Makes a new id.
    #[must_use]
    pub fn generate() -> Self {
        Self(*Uuid::now_v7().as_bytes())
    }

    /// Wraps 16 stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m:{}", Uuid::from_bytes(self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A node: a name that is stable across restarts, and the id of this run of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId {
    /// The node's name: the address at which its peers reach it, or `local` if it has none.
    pub name: String,
    /// A random number for each start, so that a lease of an earlier run never counts for this one.
    pub boot: u64,
}

impl NodeId {
    /// Makes the id of a new run of the node with this name.
    #[must_use]
    pub fn boot(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            boot: rand::random(),
        }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{:016x}", self.name, self.boot)
    }
}

/// Number that rises with each sign-in of a user on a device: the connection with the larger number
/// owns the device (law 7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// The id of one unbroken history of a store (law 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Bits of an epoch. A JavaScript number represents integers of this size exactly; decoders
    /// there refuse larger ones.
    pub const BITS: u32 = 53;

    /// Draws a random epoch. It is never zero, which means "none" on the wire. Stores made by
    /// earlier versions keep an epoch of 64 bits until it changes.
    #[must_use]
    pub fn draw() -> Self {
        Self((rand::random::<u64>() >> (u64::BITS - Self::BITS)).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p18_an_epoch_fits_a_number_of_javascript() {
        let drawn: Vec<Epoch> = (0..1_000).map(|_| Epoch::draw()).collect();
        assert!(drawn.iter().all(|it| it.0 > 0 && it.0 < 1 << 53));
        assert!(drawn.iter().any(|it| it.0 >= 1 << 52), "all bits are used");
        assert!(drawn.iter().any(|it| it.0 % 2 == 0), "all bits are used");
    }

    #[test]
    fn ids_are_what_int64_can_carry_above_zero() {
        assert_eq!(UserId::new(0), None);
        assert_eq!(UserId::from_wire(-1), None);
        assert_eq!(UserId::from_wire(i64::MAX).map(UserId::get), Some(MAX_ID));
        assert_eq!(UserId::new(MAX_ID + 1), None);
        assert_eq!(format!("{:?}", DeviceId::new(7).unwrap()), "d:7");
    }
}
