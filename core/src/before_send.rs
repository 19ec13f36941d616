//! `message.before_send`: a hook of the operator is asked before a user's message is accepted, and
//! allows it, refuses it, or replaces its content.
//!
//! The seam is [`BeforeSendHook`]; the rules around the call are those of [`BeforeSendPolicy`]: a
//! deadline, a bound on concurrent calls, and a pause after repeated failures, so that a hook that
//! hangs does not delay every send. Without a hook a send is not affected at all.

mod pause;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::error::RequestRefusal;
use crate::id::UserId;
use crate::message::{MessageContent, MessageReceiver, MessageSender};
use pause::{CallAdmission, FailurePause};

/// Longest reason of a refusal, in characters; the rest is cut off.
const MAX_REASON_CHARS: usize = 500;

/// A message that a user wants to send.
#[derive(Clone, Copy, Debug)]
pub struct SendQuestion<'a> {
    /// The sender.
    pub sender: MessageSender,
    /// The addressee.
    pub receiver: MessageReceiver,
    /// Mentioned users.
    pub mentions: &'a [UserId],
    /// gim's `MessageType`.
    pub kind: i32,
    /// The content.
    pub content: &'a MessageContent,
}

/// The answer of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendVerdict {
    /// The message is sent unchanged.
    Allow,
    /// The message is not sent; the sender gets the reason.
    Refuse(String),
    /// The message is sent with this content.
    Replace(ReplacedContent),
}

/// Content that replaces that of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacedContent {
    /// gim's `MessageType`.
    pub kind: i32,
    /// The content.
    pub content: MessageContent,
}

/// A call of a hook that brought no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HookCallError(pub String);

/// The program that decides about messages.
#[async_trait]
pub trait BeforeSendHook: Debug + Send + Sync + 'static {
    /// Asks about one message. The caller gives up after its deadline by dropping the call.
    ///
    /// # Errors
    /// The program was not reached, or its answer is not a verdict.
    async fn ask(&self, question: SendQuestion<'_>) -> Result<SendVerdict, HookCallError>;
}

/// The decision about a message for which the hook gives no verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookFailureMode {
    /// The message is sent.
    #[default]
    Open,
    /// The message is refused with 14, and the client may repeat it.
    Closed,
}

/// The rules of the calls of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeforeSendRules {
    /// Time within which a verdict counts.
    pub deadline: Duration,
    /// Maximum number of calls at a time; others wait for a place, within their deadline.
    pub concurrency: usize,
    /// The decision without a verdict.
    pub failure: HookFailureMode,
    /// Maximum bytes of content that replaces another.
    pub max_content: usize,
}

/// Counts of decisions since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BeforeSendCounts {
    /// Messages that were allowed unchanged.
    pub allowed: u64,
    /// Messages that were refused.
    pub refused: u64,
    /// Messages whose content was replaced.
    pub replaced: u64,
    /// Calls without a verdict.
    pub failed: u64,
    /// Messages decided without a call, because the hook had failed repeatedly.
    pub skipped: u64,
}

/// The policy around a hook.
#[derive(Debug)]
pub struct BeforeSendPolicy {
    hook: Arc<dyn BeforeSendHook>,
    rules: BeforeSendRules,
    calls: Semaphore,
    pause: Mutex<FailurePause>,
    allowed: AtomicU64,
    refused: AtomicU64,
    replaced: AtomicU64,
    failed: AtomicU64,
    skipped: AtomicU64,
}

