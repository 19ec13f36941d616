//! Checks every answered send: compares the answered sends, the entries of the inboxes and the
//! entries that live connections were shown.
//!
//! Callers report sends before they make them, and everything that they read; the ledger contacts
//! no server. No two sends of a run may have the same content.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use gimlet_proto::pb;

/// An answered send, as it must appear in an inbox.
#[derive(Clone, Debug)]
struct ExpectedEntry {
    digest: u64,
    /// Recipients in whose inbox it was not found yet.
    missing: Vec<i64>,
}

/// A send as its sender made it.
#[derive(Clone, Debug)]
struct PlannedSend {
    recipients: Arc<[i64]>,
    stream: u64,
    /// Position among the sends of its stream.
    position: u64,
}

/// An entry of an inbox.
#[derive(Clone, Copy, Debug)]
struct InboxEntry {
    seq: i64,
    digest: u64,
    /// Device that sent the entry.
    device: i64,
}

/// Entries that a connection, or a client over its connections, was shown.
#[derive(Debug)]
struct ShownEntries {
    user: i64,
    device: i64,
    /// Seq above which entries were to be shown.
    from: i64,
    /// Seqs and contents, in order of arrival.
    entries: Vec<(i64, Option<u64>)>,
    /// Set for a client that must have been shown everything at the end.
    lasting: bool,
}

/// Result of the check so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerVerdict {
    /// Number of answered sends.
    pub answered: u64,
    /// Number of checked entries, in inboxes and on live connections.
    pub entries: u64,
    /// Answered sends that are missing in an inbox, and entries that a live connection was not
    /// shown.
    pub lost: u64,
    /// Messages that are in an inbox twice, or were shown twice.
    pub doubled: u64,
    /// Positions at which an inbox, or the entries shown of it, has a hole or goes back.
    pub holes: u64,
    /// Entries whose content differs from the sent content.
    pub altered: u64,
    /// Entries after a later one of the same sender.
    pub swapped: u64,
    /// Entries in an inbox, or on a connection, that they were not addressed to.
    pub misdirected: u64,
}

impl LedgerVerdict {
    /// Returns whether every promise was kept.
    #[must_use]
    pub const fn clean(&self) -> bool {
        self.lost == 0
            && self.doubled == 0
            && self.holes == 0
            && self.altered == 0
            && self.swapped == 0
            && self.misdirected == 0
    }
}

/// The ledger of a run.
#[derive(Debug, Default)]
pub struct RunLedger {
    meant: HashMap<u64, PlannedSend>,
    /// Number of sends of each stream so far.
    send_counts: HashMap<u64, u64>,
    /// The last position of each stream in each inbox.
    order: HashMap<(i64, u64), u64>,
    answered: HashMap<Vec<u8>, ExpectedEntry>,
    inboxes: HashMap<i64, Vec<InboxEntry>>,
    /// Seq of each message in each inbox.
    found: HashMap<(i64, Vec<u8>), i64>,
    /// Seq of each content in each inbox.
    contents: HashMap<(i64, u64), i64>,
    shown: Vec<ShownEntries>,
    verdict: LedgerVerdict,
}

impl RunLedger {
    /// Records a send before it is made, with its recipients. The sends of a stream are made one
    /// after another, each after the answer to the one before.
    pub fn means(&mut self, stream: u64, content: &[u8], readers: Arc<[i64]>) {
        let place = self.send_counts.entry(stream).or_default();
        *place += 1;
        let meant = PlannedSend {
            recipients: readers,
            stream,
            position: *place,
        };
        self.meant.insert(digest(content), meant);
    }

    /// Records an answered send and the users whose inboxes must have it.
    pub fn answered(&mut self, message_id: &[u8], content: &[u8], readers: &[i64]) {
        let missing = readers
            .iter()
            .copied()
            .filter(|reader| !self.found.contains_key(&(*reader, message_id.to_vec())))
            .collect();
        let entry = ExpectedEntry {
            digest: digest(content),
            missing,
        };
        if self.answered.insert(message_id.to_vec(), entry).is_none() {
            self.verdict.answered += 1;
        }
    }

    /// Returns the last checked seq of this inbox: the next sync starts there.
    #[must_use]
    pub fn seen(&self, user: i64) -> i64 {
        let last = self.inboxes.get(&user).and_then(|inbox| inbox.last());
        last.map_or(0, |kept| kept.seq)
    }

    /// Checks the next entries of an inbox.
    pub fn read(&mut self, user: i64, entries: &[pb::Message]) {
        for entry in entries {
            self.verdict.entries += 1;
            let seen = self.seen(user);
            if entry.seq != seen + 1 {
                self.verdict.holes += 1;
                eprintln!("inbox of {user}: {} comes after {seen}", entry.seq);
            }
            let id = entry.message_id.to_vec();
            let digest = digest(&entry.message_content);
            let sender = entry.sender.as_ref();
            self.inboxes.entry(user).or_default().push(InboxEntry {
                seq: entry.seq,
                digest,
                device: sender.map_or(0, |sender| sender.device_id),
            });
            // Two system messages about the same change have the same content, so only their ids
            // are compared.
            let system = sender.is_some_and(|it| it.sender_type() == pb::SenderType::StSystem);
            let before = self.contents.insert((user, digest), entry.seq);
            let before = before.filter(|_| !system);
            if let Some(before) = self.found.insert((user, id.clone()), entry.seq).or(before) {
                self.verdict.doubled += 1;
                eprintln!(
                    "inbox of {user}: a message is at {before} and at {}",
                    entry.seq
                );
            }
            if let Some(answered) = self.answered.get_mut(&id) {
                answered.missing.retain(|reader| *reader != user);
                if answered.digest != digest {
                    self.verdict.altered += 1;
                    eprintln!(
                        "inbox of {user}: the content of {} differs from the sent content",
                        entry.seq
                    );
                }
            }
            self.compare(user, entry.seq, digest);
        }
    }

