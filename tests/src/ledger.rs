//! The judge: what was sent and answered, what is in the inboxes, what live connections were shown,
//! and whether they agree.
//!
//! It is told of sends by whoever makes them, and of everything else by whoever reads it; it knows
//! no server. No two sends of a run have the same content.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use gimlet_proto::pb;

/// What an answered send must look like in an inbox.
#[derive(Clone, Debug)]
struct Answered {
    digest: u64,
    /// Readers in whose inbox it was not yet found.
    missing: Vec<i64>,
}

/// A send as it was meant.
#[derive(Clone, Debug)]
struct Meant {
    readers: Arc<[i64]>,
    stream: u64,
    /// Its place among the stream's.
    place: u64,
}

/// An entry of an inbox.
#[derive(Clone, Copy, Debug)]
struct Kept {
    seq: i64,
    digest: u64,
    /// The device that sent it.
    device: i64,
}

/// What a connection, or a client over its connections, was shown.
#[derive(Debug)]
struct Shown {
    user: i64,
    device: i64,
    /// It was to be shown what stands behind this.
    from: i64,
    /// Seqs and contents, in order of arrival.
    entries: Vec<(i64, Option<u64>)>,
    /// Whether it is to have everything at the end.
    lasting: bool,
}

/// What the judge has found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Sends that were answered.
    pub answered: u64,
    /// Entries looked at, in inboxes and on live connections.
    pub entries: u64,
    /// Answered sends that are missing in an inbox, and entries a live connection was not shown.
    pub lost: u64,
    /// Messages that stand in an inbox twice, or were shown twice.
    pub doubled: u64,
    /// Places at which an inbox, or what was shown of it, has a hole or goes back.
    pub holes: u64,
    /// Entries whose content is not what was sent.
    pub altered: u64,
    /// Entries that stand before an earlier one of the same sender.
    pub swapped: u64,
    /// Entries at somebody, or on a connection, they were not for.
    pub misdirected: u64,
}

impl Verdict {
    /// Whether every promise was kept.
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
pub struct Ledger {
    meant: HashMap<u64, Meant>,
    /// Sends of each stream so far.
    places: HashMap<u64, u64>,
    /// The last place of each stream in each inbox.
    order: HashMap<(i64, u64), u64>,
    answered: HashMap<Vec<u8>, Answered>,
    inboxes: HashMap<i64, Vec<Kept>>,
    /// Where each message stands in each inbox.
    found: HashMap<(i64, Vec<u8>), i64>,
    /// Where each content stands in each inbox.
    contents: HashMap<(i64, u64), i64>,
    shown: Vec<Shown>,
    verdict: Verdict,
}

impl Ledger {
    /// Notes a send before it is made: who may read it. The sends of a stream are made one after
    /// the other, each when the one before was answered.
    pub fn means(&mut self, stream: u64, content: &[u8], readers: Arc<[i64]>) {
        let place = self.places.entry(stream).or_default();
        *place += 1;
        let meant = Meant {
            readers,
            stream,
            place: *place,
        };
        self.meant.insert(digest(content), meant);
    }

    /// Notes an answered send and the users whose inboxes must have it.
    pub fn answered(&mut self, message_id: &[u8], content: &[u8], readers: &[i64]) {
        let missing = readers
            .iter()
            .copied()
            .filter(|reader| !self.found.contains_key(&(*reader, message_id.to_vec())))
            .collect();
        let entry = Answered {
            digest: digest(content),
            missing,
        };
        if self.answered.insert(message_id.to_vec(), entry).is_none() {
            self.verdict.answered += 1;
        }
    }

    /// How far this inbox was looked at: where the next sync starts.
    #[must_use]
    pub fn seen(&self, user: i64) -> i64 {
        let last = self.inboxes.get(&user).and_then(|inbox| inbox.last());
        last.map_or(0, |kept| kept.seq)
    }

    /// Looks at the next piece of an inbox.
    pub fn read(&mut self, user: i64, entries: &[pb::Message]) {
        for entry in entries {
            self.verdict.entries += 1;
            let seen = self.seen(user);
            if entry.seq != seen + 1 {
                self.verdict.holes += 1;
                eprintln!("inbox of {user}: {} stands behind {seen}", entry.seq);
            }
            let id = entry.message_id.to_vec();
            let digest = digest(&entry.message_content);
            let sender = entry.sender.as_ref();
            self.inboxes.entry(user).or_default().push(Kept {
                seq: entry.seq,
                digest,
                device: sender.map_or(0, |sender| sender.device_id),
            });
            // What the system says of the same change it says in the same words.
            let system = sender.is_some_and(|it| it.sender_type() == pb::SenderType::StSystem);
            let before = self.contents.insert((user, digest), entry.seq);
            let before = before.filter(|_| !system);
            if let Some(before) = self.found.insert((user, id.clone()), entry.seq).or(before) {
                self.verdict.doubled += 1;
                eprintln!(
                    "inbox of {user}: a message stands at {before} and at {}",
                    entry.seq
                );
            }
            if let Some(answered) = self.answered.get_mut(&id) {
                answered.missing.retain(|reader| *reader != user);
                if answered.digest != digest {
                    self.verdict.altered += 1;
                    eprintln!(
                        "inbox of {user}: {} has another content than was sent",
                        entry.seq
                    );
                }
            }
            self.compare(user, entry.seq, digest);
        }
    }

