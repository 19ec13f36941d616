//! A raw connection that records for the judge what it receives, and when it ended. Once it is
//! fenced, because its device has signed in elsewhere, no later message may reach it.

use std::sync::{Arc, Mutex, PoisonError};

use gimlet_judge::FindingKind;
use gimlet_kit::wire::RawClient;
use gimlet_proto::pb;
use pb::PackageType as Kind;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::load_state::LoadState;
use super::log::ShownMessage;
use crate::waiting::soon;

/// A watched raw connection. Clones share one connection.
#[derive(Clone, Debug)]
pub struct WatchedConnection {
    watch: usize,
    fence: Arc<Mutex<Option<Instant>>>,
    /// Close code, once the connection has ended.
    end: watch::Sender<Option<i32>>,
}

impl WatchedConnection {
    pub(super) fn new(watch: usize) -> Self {
        Self {
            watch,
            fence: Arc::default(),
            end: watch::Sender::new(None),
        }
    }

    pub(super) const fn watch(&self) -> usize {
        self.watch
    }

    /// Returns whether both are the same connection.
    #[must_use]
    pub const fn is(&self, other: &Self) -> bool {
        self.watch == other.watch
    }

    /// Marks the connection as superseded: another connection of the device has replaced it.
    pub fn is_fenced(&self) {
        let mut fence = self.fence.lock().unwrap_or_else(PoisonError::into_inner);
        fence.get_or_insert_with(Instant::now);
    }

    /// Returns whether the server has closed the connection.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// Waits until the server closes the connection and returns its close code, 0 if it sent none.
    pub async fn ends(&self) -> i32 {
        let mut end = self.end.subscribe();
        let ended = soon("the end of a connection", end.wait_for(Option::is_some)).await;
        let code = ended.ok().and_then(|code| *code);
        code.expect("wait_for has seen a code, and this value owns the sender")
    }

    /// Waits until one of these connections has ended.
    pub async fn one_ends(ears: &[Self]) {
        let ends = ears.iter().map(|ear| Box::pin(ear.ends()));
        futures_util::future::select_all(ends).await;
    }

    pub(super) async fn listen(self, mut raw: RawClient, shared: Arc<LoadState>) {
        let mut code = 0;
        while let Ok(output) = raw.reader.whenever().await {
            let at = Instant::now();
            match output.r#type() {
                Kind::PtMessage => {
                    let push = pb::MessageSend::decode(output.data);
                    let message = push.ok().and_then(|push| push.message);
                    self.record(&message.unwrap_or_default(), at, &shared);
                }
                Kind::PtClose => {
                    code = pb::CloseOutput::decode(output.data).map_or(-1, |close| close.code);
                }
                _ => {}
            }
        }
        shared.judge().ended(self.watch);
        self.end.send_replace(Some(code));
        shared.tells();
    }

    pub(super) fn record(&self, message: &pb::Message, at: Instant, shared: &LoadState) {
        let content = &message.message_content;
        shared.judge().shown(self.watch, message.seq, Some(content));
        let text = pb::Text::decode(content.clone()).map(|text| text.text);
        let begun = text.ok().and_then(|text| shared.begun(&text));
        let Some(begun) = begun else { return };
        let watch = self.watch;
        shared.log().shown.push(ShownMessage { watch, begun, at });
        // Only a message whose send began after the fence is misdirected: earlier ones may have
        // been in flight.
        let fence = *self.fence.lock().unwrap_or_else(PoisonError::into_inner);
        if fence.is_some_and(|fence| begun > fence) {
            shared.judge().note(FindingKind::Misdirected, || {
                format!("{} reached a superseded connection", message.seq)
            });
        }
        shared.tells();
    }
}
