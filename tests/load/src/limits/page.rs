//! What a page costs when the entries are in memory: one ordered map, a hundred shared bodies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Limit, Pass};
use super::{Outcome, Shape};

const INBOXES: u64 = 1_000;
const PAGE: u64 = 100;

/// Range reads of a hundred entries, each entry's body shared.
pub fn memory(shape: Shape) -> Outcome<Limit> {
    let mut map = BTreeMap::new();
    for inbox in 0..INBOXES {
        for seq in 1..=PAGE {
            map.insert((inbox, seq), Arc::<[u8]>::from(vec![7; 100]));
        }
    }
    let passes = shape.passes(|span| Ok(scan(&map, span)))?;
    let what = "100 entries of an ordered map, bodies shared, one thread";
    Ok(Limit::of("memory page", "entries/s", &passes, what))
}

fn scan(map: &BTreeMap<(u64, u64), Arc<[u8]>>, span: Duration) -> Pass {
    let (start, mut count, mut at) = (Instant::now(), 0, 0_u64);
    while start.elapsed() < span {
        at = (at + 7_919) % INBOXES;
        let page: Vec<Arc<[u8]>> = map
            .range((at, 1)..=(at, PAGE))
            .map(|(_, body)| Arc::clone(body))
            .collect();
        count += page.len() as u64;
    }
    Pass {
        count,
        span: start.elapsed(),
        cpu: None,
    }
}
