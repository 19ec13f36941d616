//! State that the senders and watchers of a load share: the ledger, the log and the gate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::log::{AnsweredSend, LoadLog};
use super::text::text_bytes;
use crate::ledger::RunLedger;

/// State that senders and watchers share.
#[derive(Debug)]
pub(super) struct LoadState {
    pub(super) ledger: Mutex<RunLedger>,
    pub(super) log: Mutex<LoadLog>,
    /// Event counter; each change wakes the waits for a condition.
    pub(super) news: watch::Sender<u64>,
    /// Gate of the senders: no send begins while it is `false`.
    pub(super) open: watch::Sender<bool>,
    /// Number of sends without an answer yet.
    pub(super) flying: watch::Sender<u64>,
    pub(super) stop: CancellationToken,
}

impl LoadState {
    pub(super) fn new() -> Self {
        Self {
            ledger: Mutex::default(),
            log: Mutex::default(),
            news: watch::Sender::new(0),
            open: watch::Sender::new(true),
            flying: watch::Sender::new(0),
            stop: CancellationToken::new(),
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, RunLedger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn log(&self) -> MutexGuard<'_, LoadLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the start of the send of this text.
    pub(super) fn begun(&self, text: &str) -> Option<Instant> {
        self.log().begun.get(text).copied()
    }

    pub(super) fn tells(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    pub(super) fn begins(&self, sender: u64, text: &str, readers: &Arc<[i64]>) -> Instant {
        let begun = Instant::now();
        // The ledger must know the send before it leaves: its push may arrive before its answer.
        self.ledger()
            .means(sender, &text_bytes(text), Arc::clone(readers));
        self.log().begun.insert(text.to_owned(), begun);
        self.flying.send_modify(|count| *count += 1);
        begun
    }

    pub(super) fn answers(
        &self,
        sender: u64,
        begun: Instant,
        text: &str,
        readers: &[i64],
        sent: &SendAnswer,
    ) {
        let at = Instant::now();
        self.ledger()
            .answered(&sent.message_id, &text_bytes(text), readers);
        let mut log = self.log();
        log.repeated += u64::from(sent.repeated);
        log.answers.push(AnsweredSend { sender, begun, at });
        drop(log);
        self.flying.send_modify(|count| *count -= 1);
        self.tells();
    }
}

/// Contents of an answer.
pub(super) struct SendAnswer {
    pub(super) message_id: Vec<u8>,
    pub(super) repeated: bool,
}
