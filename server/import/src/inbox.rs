//! Puts the entries of inboxes into the storage, each at the seq that it had at gim.
//!
//! Entries come ordered by user and seq. The storage assigns the next seq to each append, so the
//! order is the whole mechanism: an inbox begins before its first entry, skipped seqs are filled,
//! and every answer of the storage is compared with the seq that gim had assigned.

use std::sync::Arc;

use gimlet_core::events::EventHooks;
use gimlet_core::id::UserId;
use gimlet_core::message::Message;
use gimlet_core::seq::Seq;
use gimlet_core::store::{AppendOutcome, AppendRequest, InboxStore};
use gimlet_core::time::UnixTimestamp;

use crate::error::ImportError;
use crate::findings::RowFindings;
use crate::message::filler;

/// Most seqs in a row that are filled. A longer hole was not left by failed sends: the operator has
/// removed messages, and the history before it is left out.
pub(crate) const MAX_FILLED: u64 = 10_000;
/// Entries, and inboxes that begin, in one call of the storage.
const BATCH_ENTRIES: usize = 500;
/// Bytes of content in one call of the storage.
const BATCH_BYTES: usize = 1 << 20;

/// Writes inboxes, one after the other. Without a store it only counts.
#[derive(Debug)]
pub(crate) struct InboxWriter {
    store: Option<Arc<dyn InboxStore>>,
    open: Option<OpenInbox>,
    /// Inboxes that begin before the entries of the batch are appended.
    begins: Vec<(UserId, Seq)>,
    batch: Vec<AppendRequest>,
    expected: Vec<(UserId, Seq)>,
    bytes: usize,
    /// Counts so far.
    pub(crate) inboxes: u64,
    pub(crate) messages: u64,
    pub(crate) filled: u64,
}

/// The inbox that is being written.
#[derive(Clone, Copy, Debug)]
struct OpenInbox {
    user: UserId,
    /// The last seq that is written, or before which the inbox begins.
    last: u64,
    /// The last seq that gim has assigned.
    head: u64,
    has_entries: bool,
    /// Time of the last entry, which fillers get too.
    at: UnixTimestamp,
}

impl InboxWriter {
    pub(crate) fn new(store: Option<Arc<dyn InboxStore>>) -> Self {
        Self {
            store,
            open: None,
            begins: Vec::new(),
            batch: Vec::new(),
            expected: Vec::new(),
            bytes: 0,
            inboxes: 0,
            messages: 0,
            filled: 0,
        }
    }

    /// Puts an entry into an inbox whose head is at least `head`.
    pub(crate) async fn put(
        &mut self,
        (user, seq): (UserId, u64),
        message: Message,
        head: u64,
        findings: &mut RowFindings<'_>,
    ) -> Result<(), ImportError> {
        let mut inbox = self.turn_to(user, head, findings).await?;
        self.advance(&mut inbox, seq - 1, findings).await?;
        inbox.last = seq;
        inbox.has_entries = true;
        inbox.at = message.sent_at;
        self.open = Some(inbox);
        self.messages += 1;
        self.append((user, seq), message).await
    }

    /// Leaves out an entry: its seq counts as assigned.
    pub(crate) async fn leave_out(
        &mut self,
        (user, seq): (UserId, u64),
        head: u64,
        findings: &mut RowFindings<'_>,
    ) -> Result<(), ImportError> {
        let mut inbox = self.turn_to(user, head, findings).await?;
        inbox.head = inbox.head.max(seq);
        self.open = Some(inbox);
        Ok(())
    }

