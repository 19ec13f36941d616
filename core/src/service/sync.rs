//! Inbox reads: pages with the current profiles of the senders.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use crate::envelope::Envelope;
use crate::error::RequestRefusal;
use crate::id::{DeviceId, UserId};
use crate::logic::InboxPage;
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::service::LogicService;
use crate::service::check::check_after;
use crate::store::{AckMark, Head};
use crate::trace;

impl LogicService {
    /// Returns a page of the user's inbox after `after`, of as many items as the caller requests and
    /// the node allows.
    pub async fn inbox_page(
        &self,
        user: UserId,
        after: Seq,
        items: Option<usize>,
    ) -> Result<InboxPage, RequestRefusal> {
        let limits = &self.inner.limits;
        let limit = PageLimit {
            items: items.map_or(limits.page_items, |items| items.min(limits.page_items)),
            bytes: limits.page_bytes,
        };
        self.read_page(user, after, limit).await
    }

    /// Refuses a client that continues after an entry that the inbox does not have: its cursor is from
    /// another history, and it would miss every entry up to there.
    ///
    /// # Errors
    /// [`RequestRefusal::BadRequest`] for a seq above the head.
    pub async fn check_resume(&self, user: UserId, after: Seq) -> Result<(), RequestRefusal> {
        let heads = self.inner.stores.seq.heads(&[user]).await?;
        let head = heads.first().map(|read| read.head).unwrap_or_default();
        check_after(after, head)
    }

    /// Waits until the user's inbox has an entry above `after`, at most until `until`. If too many
    /// callers wait, it does not wait.
    ///
    /// # Errors
    /// Those of [`check_after`]: such an entry would come behind others that the caller does not have.
    pub async fn wait_for_entry(
        &self,
        user: UserId,
        after: Seq,
        until: Instant,
    ) -> Result<(), RequestRefusal> {
        let Some(mut wait) = self.inner.watch.begin(user) else {
            return Ok(());
        };
        // Read after the wait has begun: an entry that is stored in between wakes it.
        let heads = self.inner.stores.seq.heads(&[user]).await?;
        let head = heads.first().map(|read| read.head).unwrap_or_default();
        check_after(after, head)?;
        if head == after {
            // Neither end is a failure: the caller reads the inbox.
            let _ = timeout_at(until, wait.above(after)).await;
        }
        Ok(())
    }

    /// Records an ack of a user's client, as [`ack_up_to_head`](Self::ack_up_to_head). The client names the
    /// device, which need not have signed in.
    ///
    /// # Errors
    /// [`RequestRefusal::RateLimited`] for a new device beyond the user's limit.
    pub async fn ack_of_client(
        &self,
        user: UserId,
        device: DeviceId,
        upto: Seq,
    ) -> Result<(), RequestRefusal> {
        self.inner.new_devices.admit(user, device).await?;
        self.ack_up_to_head(user, device, upto).await
    }

    /// Returns the head and floor of the user's inbox and the ack of each device, by ascending device
    /// id: the state without a message.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn inbox_state(
        &self,
        user: UserId,
    ) -> Result<(Head, Vec<(DeviceId, Seq)>), RequestRefusal> {
        let stores = &self.inner.stores;
        let acks = stores.device.acked(user).await?;
        // Read after the acks: none of them is above the head then.
        let heads = stores.seq.heads(&[user]).await?;
        Ok((heads.first().copied().unwrap_or_default(), acks))
    }

    /// Records an ack of a caller that does not prove that the entries were served: it counts up to
    /// the inbox's head (law 9).
    pub async fn ack_up_to_head(
        &self,
        user: UserId,
        device: DeviceId,
        upto: Seq,
    ) -> Result<(), RequestRefusal> {
        let stores = &self.inner.stores;
        let heads = stores.seq.heads(&[user]).await?;
        let head = heads.first().map(|head| head.head).unwrap_or_default();
        let upto = upto.min(head);
        let mark = AckMark { user, device, upto };
        Ok(stores.device.ack(&[mark]).await?)
    }

    pub(super) async fn read_page(
        &self,
        user: UserId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<InboxPage, RequestRefusal> {
        let stores = &self.inner.stores;
        let read = stores.inbox.after(user, after, limit);
        let page = trace::store_call(trace::user_span("inbox.after", user), read).await?;
        let mut senders: Vec<UserId> = page
            .items
            .iter()
            .filter_map(|entry| entry.message.sender.user())
            .collect();
        senders.sort_unstable();
        senders.dedup();
        let profiles = self.inner.directory.profiles(&senders).await;
        let nobody = self.inner.directory.nobody();
        let items = page.items.into_iter().map(|entry| {
            let profile = entry
                .message
                .sender
                .user()
                .and_then(|user| profiles.get(&user))
                .unwrap_or(&nobody);
            let envelope = Envelope::new(entry.message, Arc::clone(profile), 0);
            (entry.seq, Arc::new(envelope))
        });
        Ok(InboxPage {
            items: items.collect(),
            more: page.more,
            head: page.head,
        })
    }
}
