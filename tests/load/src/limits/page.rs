//! Page reads of long inboxes: the inboxes to read, and the cost when their entries are in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{MeasuredLimit, ProbeOutcome, ProbePass, ProbeShape};

/// Entries of one page, as on gim's wire.
pub(super) const PAGE: u64 = 50;

/// Inboxes to read, each from its beginning to its end. The defaults are those of `sync`.
#[derive(Clone, Copy, Debug)]
pub struct InboxSet {
    /// Number of inboxes.
    pub inboxes: u64,
    /// Entries of each inbox.
    pub entries: u64,
}

impl Default for InboxSet {
    fn default() -> Self {
        Self {
            inboxes: 200,
            entries: 2_000,
        }
    }
}

impl InboxSet {
    /// Returns all pages in an endless loop, from inbox `first` on: an inbox and the first seq of
    /// each.
    pub(super) fn pages(self, first: u64) -> impl Iterator<Item = (u64, u64)> {
        let pages = self.entries.max(1).div_ceil(PAGE);
        let starts = move || (0..pages).map(|page| page * PAGE + 1);
        // Consecutive inboxes lie far apart.
        let inboxes = (0..).map(move |n: u64| n.wrapping_mul(7_919).wrapping_add(first));
        inboxes.flat_map(move |inbox| starts().map(move |seq| (inbox % self.inboxes, seq)))
    }
}

/// Measures range reads of fifty entries, with each entry's body shared.
pub fn memory(shape: ProbeShape, of: InboxSet) -> ProbeOutcome<MeasuredLimit> {
    let mut map = BTreeMap::new();
    for inbox in 0..of.inboxes {
        for seq in 1..=of.entries {
            map.insert((inbox, seq), Arc::<[u8]>::from(vec![7; 100]));
        }
    }
    let passes = shape.passes(|span| Ok(scan(&map, span, of)))?;
    let what = "50 entries of an ordered map, bodies shared, one thread";
    Ok(MeasuredLimit::of("memory page", "entries/s", &passes, what))
}

fn scan(map: &BTreeMap<(u64, u64), Arc<[u8]>>, span: Duration, of: InboxSet) -> ProbePass {
    let (start, mut count) = (Instant::now(), 0);
    for (at, from) in of.pages(0) {
        if start.elapsed() >= span {
            break;
        }
        let page: Vec<Arc<[u8]>> = map
            .range((at, from)..=(at, from + PAGE - 1))
            .map(|(_, body)| Arc::clone(body))
            .collect();
        count += page.len() as u64;
    }
    ProbePass {
        count,
        span: start.elapsed(),
        cpu: None,
    }
}