    /// Begins the inbox of a user without entries at its head.
    pub(crate) async fn begin(&mut self, user: UserId, head: u64) -> Result<(), ImportError> {
        self.inboxes += 1;
        self.begins.push((user, Seq::new(head)));
        if self.begins.len() >= BATCH_ENTRIES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Ends the last inbox, and writes what is waiting.
    pub(crate) async fn end(&mut self, findings: &mut RowFindings<'_>) -> Result<(), ImportError> {
        self.close(findings).await?;
        self.flush().await
    }

    /// Returns the inbox of this user, after the previous one was completed.
    async fn turn_to(
        &mut self,
        user: UserId,
        head: u64,
        findings: &mut RowFindings<'_>,
    ) -> Result<OpenInbox, ImportError> {
        if let Some(open) = self.open.filter(|it| it.user == user) {
            return Ok(open);
        }
        self.close(findings).await?;
        self.inboxes += 1;
        Ok(OpenInbox {
            user,
            last: 0,
            head,
            has_entries: false,
            at: UnixTimestamp::default(),
        })
    }

    /// Completes the open inbox up to its head: gim's next message got a later seq.
    async fn close(&mut self, findings: &mut RowFindings<'_>) -> Result<(), ImportError> {
        let Some(mut inbox) = self.open.take() else {
            return Ok(());
        };
        let head = inbox.head;
        self.advance(&mut inbox, head, findings).await
    }

    /// Advances an inbox to a seq without a message there: fills the seqs in between, or begins an
    /// inbox without entries later.
    async fn advance(
        &mut self,
        inbox: &mut OpenInbox,
        upto: u64,
        findings: &mut RowFindings<'_>,
    ) -> Result<(), ImportError> {
        let (user, missing) = (inbox.user, upto.saturating_sub(inbox.last));
        if missing == 0 {
            return Ok(());
        }
        if inbox.has_entries && missing > MAX_FILLED {
            let text = format!(
                "{missing} seqs after {} have no message: the messages up to there are left out",
                inbox.last
            );
            findings.note("messages", format_args!("user {}", user.get()), text)?;
            self.flush().await?;
            if let Some(store) = &self.store {
                store.trim(user, Seq::new(inbox.last)).await?;
            }
            inbox.has_entries = false;
        }
        if inbox.has_entries {
            for seq in inbox.last + 1..=upto {
                self.filled += 1;
                let message = filler(user, seq, inbox.at);
                self.append((user, seq), message).await?;
            }
        } else {
            self.begins.push((user, Seq::new(upto)));
        }
        inbox.last = upto;
        Ok(())
    }

    async fn append(
        &mut self,
        (user, seq): (UserId, u64),
        message: Message,
    ) -> Result<(), ImportError> {
        self.bytes += message.content.len();
        self.batch.push(AppendRequest {
            message: Arc::new(message),
            recipients: Arc::from([user]),
            key: None,
            roster: None,
            hooks: EventHooks::NONE,
        });
        self.expected.push((user, Seq::new(seq)));
        if self.batch.len() >= BATCH_ENTRIES || self.bytes >= BATCH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes what is waiting: first the beginnings, on which the entries build.
    async fn flush(&mut self) -> Result<(), ImportError> {
        let begins = std::mem::take(&mut self.begins);
        let batch = std::mem::take(&mut self.batch);
        let expected = std::mem::take(&mut self.expected);
        self.bytes = 0;
        let Some(store) = &self.store else {
            return Ok(());
        };
        if !begins.is_empty() {
            store.begin(&begins).await?;
        }
        if batch.is_empty() {
            return Ok(());
        }
        let outcomes = store.append(&batch).await?;
        for (outcome, (user, seq)) in outcomes.into_iter().zip(expected) {
            let found = match outcome {
                AppendOutcome::Stored { seqs, .. } => seqs.first().map(|(_, seq)| *seq),
                _ => None,
            };
            if found != Some(seq) {
                return Err(ImportError::InboxMoved {
                    user,
                    found: found.unwrap_or_default().get(),
                    expected: seq.get(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gimlet_core::memory;
    use gimlet_core::page::PageLimit;
    use gimlet_core::store::StoreSet;

    use super::*;

    fn user(n: u64) -> UserId {
        UserId::new(n).unwrap()
    }

    fn message(owner: UserId, seq: u64) -> Message {
        Message {
            kind: 1,
            ..filler(owner, seq, UnixTimestamp(seq.cast_signed()))
        }
    }

    /// Writes entries of one inbox with this head, and returns the writer and the findings.
    async fn written(
        stores: &StoreSet,
        entries: &[(u64, u64)],
        head: u64,
    ) -> (InboxWriter, u64, Option<String>) {
        let mut findings = RowFindings::new(None);
        let mut writer = InboxWriter::new(Some(Arc::clone(&stores.inbox)));
        for (owner, seq) in entries {
            let owner = user(*owner);
            let put = writer.put((owner, *seq), message(owner, *seq), head, &mut findings);
            put.await.unwrap();
        }
        writer.end(&mut findings).await.unwrap();
        let (rows, first) = findings.end().unwrap();
        (writer, rows, first)
    }

    /// Returns the seqs of the messages in an inbox, and of the fillers.
    async fn read(stores: &StoreSet, owner: u64) -> (Vec<u64>, Vec<u64>) {
        let limit = PageLimit::items(100_000);
        let page = stores.inbox.after(user(owner), Seq::ZERO, limit);
        let items = page.await.unwrap().items.into_iter();
        let (messages, fillers): (Vec<_>, Vec<_>) = items.partition(|it| it.message.kind == 1);
        let seqs = |it: Vec<gimlet_core::message::InboxEntry>| {
            it.into_iter().map(|it| it.seq.get()).collect()
        };
        (seqs(messages), seqs(fillers))
    }

    async fn head(stores: &StoreSet, owner: u64) -> (u64, u64) {
        let heads = stores.seq.heads(&[user(owner)]).await.unwrap();
        let head = heads.first().unwrap();
        (head.head.get(), head.floor.get())
    }

    #[tokio::test]
    async fn every_entry_keeps_its_seq() {
        let stores = memory::stores();
        let mut entries: Vec<(u64, u64)> = (1..=1_200).map(|seq| (1, seq)).collect();
        entries.extend([(2, 41), (2, 42), (3, 1)]);
        let (writer, broken, _) = written(&stores, &entries, 0).await;
        assert_eq!(read(&stores, 1).await.0, (1..=1_200).collect::<Vec<_>>());
        assert_eq!(read(&stores, 2).await, (vec![41, 42], vec![]));
        assert_eq!(head(&stores, 2).await, (42, 40));
        assert_eq!(read(&stores, 3).await.0, [1]);
        assert_eq!((writer.inboxes, writer.messages, broken), (3, 1_203, 0));
    }

    #[tokio::test]
    async fn skipped_seqs_are_filled_up_to_the_head() {
        let stores = memory::stores();
        let (writer, broken, _) = written(&stores, &[(1, 3), (1, 5), (1, 8)], 10).await;
        let want = (vec![3, 5, 8], vec![4, 6, 7, 9, 10]);
        assert_eq!(read(&stores, 1).await, want);
        assert_eq!(head(&stores, 1).await, (10, 2));
        assert_eq!((writer.filled, broken), (5, 0));
    }

    #[tokio::test]
    async fn a_hole_that_is_too_long_ends_the_older_history() {
        let stores = memory::stores();
        let next = 4 + MAX_FILLED;
        let (_, broken, first) = written(&stores, &[(1, 2), (1, next)], 0).await;
        assert_eq!(read(&stores, 1).await, (vec![next], vec![]));
        assert_eq!(head(&stores, 1).await, (next, next - 1));
        assert_eq!(broken, 1);
        assert!(first.unwrap().contains("10001 seqs after 2"));
        // At the end of an inbox as well: the head is kept.
        let (_, broken, _) = written(&stores, &[(2, 1)], 1_000_000).await;
        assert_eq!(head(&stores, 2).await, (1_000_000, 1_000_000));
        assert_eq!(broken, 1);
    }

    #[tokio::test]
    async fn entries_that_are_left_out_count_as_assigned() {
        let stores = memory::stores();
        let mut findings = RowFindings::new(None);
        let mut writer = InboxWriter::new(Some(Arc::clone(&stores.inbox)));
        let owner = user(1);
        for seq in [1, 4] {
            writer
                .leave_out((owner, seq), 0, &mut findings)
                .await
                .unwrap();
        }
        let put = writer.put((owner, 5), message(owner, 5), 0, &mut findings);
        put.await.unwrap();
        writer
            .leave_out((owner, 6), 0, &mut findings)
            .await
            .unwrap();
        writer
            .leave_out((user(2), 9), 12, &mut findings)
            .await
            .unwrap();
        writer.begin(user(3), 7).await.unwrap();
        writer.end(&mut findings).await.unwrap();
        assert_eq!(read(&stores, 1).await, (vec![5], vec![6]));
        assert_eq!(head(&stores, 1).await, (6, 4));
        assert_eq!(head(&stores, 2).await, (12, 12));
        assert_eq!(head(&stores, 3).await, (7, 7));
    }

    #[tokio::test]
    async fn a_storage_that_others_write_to_is_noticed() {
        let stores = memory::stores();
        let request = AppendRequest {
            message: Arc::new(message(user(1), 1)),
            recipients: Arc::from([user(1)]),
            key: None,
            roster: None,
            hooks: EventHooks::NONE,
        };
        stores.inbox.append(&[request]).await.unwrap();
        let mut findings = RowFindings::new(None);
        let mut writer = InboxWriter::new(Some(Arc::clone(&stores.inbox)));
        let put = writer.put((user(1), 1), message(user(1), 1), 0, &mut findings);
        put.await.unwrap();
        let failed = writer.end(&mut findings).await.unwrap_err();
        assert!(
            matches!(
                failed,
                ImportError::InboxMoved {
                    found: 2,
                    expected: 1,
                    ..
                }
            ),
            "{failed}"
        );
    }
}
