//! Probes of plain sled: one writer, one tree, one batch, one blocking flush.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use sled::{Batch, Tree};
use tokio::time::Instant;

use super::page::{InboxSet, PAGE};
use super::{MeasuredLimit, ProbeOutcome, ProbePass, ProbeShape, group};

/// Users that the sends go to.
const USERS: u64 = 10_000;

/// Bytes of a message.
const BODY: usize = 100;

/// Measures durable sends: a message, two raised heads, two entries.
pub fn sends(dir: &Path, shape: ProbeShape, senders: u64) -> ProbeOutcome<MeasuredLimit> {
    let passes = shape.passes(|span| {
        let dir = tempfile::tempdir_in(dir)?;
        let db = open(dir.path())?;
        let tree = db.open_tree("all")?;
        let mut next = 0;
        group::commit(
            senders,
            span,
            |n| n,
            move |sends: &[u64]| {
                tree.apply_batch(batch(&tree, sends, &mut next)?)?;
                tree.flush()?;
                Ok(())
            },
        )
    })?;
    let what = "one writer, one tree, one batch, blocking flush";
    Ok(MeasuredLimit::of(
        format!("sled sends {senders}"),
        "sends/s",
        &passes,
        what,
    ))
}

/// Returns a function that commits one send at a time, each on the disk when it returns. The extra
/// sync is needed: sled's flush hands its pages to the drive but does not sync the file.
pub(super) fn one_by_one(dir: &Path) -> ProbeOutcome<impl FnMut() -> ProbeOutcome<()>> {
    let tree = open(dir)?.open_tree("all")?;
    let file = File::open(dir.join("db").join("db"))?;
    let (mut send, mut next) = (0, 0);
    Ok(move || {
        tree.apply_batch(batch(&tree, &[send], &mut next)?)?;
        send += 1;
        tree.flush()?;
        file.sync_all()?;
        Ok(())
    })
}

/// Reads inboxes from their beginning to their end, fifty entries (a SYNC page) by one range scan,
/// with the bodies in the entries and one reader.
pub fn pages(dir: &Path, shape: ProbeShape, of: InboxSet) -> ProbeOutcome<MeasuredLimit> {
    let dir = tempfile::tempdir_in(dir)?;
    let db = open(dir.path())?;
    let tree = db.open_tree("all")?;
    // Written in the order of arriving messages: to every inbox in turn.
    for seq in 1..=of.entries {
        let mut batch = Batch::default();
        for inbox in 0..of.inboxes {
            batch.insert(entry(inbox, seq).as_slice(), body(seq));
        }
        tree.apply_batch(batch)?;
    }
    tree.flush()?;
    let passes = shape.passes(|span| scan(&tree, span, of))?;
    let what = "range scans of 50 entries of 100 B, one thread";
    Ok(MeasuredLimit::of("sled page", "entries/s", &passes, what))
}

fn scan(tree: &Tree, span: Duration, of: InboxSet) -> ProbeOutcome<ProbePass> {
    let (start, mut count) = (Instant::now(), 0);
    for (inbox, from) in of.pages(0) {
        if start.elapsed() >= span {
            break;
        }
        let mut bytes = 0;
        for item in tree.range(entry(inbox, from)..=entry(inbox, from + PAGE - 1)) {
            bytes += item?.1.len();
            count += 1;
        }
        assert!(bytes > 0, "the inboxes were filled");
    }
    Ok(ProbePass {
        count,
        span: start.elapsed(),
        cpu: None,
    })
}

fn open(dir: &Path) -> ProbeOutcome<sled::Db> {
    // The flusher is off, as in gimlet: the writer flushes its own writes.
    Ok(sled::Config::default()
        .path(dir.join("db"))
        .flush_every_ms(None)
        .open()?)
}

fn batch(tree: &Tree, sends: &[u64], next: &mut u64) -> ProbeOutcome<Batch> {
    let mut batch = Batch::default();
    let mut heads: HashMap<u64, u64> = HashMap::new();
    for send in sends {
        *next += 1;
        batch.insert(key(b'm', *next, None).as_slice(), body(*send));
        for user in [*send % USERS, send.wrapping_mul(7_919) % USERS] {
            let head = match heads.get(&user) {
                Some(head) => *head,
                None => head(tree, user)?,
            } + 1;
            heads.insert(user, head);
            batch.insert(entry(user, head).as_slice(), &next.to_be_bytes());
        }
    }
    for (user, head) in heads {
        batch.insert(key(b'h', user, None).as_slice(), &head.to_be_bytes());
    }
    Ok(batch)
}

fn head(tree: &Tree, user: u64) -> ProbeOutcome<u64> {
    let found = tree.get(key(b'h', user, None))?;
    let bytes = found.as_deref().and_then(|it| it.first_chunk());
    Ok(bytes.map_or(0, |it| u64::from_be_bytes(*it)))
}

fn entry(user: u64, seq: u64) -> Vec<u8> {
    key(b'i', user, Some(seq))
}

fn key(kind: u8, of: u64, seq: Option<u64>) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend(of.to_be_bytes());
    key.extend(seq.iter().flat_map(|seq| seq.to_be_bytes()));
    key
}

/// Returns bytes that no compression makes smaller.
fn body(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut body = Vec::with_capacity(BODY + 8);
    while body.len() < BODY {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend(state.to_le_bytes());
    }
    body.truncate(BODY);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_go_on_within_and_across_batches() {
        let dir = tempfile::tempdir().unwrap();
        let tree = open(dir.path()).unwrap().open_tree("all").unwrap();
        let mut next = 0;
        for _ in 0..2 {
            let batch = batch(&tree, &[5, 5], &mut next).unwrap();
            tree.apply_batch(batch).unwrap();
        }
        assert_eq!(head(&tree, 5).unwrap(), 4);
        assert_eq!(tree.scan_prefix(key(b'i', 5, None)).count(), 4);
        assert_eq!(next, 4);
    }

    #[test]
    fn both_probes_count_something() {
        let dir = tempfile::tempdir().unwrap();
        let shape = ProbeShape {
            span: Duration::from_millis(5),
            passes: 1,
        };
        assert!(sends(dir.path(), shape, 8).unwrap().value > 0.0);
        let few = InboxSet {
            inboxes: 10,
            entries: 200,
        };
        assert!(pages(dir.path(), shape, few).unwrap().value > 0.0);
    }
}