    /// Whether an entry is this user's, and in its sender's order.
    fn compare(&mut self, user: i64, seq: i64, digest: u64) {
        let Some(meant) = self.meant.get(&digest) else {
            return;
        };
        if !meant.readers.contains(&user) {
            self.verdict.misdirected += 1;
            eprintln!("inbox of {user}: {seq} is not for this user");
        }
        let last = self.order.entry((user, meant.stream)).or_default();
        if meant.place < *last {
            self.verdict.swapped += 1;
            eprintln!("inbox of {user}: {seq} was sent before an entry that stands before it");
        }
        *last = meant.place.max(*last);
    }

    /// A client of this device goes live behind this seq; what it is shown is told by
    /// [`shown`](Self::shown).
    pub fn watches(&mut self, user: i64, device: i64, from: i64) -> usize {
        self.shown.push(Shown {
            user,
            device,
            from,
            entries: Vec::new(),
            lasting: true,
        });
        self.shown.len() - 1
    }

    /// A live client was shown an entry; the content if it is one of the run's.
    pub fn shown(&mut self, watch: usize, seq: i64, content: Option<&[u8]>) {
        self.verdict.entries += 1;
        if let Some(shown) = self.shown.get_mut(watch) {
            shown.entries.push((seq, content.map(digest)));
        }
    }

    /// A live client ended; it need not have everything.
    pub fn ended(&mut self, watch: usize) {
        if let Some(shown) = self.shown.get_mut(watch) {
            shown.lasting = false;
        }
    }

    /// Something was found on a connection that was not for it.
    pub fn misdirected(&mut self, what: &str) {
        self.verdict.misdirected += 1;
        eprintln!("{what}");
    }

    /// Something that was promised is not there.
    pub fn lost(&mut self, what: &str) {
        self.verdict.lost += 1;
        eprintln!("{what}");
    }

    /// Whether this content stands in this inbox.
    #[must_use]
    pub fn has(&self, user: i64, content: &[u8]) -> bool {
        self.contents.contains_key(&(user, digest(content)))
    }

    /// How many entries the lasting live clients have still to be shown.
    #[must_use]
    pub fn unshown(&self) -> u64 {
        let lasting = self.shown.iter().filter(|shown| shown.lasting);
        lasting.map(|shown| self.rest(shown)).sum()
    }

    /// What this client was not shown although it stands in the inbox, behind what it was shown.
    fn rest(&self, shown: &Shown) -> u64 {
        let last = shown.entries.iter().map(|(seq, _)| *seq).max();
        self.between(shown, last.unwrap_or(shown.from), i64::MAX)
    }

    /// Entries of others between two seqs, both not counted.
    fn between(&self, shown: &Shown, after: i64, before: i64) -> u64 {
        let inbox = self.inboxes.get(&shown.user).map_or(&[][..], Vec::as_slice);
        let from = inbox.partition_point(|kept| kept.seq <= after);
        let rest = inbox.iter().skip(from);
        let rest = rest.take_while(|kept| kept.seq < before);
        rest.filter(|kept| kept.device != shown.device).count() as u64
    }

    /// The verdict over what was looked at; what is still missing counts as lost.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let missing: u64 = self.answered.values().map(|a| a.missing.len() as u64).sum();
        let mut verdict = Verdict {
            lost: self.verdict.lost + missing,
            ..self.verdict
        };
        for shown in &self.shown {
            self.judge(shown, &mut verdict);
        }
        verdict
    }

    /// Compares what a client was shown with the inbox.
    fn judge(&self, shown: &Shown, verdict: &mut Verdict) {
        let user = shown.user;
        let mut last = shown.from;
        for (seq, digest) in &shown.entries {
            if *seq <= last {
                verdict.doubled += 1;
                eprintln!("shown to {user}: {seq} behind {last}");
                continue;
            }
            if self.between(shown, last, *seq) > 0 {
                verdict.holes += 1;
                eprintln!("shown to {user}: {seq} behind {last}, with a hole");
            }
            last = *seq;
            let Some(digest) = digest else { continue };
            if let Some(meant) = self.meant.get(digest)
                && !meant.readers.contains(&user)
            {
                verdict.misdirected += 1;
                eprintln!("shown to {user}: {seq} is not for this user");
            }
            let inbox = self.inboxes.get(&user).map_or(&[][..], Vec::as_slice);
            let at = inbox.binary_search_by_key(seq, |kept| kept.seq);
            let kept = at.ok().and_then(|at| inbox.get(at));
            if kept.map(|kept| kept.digest) != Some(*digest) {
                verdict.altered += 1;
                eprintln!("shown to {user}: {seq} is not what stands in the inbox");
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
