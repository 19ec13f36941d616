//! The judge: what was answered, what is in the inboxes, and whether the two agree.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use gimlet_proto::pb;

/// What an answered send must look like in an inbox.
#[derive(Clone, Debug)]
struct Answered {
    digest: u64,
    /// Readers in whose inbox it was not yet found.
    missing: Vec<i64>,
}

/// What the judge has found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Sends that were answered.
    pub answered: u64,
    /// Entries looked at.
    pub entries: u64,
    /// Answered sends that are missing in an inbox.
    pub lost: u64,
    /// Messages that stand in an inbox twice.
    pub doubled: u64,
    /// Places at which an inbox has a hole, or goes back.
    pub holes: u64,
    /// Entries whose content is not what was sent.
    pub altered: u64,
}

impl Verdict {
    /// Whether every promise was kept.
    #[must_use]
    pub const fn clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.holes == 0 && self.altered == 0
    }
}

/// The ledger of a run.
#[derive(Debug, Default)]
pub struct Ledger {
    answered: HashMap<Vec<u8>, Answered>,
    /// How far each inbox was looked at.
    seen: HashMap<i64, i64>,
    /// Where each message stands in each inbox.
    found: HashMap<(i64, Vec<u8>), i64>,
    /// Where each content stands in each inbox: no two sends of a run have the same.
    contents: HashMap<(i64, u64), i64>,
    verdict: Verdict,
}

impl Ledger {
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
        self.seen.get(&user).copied().unwrap_or(0)
    }

    /// Looks at the next piece of an inbox.
    pub fn read(&mut self, user: i64, entries: &[pb::Message]) {
        for entry in entries {
            self.verdict.entries += 1;
            let seen = self.seen.entry(user).or_default();
            if entry.seq != *seen + 1 {
                self.verdict.holes += 1;
                eprintln!("inbox of {user}: {} stands behind {seen}", entry.seq);
            }
            *seen = entry.seq;
            let id = entry.message_id.to_vec();
            let digest = digest(&entry.message_content);
            let before = self.contents.insert((user, digest), entry.seq);
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
        }
    }

    /// The verdict over what was looked at; what is still missing counts as lost.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let lost = self.answered.values().map(|a| a.missing.len() as u64).sum();
        Verdict {
            lost,
            ..self.verdict
        }
    }
}

fn digest(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: i64, id: u8, content: &'static [u8]) -> pb::Message {
        pb::Message {
            seq,
            message_id: vec![id].into(),
            message_content: content.into(),
            ..pb::Message::default()
        }
    }

    #[test]
    fn a_clean_run_is_clean() {
        let mut ledger = Ledger::default();
        ledger.answered(&[1], b"a", &[7]);
        ledger.read(7, &[entry(1, 1, b"a"), entry(2, 2, b"unanswered")]);
        assert!(ledger.verdict().clean());
    }

    #[test]
    fn each_planted_defect_is_found() {
        let mut ledger = Ledger::default();
        ledger.answered(&[1], b"a", &[7, 8]);
        ledger.answered(&[2], b"b", &[7]);
        ledger.read(
            7,
            &[entry(1, 1, b"x"), entry(2, 1, b"a"), entry(4, 3, b"c")],
        );
        let verdict = ledger.verdict();
        assert_eq!(
            (verdict.lost, verdict.doubled),
            (2, 1),
            "2 for user 7, 1 for user 8"
        );
        assert_eq!((verdict.holes, verdict.altered), (1, 1));
    }
}
