//! Sends with a hook that decides about them.

use std::time::Duration;

use super::*;
use crate::before_send::{
    BeforeSendHook, BeforeSendPolicy, BeforeSendRules, HookCallError, HookFailureMode,
    ReplacedContent, SendQuestion, SendVerdict,
};
use crate::id::RoomId;

/// Decides by the text: `bad …` is refused, `rude …` replaced, `slow …` takes half a second.
#[derive(Debug, Default)]
struct TextHook {
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl BeforeSendHook for TextHook {
    async fn ask(&self, question: SendQuestion<'_>) -> Result<SendVerdict, HookCallError> {
        let text = String::from_utf8_lossy(&question.content.0).into_owned();
        self.asked.lock().unwrap().push(text.clone());
        if text.starts_with("slow") {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(match text.split(' ').next() {
            Some("bad") => SendVerdict::Refuse("be kind".into()),
            Some("rude") => SendVerdict::Replace(ReplacedContent {
                kind: question.kind,
                content: MessageContent::copied_from(b"***"),
            }),
            _ => SendVerdict::Allow,
        })
    }
}

fn fixture_with(hook: &Arc<TextHook>) -> ServiceFixture {
    let rules = BeforeSendRules {
        deadline: Duration::from_secs(1),
        concurrency: 100,
        failure: HookFailureMode::Closed,
        max_content: 1_000,
    };
    let policy = BeforeSendPolicy::new(Arc::clone(hook) as _, rules);
    let policy = Some(Arc::new(policy));
    service_fixture_of(
        memory::stores(),
        Limits::default(),
        ServerPolicy::default(),
        EventSubscriptions::default(),
        policy,
    )
}

#[tokio::test(start_paused = true)]
async fn a_hook_allows_refuses_and_replaces() {
    let hook = Arc::<TextHook>::default();
    let world = fixture_with(&hook);
    let group = world.group([1, 2]).await;
    let sent = |draft| world.service.send(from(1), draft);
    assert!(sent(to_user(2, "hi")).await.is_ok());
    let refusal = sent(to_user(2, "bad word")).await.unwrap_err();
    assert_eq!((refusal.code(), refusal.to_string()), (7, "be kind".into()));
    assert!(sent(to_group(group, "rude word")).await.is_ok());
    let texts = world.texts(2).await;
    assert_eq!(texts.last().unwrap(), "***");
    assert!(texts.iter().any(|text| text == "hi"));
    assert!(!texts.iter().any(|text| text.contains("word")));
    let counts = world.service.before_send().unwrap().counts();
    assert_eq!((counts.allowed, counts.refused, counts.replaced), (1, 1, 1));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_sends_of_a_user_keep_their_order_and_do_not_wait_for_each_others_verdict() {
    let hook = Arc::<TextHook>::default();
    let world = fixture_with(&hook);
    let begun = tokio::time::Instant::now();
    let sends = (0..20).map(|number| {
        let speed = if number % 2 == 0 { "slow" } else { "fast" };
        world
            .service
            .send(from(1), to_user(2, &format!("{speed} {number}")))
    });
    let sent = futures_util::future::join_all(sends).await;
    let seqs: Vec<u64> = sent.into_iter().map(|it| it.unwrap().seq.get()).collect();
    assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_repeat_is_answered_like_the_first_even_if_the_hook_would_refuse_it_now() {
    /// Refuses everything after the first question.
    #[derive(Debug, Default)]
    struct FirstOnlyHook(Mutex<bool>);

    #[async_trait]
    impl BeforeSendHook for FirstOnlyHook {
        async fn ask(&self, _: SendQuestion<'_>) -> Result<SendVerdict, HookCallError> {
            let is_later = std::mem::replace(&mut *self.0.lock().unwrap(), true);
            Ok(if is_later {
                SendVerdict::Refuse("closed".into())
            } else {
                SendVerdict::Allow
            })
        }
    }

    let rules = BeforeSendRules {
        deadline: Duration::from_secs(1),
        concurrency: 1,
        failure: HookFailureMode::Open,
        max_content: 1_000,
    };
    let policy = BeforeSendPolicy::new(Arc::<FirstOnlyHook>::default(), rules);
    let world = service_fixture_of(
        memory::stores(),
        Limits::default(),
        ServerPolicy::default(),
        EventSubscriptions::default(),
        Some(Arc::new(policy)),
    );
    let draft = || MessageDraft {
        client_id: Some("a-1".into()),
        ..to_user(2, "hi")
    };
    let first = world.service.send(from(1), draft()).await.unwrap();
    let again = world.service.send(from(1), draft()).await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.message, first.message);
    let other = world.service.send(from(1), to_user(2, "other")).await;
    assert_eq!(other.unwrap_err().to_string(), "closed");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn rooms_are_asked_about_and_the_backend_is_not() {
    let hook = Arc::<TextHook>::default();
    let world = fixture_with(&hook);
    let draft = |text: &str| RoomDraft {
        room: RoomId::new(9).unwrap(),
        mentions: Vec::new(),
        kind: 1,
        content: MessageContent(text.to_owned().into()),
        persist: true,
    };
    let refusal = world.service.push_room(from(1), draft("bad")).await;
    assert_eq!(refusal, Err(RequestRefusal::Rejected("be kind".into())));
    assert!(
        world
            .service
            .push_room(from(1), draft("fine"))
            .await
            .is_ok()
    );
    assert_eq!(*hook.asked.lock().unwrap(), ["bad", "fine"]);
    let business = MessageSender::Business;
    assert!(
        world
            .service
            .push_room(business, draft("bad"))
            .await
            .is_ok()
    );
    let sent = world.service.send(business, to_user(2, "bad")).await;
    assert!(sent.is_ok());
    assert_eq!(hook.asked.lock().unwrap().len(), 2);
    world.stop().await;
}
