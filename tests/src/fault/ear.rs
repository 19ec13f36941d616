//! A bare connection that tells the judge what it is shown, and when it ended. Once it is fenced,
//! because its device has signed in elsewhere, nothing that is sent later may reach it.

use std::sync::{Arc, Mutex, PoisonError};

use gimlet_proto::pb;
use pb::PackageType as Kind;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::log::Showing;
use super::shared::Shared;
use crate::raw::Raw;
use crate::scenario::soon;

/// A connection that is listened on. Clones are the same.
#[derive(Clone, Debug)]
pub struct Ear {
    watch: usize,
    fence: Arc<Mutex<Option<Instant>>>,
    /// Whether it has ended, and with which close code.
    end: watch::Sender<Option<i32>>,
}

impl Ear {
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

    /// Whether both are the same connection.
    #[must_use]
    pub const fn is(&self, other: &Self) -> bool {
        self.watch == other.watch
    }

    /// From now on it is not its device's connection any more.
    pub fn is_fenced(&self) {
        let mut fence = self.fence.lock().unwrap_or_else(PoisonError::into_inner);
        fence.get_or_insert_with(Instant::now);
    }

    /// Whether the server has closed it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// Waits until the server closes it, and gives the code it said, 0 if none.
    pub async fn ends(&self) -> i32 {
        let mut end = self.end.subscribe();
        let ended = soon("the end of a connection", end.wait_for(Option::is_some)).await;
        let code = ended.ok().and_then(|code| *code);
        code.expect("it has one, and the sender is ours")
    }

    /// Waits until something of these has ended.
    pub async fn one_ends(ears: &[Self]) {
        let ends = ears.iter().map(|ear| Box::pin(ear.ends()));
        futures_util::future::select_all(ends).await;
    }

    pub(super) async fn listen(self, mut raw: Raw, shared: Arc<Shared>) {
        let mut code = 0;
        while let Ok(output) = raw.reader.whenever().await {
            let at = Instant::now();
            match output.r#type() {
                Kind::PtMessage => {
                    let push = pb::MessageSend::decode(output.data);
                    let message = push.ok().and_then(|push| push.message);
                    self.hears(&message.unwrap_or_default(), at, &shared);
                }
                Kind::PtClose => {
                    code = pb::CloseOutput::decode(output.data).map_or(-1, |close| close.code);
                }
                _ => {}
            }
        }
        shared.ledger().ended(self.watch);
        self.end.send_replace(Some(code));
        shared.tells();
    }

    pub(super) fn hears(&self, message: &pb::Message, at: Instant, shared: &Shared) {
        let content = &message.message_content;
        shared
            .ledger()
            .shown(self.watch, message.seq, Some(content));
        let text = pb::Text::decode(content.clone()).map(|text| text.text);
        let begun = text.ok().and_then(|text| shared.begun(&text));
        let Some(begun) = begun else { return };
        let watch = self.watch;
        shared.log().shown.push(Showing { watch, begun, at });
        let fence = *self.fence.lock().unwrap_or_else(PoisonError::into_inner);
        if fence.is_some_and(|fence| begun > fence) {
            let text = format!("{} reached a superseded connection", message.seq);
            shared.ledger().misdirected(&text);
        }
        shared.tells();
    }
}
