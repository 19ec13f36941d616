//! The services behind the gateway's [`LogicRole`] seam.

use async_trait::async_trait;
use tokio::time::timeout;

use crate::error::RequestRefusal;
use crate::id::{DeviceId, Epoch, Generation, UserId};
use crate::logic::{InboxPage, LogicRole, SignInGrant};
use crate::message::{MessageDraft, MessageSender};
use crate::page::PageLimit;
use crate::send_future::SendFuture;
use crate::seq::Seq;
use crate::service::{AUTH_TIMEOUT, LogicService};
use crate::store::{AckMark, Head};

#[async_trait]
impl LogicRole for LogicService {
    async fn sign_in(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
        resume_after: Seq,
    ) -> Result<SignInGrant, RequestRefusal> {
        let asked = self.inner.business.auth_for(user, device, token);
        let token_left = timeout(AUTH_TIMEOUT, asked)
            .await
            .unwrap_or(Err(RequestRefusal::Unavailable))?;
        // Before the generation: a refused sign-in ends no connection. After the token: a stranger
        // learns nothing about the inbox.
        if resume_after > Seq::ZERO {
            self.check_resume(user, resume_after).await?;
        }
        let is_counted = self.inner.new_devices.admit_sign_in(user, device).await?;
        // Given up here, or failed, it stays counted: the row may have been made.
        let generation = self.inner.sign_ins.raise(device, user).await?;
        if is_counted && generation > Generation(1) {
            self.inner.new_devices.refund(user);
        }
        if let Some(presence) = &self.inner.presence {
            presence.note_sign_in(user);
        }
        Ok(SignInGrant {
            generation,
            token_left,
        })
    }

    async fn epoch(&self) -> Result<Epoch, RequestRefusal> {
        Ok(self.inner.stores.seq.epoch().await?)
    }

    async fn went_back(
        &self,
        user: UserId,
        seen: Seq,
        known: Epoch,
    ) -> Result<Epoch, RequestRefusal> {
        let seq = &self.inner.stores.seq;
        // Read again: the connect node may have compared two readings that overtook each other.
        let heads = seq.heads(&[user]).await?;
        let head = heads.first().copied().unwrap_or_default().head;
        if head >= seen {
            return Ok(seq.epoch().await?);
        }
        crate::error_rated!(%user, seen = seen.get(), head = head.get(), "an inbox became shorter");
        Ok(seq.new_epoch(known).await?)
    }

    async fn heads(&self, users: &[UserId]) -> Result<Vec<Head>, RequestRefusal> {
        Ok(self.inner.stores.seq.heads(users).await?)
    }

    async fn page(
        &self,
        user: UserId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<InboxPage, RequestRefusal> {
        self.read_page(user, after, limit).await
    }

    async fn acked(&self, user: UserId) -> Result<Vec<(DeviceId, Seq)>, RequestRefusal> {
        Ok(self.inner.stores.device.acked(user).await?)
    }

    async fn ack(&self, acks: &[AckMark]) -> Result<(), RequestRefusal> {
        Ok(self.inner.stores.device.ack(acks).await?)
    }

    fn send(&self, sender: MessageSender, draft: MessageDraft) -> SendFuture {
        Self::send(self, sender, draft)
    }
}