    /// Checks that an entry is addressed to this user and keeps its sender's order.
    fn compare(&mut self, user: i64, seq: i64, digest: u64) {
        let Some(meant) = self.meant.get(&digest) else {
            return;
        };
        if !meant.recipients.contains(&user) {
            self.verdict.misdirected += 1;
            eprintln!("inbox of {user}: {seq} is not for this user");
        }
        let last = self.order.entry((user, meant.stream)).or_default();
        if meant.position < *last {
            self.verdict.swapped += 1;
            eprintln!("inbox of {user}: {seq} was sent before an entry that precedes it");
        }
        *last = meant.position.max(*last);
    }

    /// Registers a live client of this device from this seq on; [`shown`](Self::shown) records the
    /// entries that it is shown.
    pub fn watches(&mut self, user: i64, device: i64, from: i64) -> usize {
        self.shown.push(ShownEntries {
            user,
            device,
            from,
            entries: Vec::new(),
            lasting: true,
        });
        self.shown.len() - 1
    }

    /// Records an entry that a live client was shown, with its content if the run sent it.
    pub fn shown(&mut self, watch: usize, seq: i64, content: Option<&[u8]>) {
        self.verdict.entries += 1;
        if let Some(shown) = self.shown.get_mut(watch) {
            shown.entries.push((seq, content.map(digest)));
        }
    }

    /// Records the end of a live client, which need not have been shown everything.
    pub fn ended(&mut self, watch: usize) {
        if let Some(shown) = self.shown.get_mut(watch) {
            shown.lasting = false;
        }
    }

    /// Counts something that was found on a connection that it was not addressed to.
    pub fn misdirected(&mut self, what: &str) {
        self.verdict.misdirected += 1;
        eprintln!("{what}");
    }

    /// Counts something promised that is missing.
    pub fn lost(&mut self, what: &str) {
        self.verdict.lost += 1;
        eprintln!("{what}");
    }

    /// Returns whether this inbox has an entry with this content.
    #[must_use]
    pub fn has(&self, user: i64, content: &[u8]) -> bool {
        self.contents.contains_key(&(user, digest(content)))
    }

    /// Returns the number of entries that the lasting live clients have still to be shown.
    #[must_use]
    pub fn unshown(&self) -> u64 {
        let lasting = self.shown.iter().filter(|shown| shown.lasting);
        lasting.map(|shown| self.rest(shown)).sum()
    }

    /// Counts the entries of the inbox above the last one that this client was shown.
    fn rest(&self, shown: &ShownEntries) -> u64 {
        let last = shown.entries.iter().map(|(seq, _)| *seq).max();
        self.between(shown, last.unwrap_or(shown.from), i64::MAX)
    }

    /// Counts the entries of other devices between two seqs, both excluded. A device's own sends
    /// are not pushed to it.
    fn between(&self, shown: &ShownEntries, after: i64, before: i64) -> u64 {
        let inbox = self.inboxes.get(&shown.user).map_or(&[][..], Vec::as_slice);
        let from = inbox.partition_point(|kept| kept.seq <= after);
        let rest = inbox.iter().skip(from);
        let rest = rest.take_while(|kept| kept.seq < before);
        rest.filter(|kept| kept.device != shown.device).count() as u64
    }

    /// Returns the verdict on everything checked; entries that are still missing count as lost.
    #[must_use]
    pub fn verdict(&self) -> LedgerVerdict {
        let missing: u64 = self.answered.values().map(|a| a.missing.len() as u64).sum();
        let mut verdict = LedgerVerdict {
            lost: self.verdict.lost + missing,
            ..self.verdict
        };
        for shown in &self.shown {
            self.judge(shown, &mut verdict);
        }
        verdict
    }

    /// Compares the entries that a client was shown with the inbox.
    fn judge(&self, shown: &ShownEntries, verdict: &mut LedgerVerdict) {
        let user = shown.user;
        let mut last = shown.from;
        for (seq, digest) in &shown.entries {
            if *seq <= last {
                verdict.doubled += 1;
                eprintln!("shown to {user}: {seq} after {last}");
                continue;
            }
            if self.between(shown, last, *seq) > 0 {
                verdict.holes += 1;
                eprintln!("shown to {user}: {seq} after {last}, with a hole");
            }
            last = *seq;
            let Some(digest) = digest else { continue };
            if let Some(meant) = self.meant.get(digest)
                && !meant.recipients.contains(&user)
            {
                verdict.misdirected += 1;
                eprintln!("shown to {user}: {seq} is not for this user");
            }
            let inbox = self.inboxes.get(&user).map_or(&[][..], Vec::as_slice);
            let at = inbox.binary_search_by_key(seq, |kept| kept.seq);
            let kept = at.ok().and_then(|at| inbox.get(at));
            if kept.map(|kept| kept.digest) != Some(*digest) {
                verdict.altered += 1;
                eprintln!("shown to {user}: {seq} differs from the inbox");
            }
        }
        if shown.lasting {
            verdict.lost += self.rest(shown);
        }
    }
}

fn digest(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
