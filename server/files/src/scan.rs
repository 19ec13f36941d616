//! The question to the operator's scanner, which decides about a file before it is visible.
//!
//! The seam is [`FileScanner`]; the rules around the call are those of [`ScanPolicy`]: a deadline, a bound on
//! concurrent calls, and what happens without a verdict.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gimlet_core::before_send::HookFailureMode;
use gimlet_core::id::UserId;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::counts::FileCounters;
use crate::file_kind::FileKind;
use crate::refusal::FileRefusal;

/// Longest reason of a rejection, in characters; the rest is cut off.
const MAX_REASON_CHARS: usize = 500;

/// A file that a scanner is asked about.
#[derive(Clone, Copy, Debug)]
pub struct ScanQuestion<'a> {
    /// Path of the received file.
    pub path: &'a Path,
    /// Its kind, by its content.
    pub kind: FileKind,
    /// The name that the client gave it; may be empty.
    pub name: &'a str,
    /// The user that uploads it; `None` without a sign-in.
    pub user: Option<UserId>,
}

/// The answer of a scanner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanVerdict {
    /// The file may be stored.
    Clean,
    /// The file is refused; the client gets the reason.
    Reject(String),
}

/// A call of a scanner that brought no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScanError(pub String);

/// The program that decides about files.
#[async_trait]
pub trait FileScanner: Debug + Send + Sync + 'static {
    /// Asks about one file. The caller gives up after its deadline by dropping the call.
    ///
    /// # Errors
    /// The program was not reached, or its answer is not a verdict.
    async fn scan(&self, question: ScanQuestion<'_>) -> Result<ScanVerdict, ScanError>;
}

/// The rules of the calls of a scanner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanRules {
    /// Time within which a verdict counts, with the wait for a place.
    pub deadline: Duration,
    /// Maximum number of calls at a time.
    pub concurrency: usize,
    /// The decision without a verdict.
    pub failure: HookFailureMode,
}

/// The policy around a scanner.
#[derive(Debug)]
pub struct ScanPolicy {
    scanner: Arc<dyn FileScanner>,
    rules: ScanRules,
    calls: Semaphore,
}

impl ScanPolicy {
    /// Makes the policy of a scanner.
    #[must_use]
    pub fn new(scanner: Arc<dyn FileScanner>, rules: ScanRules) -> Self {
        Self {
            scanner,
            calls: Semaphore::new(rules.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            rules,
        }
    }

    /// Decides about a file.
    ///
    /// # Errors
    /// [`FileRefusal::Rejected`] with the reason of the scanner, or [`FileRefusal::Unscanned`] without a
    /// verdict and with [`HookFailureMode::Closed`].
    pub(crate) async fn check(
        &self,
        question: ScanQuestion<'_>,
        counters: &FileCounters,
    ) -> Result<(), FileRefusal> {
        let call = async {
            // The semaphore is never closed.
            let _place = self.calls.acquire().await;
            self.scanner.scan(question).await
        };
        let failure = match timeout(self.rules.deadline, call).await {
            Ok(Ok(ScanVerdict::Clean)) => {
                FileCounters::add(&counters.clean, 1);
                return Ok(());
            }
            Ok(Ok(ScanVerdict::Reject(reason))) => {
                FileCounters::add(&counters.rejected, 1);
                return Err(FileRefusal::Rejected(shown_reason(&reason)));
            }
            Ok(Err(ScanError(text))) => text,
            Err(_) => format!("no verdict within {} ms", self.rules.deadline.as_millis()),
        };
        FileCounters::add(&counters.unscanned, 1);
        gimlet_core::warn_rated!(failure, "the scanner brought no verdict about a file");
        match self.rules.failure {
            HookFailureMode::Open => Ok(()),
            HookFailureMode::Closed => Err(FileRefusal::Unscanned),
        }
    }
}

/// Returns a reason as clients get it: one line of bounded length.
fn shown_reason(reason: &str) -> String {
    let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let visible = line.chars().filter(|letter| !letter.is_control());
    let shown: String = visible.take(MAX_REASON_CHARS).collect();
    if shown.is_empty() {
        "the file was rejected by this server's scanner".into()
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::file_kind::of_extension;

    /// Answers after nothing, or never.
    #[derive(Debug)]
    struct FakeScanner(Option<Result<ScanVerdict, ScanError>>);

    #[async_trait]
    impl FileScanner for FakeScanner {
        async fn scan(&self, _: ScanQuestion<'_>) -> Result<ScanVerdict, ScanError> {
            match &self.0 {
                Some(answer) => answer.clone(),
                None => pending().await,
            }
        }
    }

    async fn check(
        answer: Option<Result<ScanVerdict, ScanError>>,
        failure: HookFailureMode,
    ) -> (Result<(), String>, u64) {
        let rules = ScanRules {
            deadline: Duration::from_secs(3),
            concurrency: 1,
            failure,
        };
        let policy = ScanPolicy::new(Arc::new(FakeScanner(answer)), rules);
        let counters = FileCounters::default();
        let question = ScanQuestion {
            path: Path::new("nothing"),
            kind: of_extension("png").unwrap(),
            name: "a.png",
            user: None,
        };
        let checked = policy.check(question, &counters).await;
        let unscanned = counters.read().unscanned;
        (checked.map_err(|error| error.to_string()), unscanned)
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_decides() {
        let clean = check(Some(Ok(ScanVerdict::Clean)), HookFailureMode::Closed).await;
        assert_eq!(clean, (Ok(()), 0));
        let reason = "EICAR\r\n found".to_owned();
        let rejected = Some(Ok(ScanVerdict::Reject(reason)));
        let rejected = check(rejected, HookFailureMode::Open).await;
        assert_eq!(rejected, (Err("EICAR found".into()), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_verdict_the_mode_decides() {
        let failed = || Some(Err(ScanError("away".into())));
        for answer in [failed(), None] {
            let open = check(answer.clone(), HookFailureMode::Open).await;
            assert_eq!(open, (Ok(()), 1));
            let (closed, count) = check(answer, HookFailureMode::Closed).await;
            assert!(closed.unwrap_err().contains("could not be checked"));
            assert_eq!(count, 1);
        }
    }
}
