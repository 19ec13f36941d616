//! State that the senders and watchers of a load share: the judge, the log and the gate.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gimlet_judge::DeliveryJudge;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::log::{AnsweredSend, LoadLog};
use super::text::text_bytes;

/// State that senders and watchers share.
#[derive(Debug)]
pub(super) struct LoadState {
    pub(super) judge: Mutex<DeliveryJudge>,
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
            judge: Mutex::default(),
            log: Mutex::default(),
            news: watch::Sender::new(0),
            open: watch::Sender::new(true),
            flying: watch::Sender::new(0),
            stop: CancellationToken::new(),
        }
    }

    pub(super) fn judge(&self) -> MutexGuard<'_, DeliveryJudge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
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

    pub(super) fn begins(&self, sender: u64, text: &str, readers: &[i64]) -> Instant {
        let begun = Instant::now();
        // The judge must know the send before it leaves: its push may arrive before its answer.
        self.judge().begin_send(sender, &text_bytes(text), readers);
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
        self.judge()
            .confirm_send(&text_bytes(text), Some(&sent.message_id), readers);
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
