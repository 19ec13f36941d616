//! Live clients: what each was shown, compared with the inbox of its user.

use crate::records::{WatchId, WatchedClient, digest};
use crate::{DeliveryJudge, FindingKind, JudgeFindings};

impl DeliveryJudge {
    /// Registers a live client of this device from this seq on; [`shown`](Self::shown) records the
    /// entries that it is shown.
    pub fn watch(&mut self, user: i64, device: i64, from: i64) -> WatchId {
        let inbox = self.inbox(user);
        self.watches.push(WatchedClient {
            user,
            inbox,
            device,
            from,
            entries: Vec::new(),
            lasting: true,
        });
        self.watches.len() - 1
    }

    /// Records an entry that a live client was shown, with its content if the run sent it.
    pub fn shown(&mut self, watch: WatchId, seq: i64, content: Option<&[u8]>) {
        self.entries += 1;
        if let Some(watch) = self.watches.get_mut(watch) {
            watch.entries.push((seq, content.map(digest)));
        }
    }

    /// Records the end of a live client, which need not have been shown everything.
    pub fn ended(&mut self, watch: WatchId) {
        if let Some(watch) = self.watches.get_mut(watch) {
            watch.lasting = false;
        }
    }

    /// Returns the number of entries that the lasting live clients have still to be shown.
    #[must_use]
    pub fn unshown(&self) -> u64 {
        let lasting = self.watches.iter().filter(|watch| watch.lasting);
        lasting.map(|watch| self.rest(watch)).sum()
    }

    /// Counts the entries of the inbox above the last one that this client was shown.
    fn rest(&self, watch: &WatchedClient) -> u64 {
        let last = watch.entries.iter().map(|(seq, _)| *seq).max();
        let inbox = self.inboxes.get(&watch.inbox);
        let after = last.unwrap_or(watch.from);
        inbox.map_or(0, |inbox| watch.not_shown(inbox, after, i64::MAX))
    }

    /// Compares the entries that a client was shown with the inbox.
    pub(crate) fn judge_watch(&self, watch: &WatchedClient, findings: &mut JudgeFindings) {
        let user = watch.user;
        let Some(inbox) = self.inboxes.get(&watch.inbox) else {
            return;
        };
        let mut last = watch.from;
        for (seq, digest) in &watch.entries {
            if *seq <= last {
                findings.add(FindingKind::Doubled, || {
                    format!("a client of user {user} was shown {seq} after {last}")
                });
                continue;
            }
            if watch.not_shown(inbox, last, *seq) > 0 {
                findings.add(FindingKind::Hole, || {
                    format!("a client of user {user} was shown {seq} after {last}, with a hole")
                });
            }
            last = *seq;
            let Some(digest) = digest else { continue };
            let sent = self.contents.get(digest);
            if sent.is_some_and(|id| !self.is_allowed(watch.inbox, *id)) {
                findings.add(FindingKind::Misdirected, || {
                    format!("a client of user {user} was shown {seq}, which is for others")
                });
            }
            if inbox.entry(*seq).map(|entry| entry.digest) != Some(*digest) {
                findings.add(FindingKind::Damaged, || {
                    format!("a client of user {user} was shown {seq}, which differs from the inbox")
                });
            }
        }
        if watch.lasting {
            for _ in 0..self.rest(watch) {
                findings.add(FindingKind::Dropped, || {
                    format!("a client of user {user} was shown nothing after {last}")
                });
            }
        }
    }
}
