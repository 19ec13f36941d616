//! Hash maps for the message path.
//!
//! The hasher of std costs 7 % of a send's CPU in memory (docs/performance.md). This one has a new
//! seed for each map, so that a caller who chooses ids cannot choose collisions.

use std::collections::HashMap;

/// A hasher with a random seed.
pub(crate) type FastHashState = foldhash::fast::RandomState;

/// A hash map with that hasher.
pub(crate) type FastHashMap<K, V> = HashMap<K, V, FastHashState>;
