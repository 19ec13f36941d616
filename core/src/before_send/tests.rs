//! The policy around a hook, in virtual time.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::testkit::helpers::user;

/// A hook that answers after a delay.
#[derive(Debug)]
struct ScriptedHook {
    verdict: Mutex<Result<SendVerdict, HookCallError>>,
    delay: Mutex<Duration>,
    calls: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl ScriptedHook {
    fn saying(verdict: SendVerdict) -> Arc<Self> {
        Arc::new(Self {
            verdict: Mutex::new(Ok(verdict)),
            delay: Mutex::default(),
            calls: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }

    fn delay(&self, delay: Duration) {
        *self.delay.lock().unwrap() = delay;
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl BeforeSendHook for ScriptedHook {
    async fn ask(&self, _: SendQuestion<'_>) -> Result<SendVerdict, HookCallError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.verdict.lock().unwrap().clone()
    }
}

const RULES: BeforeSendRules = BeforeSendRules {
    deadline: Duration::from_secs(1),
    concurrency: 4,
    failure: HookFailureMode::Open,
    max_content: 10,
};

fn policy(hook: &Arc<ScriptedHook>, rules: BeforeSendRules) -> BeforeSendPolicy {
    BeforeSendPolicy::new(Arc::clone(hook) as _, rules)
}

async fn decide(policy: &BeforeSendPolicy) -> Result<Option<ReplacedContent>, RequestRefusal> {
    let content = MessageContent::copied_from(b"hi");
    let question = SendQuestion {
        sender: MessageSender::User {
            user: user(1),
            device: None,
        },
        receiver: MessageReceiver::User(user(2)),
        mentions: &[],
        kind: 1,
        content: &content,
    };
    policy.decide(question).await
}

fn replaced(text: &str) -> ReplacedContent {
    ReplacedContent {
        kind: 2,
        content: MessageContent::copied_from(text.as_bytes()),
    }
}

#[tokio::test(start_paused = true)]
async fn each_verdict_has_its_effect() {
    let hook = ScriptedHook::saying(SendVerdict::Allow);
    let policy = policy(&hook, RULES);
    assert_eq!(decide(&policy).await, Ok(None));
    *hook.verdict.lock().unwrap() = Ok(SendVerdict::Replace(replaced("***")));
    assert_eq!(decide(&policy).await, Ok(Some(replaced("***"))));
    *hook.verdict.lock().unwrap() = Ok(SendVerdict::Refuse("no\nlinks\u{7}, please".into()));
    let refusal = decide(&policy).await.unwrap_err();
    assert_eq!(refusal.code(), 7);
    assert_eq!(refusal.to_string(), "no links, please");
    *hook.verdict.lock().unwrap() = Ok(SendVerdict::Refuse("x".repeat(9_999)));
    let refusal = decide(&policy).await.unwrap_err();
    assert_eq!(refusal.to_string().len(), MAX_REASON_CHARS);
    let counts = policy.counts();
    assert_eq!((counts.allowed, counts.replaced, counts.refused), (1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_delays_a_few_sends_and_then_none() {
    for (failure, expected) in [
        (HookFailureMode::Open, Ok(None)),
        (HookFailureMode::Closed, Err(RequestRefusal::Unavailable)),
    ] {
        let hook = ScriptedHook::saying(SendVerdict::Allow);
        hook.delay(Duration::from_hours(1));
        let policy = policy(&hook, BeforeSendRules { failure, ..RULES });
        for _ in 0..5 {
            let begun = Instant::now();
            assert_eq!(decide(&policy).await, expected);
            assert_eq!(begun.elapsed(), RULES.deadline);
        }
        let begun = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(decide(&policy).await, expected);
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(hook.calls(), 5);
        assert_eq!(policy.counts().skipped, 1_000);
        // It works again: the trial call after the pause finds out.
        hook.delay(Duration::ZERO);
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(decide(&policy).await, Ok(None));
        assert_eq!(decide(&policy).await, Ok(None));
        assert_eq!(policy.counts().allowed, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_that_gives_up_leaves_the_trial_call_to_the_next() {
    let hook = ScriptedHook::saying(SendVerdict::Allow);
    hook.delay(Duration::from_hours(1));
    let policy = policy(&hook, RULES);
    for _ in 0..5 {
        assert_eq!(decide(&policy).await, Ok(None));
    }
    tokio::time::advance(Duration::from_secs(31)).await;
    let given_up = timeout(Duration::from_millis(1), decide(&policy)).await;
    assert!(given_up.is_err());
    hook.delay(Duration::ZERO);
    assert_eq!(decide(&policy).await, Ok(None));
    assert_eq!(policy.counts().allowed, 1);
}

#[tokio::test(start_paused = true)]
async fn calls_at_a_time_are_bounded() {
    let hook = ScriptedHook::saying(SendVerdict::Allow);
    hook.delay(Duration::from_millis(10));
    let policy = policy(&hook, RULES);
    let decided = futures_util::future::join_all((0..40).map(|_| decide(&policy))).await;
    assert!(decided.iter().all(|it| *it == Ok(None)));
    assert_eq!(hook.most.load(Ordering::SeqCst), 4);
    assert_eq!(policy.counts().allowed, 40);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_verdict_is_a_failure() {
    let hook = ScriptedHook::saying(SendVerdict::Replace(replaced("longer than ten")));
    let closed = BeforeSendRules {
        failure: HookFailureMode::Closed,
        ..RULES
    };
    let policy = policy(&hook, closed);
    assert_eq!(decide(&policy).await, Err(RequestRefusal::Unavailable));
    *hook.verdict.lock().unwrap() = Err(HookCallError("status 500".into()));
    assert_eq!(decide(&policy).await, Err(RequestRefusal::Unavailable));
    assert_eq!(policy.counts().failed, 2);
}
