//! Inbox reads: pages with the current profiles of the senders.

use std::sync::Arc;

use crate::envelope::Envelope;
use crate::error::RequestRefusal;
use crate::id::UserId;
use crate::logic::InboxPage;
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::service::LogicService;
use crate::trace;

impl LogicService {
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
