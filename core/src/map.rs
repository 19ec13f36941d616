//! The hash maps on the path of a message.
//!
//! std's hasher costs 7 % of a send's CPU in memory (docs/performance.md). This one is seeded anew for
//! each map, so that nobody who chooses ids can choose collisions.

use std::collections::HashMap;

/// A seed, and the hasher it makes.
pub(crate) type Seeded = foldhash::fast::RandomState;

/// A hash map by that hasher.
pub(crate) type Map<K, V> = HashMap<K, V, Seeded>;