impl BeforeSendPolicy {
    /// Makes the policy of a hook.
    #[must_use]
    pub fn new(hook: Arc<dyn BeforeSendHook>, rules: BeforeSendRules) -> Self {
        Self {
            hook,
            calls: Semaphore::new(rules.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            rules,
            pause: Mutex::default(),
            allowed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        }
    }

    /// Decides about a message: `None` sends it unchanged.
    ///
    /// # Errors
    /// [`RequestRefusal::Rejected`] with the reason of the hook, or
    /// [`RequestRefusal::Unavailable`] without a verdict and with [`HookFailureMode::Closed`].
    pub async fn decide(
        &self,
        question: SendQuestion<'_>,
    ) -> Result<Option<ReplacedContent>, RequestRefusal> {
        let admitted = self.pause().admit(Instant::now());
        let Some(admission) = admitted else {
            count(&self.skipped);
            return self.without_verdict();
        };
        let mut call = AdmittedCall {
            pause: &self.pause,
            admission,
            is_reported: false,
        };
        let asked = timeout(self.rules.deadline, self.call(question)).await;
        let failure = match asked {
            Ok(Ok(verdict)) => {
                call.succeeded();
                return self.count_verdict(verdict);
            }
            Ok(Err(HookCallError(text))) => text,
            Err(_) => format!("no verdict within {} ms", self.rules.deadline.as_millis()),
        };
        count(&self.failed);
        crate::warn_rated!(failure, "message.before_send brought no verdict");
        if let Some(pause) = call.failed() {
            let pause_ms = pause.as_millis();
            crate::warn_rated!(
                pause_ms,
                "message.before_send failed repeatedly, not called for a while"
            );
        }
        self.without_verdict()
    }

    /// Returns the counts of decisions.
    #[must_use]
    pub fn counts(&self) -> BeforeSendCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BeforeSendCounts {
            allowed: read(&self.allowed),
            refused: read(&self.refused),
            replaced: read(&self.replaced),
            failed: read(&self.failed),
            skipped: read(&self.skipped),
        }
    }

    async fn call(&self, question: SendQuestion<'_>) -> Result<SendVerdict, HookCallError> {
        // The semaphore is never closed.
        let _place = self.calls.acquire().await;
        let verdict = self.hook.ask(question).await?;
        if let SendVerdict::Replace(ReplacedContent { content, .. }) = &verdict
            && content.len() > self.rules.max_content
        {
            let (len, max) = (content.len(), self.rules.max_content);
            return Err(HookCallError(format!(
                "the new content is {len} bytes; at most {max} are allowed"
            )));
        }
        Ok(verdict)
    }

    fn count_verdict(
        &self,
        verdict: SendVerdict,
    ) -> Result<Option<ReplacedContent>, RequestRefusal> {
        match verdict {
            SendVerdict::Allow => {
                count(&self.allowed);
                Ok(None)
            }
            SendVerdict::Replace(content) => {
                count(&self.replaced);
                Ok(Some(content))
            }
            SendVerdict::Refuse(reason) => {
                count(&self.refused);
                Err(RequestRefusal::Rejected(shown_reason(&reason)))
            }
        }
    }

    const fn without_verdict(&self) -> Result<Option<ReplacedContent>, RequestRefusal> {
        match self.rules.failure {
            HookFailureMode::Open => Ok(None),
            HookFailureMode::Closed => Err(RequestRefusal::Unavailable),
        }
    }

    fn pause(&self) -> MutexGuard<'_, FailurePause> {
        lock(&self.pause)
    }
}

/// A call that the pause admitted. A call that is dropped before its result is known, because its
/// send ran out of time, gives its place as the only trial call back.
struct AdmittedCall<'a> {
    pause: &'a Mutex<FailurePause>,
    admission: CallAdmission,
    is_reported: bool,
}

impl AdmittedCall<'_> {
    fn succeeded(&mut self) {
        self.is_reported = true;
        lock(self.pause).succeeded();
    }

    /// Returns the pause that the failure begins, if it does.
    fn failed(&mut self) -> Option<Duration> {
        self.is_reported = true;
        lock(self.pause).failed(Instant::now(), self.admission)
    }
}

impl Drop for AdmittedCall<'_> {
    fn drop(&mut self) {
        if !self.is_reported {
            lock(self.pause).abandoned(self.admission);
        }
    }
}

fn lock(pause: &Mutex<FailurePause>) -> MutexGuard<'_, FailurePause> {
    // Every change of the state is one assignment, so a panic leaves nothing half done.
    pause.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Returns a reason as clients get it: one line of bounded length.
fn shown_reason(reason: &str) -> String {
    let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let visible = line.chars().filter(|letter| !letter.is_control());
    let shown: String = visible.take(MAX_REASON_CHARS).collect();
    if shown.is_empty() {
        "the message was refused by a rule of the server".into()
    } else {
        shown
    }
}
