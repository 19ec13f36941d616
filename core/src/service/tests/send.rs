//! Sending to users and groups.

use super::*;

#[tokio::test]
async fn both_users_get_a_copy_and_the_sender_its_own_seq() {
    let world = service_fixture();
    world
        .service
        .send(from(2), to_user(3, "before"))
        .await
        .unwrap();
    let sent = world.service.send(from(1), to_user(2, "hi")).await.unwrap();
    assert_eq!((sent.seq, sent.repeated), (Seq::new(1), false));
    assert_eq!(world.texts(1).await, ["hi"]);
    assert_eq!(world.texts(2).await, ["before", "hi"]);
    let own = world
        .service
        .send(from(9), to_user(9, "note"))
        .await
        .unwrap();
    assert_eq!(own.seq, Seq::new(1));
    assert_eq!(world.texts(9).await, ["note"]);
    let sink = Arc::clone(&world.sink);
    world.stop().await;
    assert_eq!(sink.entries(), [(2, 1), (3, 1), (1, 1), (2, 2), (9, 1)]);
}

#[tokio::test]
async fn a_page_shows_present_profiles_and_a_head_that_is_not_behind() {
    let world = service_fixture();
    world.service.send(from(1), to_user(2, "hi")).await.unwrap();
    let limit = PageLimit::items(10);
    let page = world.service.page(user(2), Seq::ZERO, limit).await.unwrap();
    assert_eq!(page.head.head, Seq::new(1));
    assert_eq!(page.items[0].1.profile.nickname, "name1");
    world.service.directory().forget(user(1)).await;
    *world.backend.down.lock().unwrap() = true;
    let page = world.service.page(user(2), Seq::ZERO, limit).await.unwrap();
    assert_eq!(page.items[0].1.profile.nickname, "");
}

#[tokio::test]
async fn an_unknown_receiver_is_refused_unless_the_backend_is_down() {
    let world = service_fixture();
    let refusal = world.service.send(from(1), to_user(9_999, "hi")).await;
    assert_eq!(refusal, Err(RequestRefusal::NoSuchUser(user(9_999))));
    *world.backend.down.lock().unwrap() = true;
    let refusal = world.service.send(from(1), to_user(2, "hi")).await;
    assert_eq!(refusal, Err(RequestRefusal::Unavailable));
    // The sender's own profile is optional.
    let own = world.service.send(from(1), to_user(1, "note")).await;
    assert!(own.is_ok());
    *world.backend.down.lock().unwrap() = false;
    assert!(world.service.send(from(1), to_user(2, "hi")).await.is_ok());
}

#[tokio::test]
async fn a_repeat_is_answered_like_the_first_and_another_content_is_a_conflict() {
    let world = service_fixture();
    let draft = |text: &str| MessageDraft {
        client_id: Some("a-1".into()),
        ..to_user(2, text)
    };
    let first = world.service.send(from(1), draft("hi")).await.unwrap();
    world
        .service
        .send(from(1), to_user(2, "other"))
        .await
        .unwrap();
    let again = world.service.send(from(1), draft("hi")).await.unwrap();
    assert!(again.repeated);
    assert_eq!((again.seq, again.message), (first.seq, first.message));
    let other = world.service.send(from(1), draft("ho")).await;
    assert_eq!(other, Err(RequestRefusal::Conflict));
    assert_eq!(world.texts(2).await, ["hi", "other"]);
    // gim's clients send no id, only the time.
    let legacy = world.service.send(from(1), to_user(2, "other")).await;
    assert!(legacy.unwrap().repeated);
    let later = MessageDraft {
        sent_at: UnixTimestamp(1_700_000_000_002),
        ..to_user(2, "other")
    };
    assert!(!world.service.send(from(1), later).await.unwrap().repeated);
}

#[tokio::test]
async fn a_send_without_a_time_gets_the_servers() {
    let world = service_fixture();
    let timeless = || MessageDraft {
        sent_at: UnixTimestamp(0),
        ..to_user(2, "hi")
    };
    world.service.send(from(1), timeless()).await.unwrap();
    let again = world.service.send(from(1), timeless()).await.unwrap();
    assert!(
        !again.repeated,
        "a send without an id and a time is not a repeat"
    );
    let page = world.service.page(user(2), Seq::ZERO, PageLimit::items(9));
    let items = page.await.unwrap().items;
    let times: Vec<_> = items.iter().map(|(_, it)| it.message.sent_at).collect();
    assert_eq!(times, [UnixTimestamp(5_000); 2]);
}

#[tokio::test]
async fn concurrent_repeats_store_once() {
    let world = service_fixture();
    let draft = MessageDraft {
        client_id: Some("once".into()),
        ..to_user(2, "hi")
    };
    let sends = (0..50).map(|_| world.service.send(from(1), draft.clone()));
    let answers = futures_util::future::join_all(sends).await;
    let messages: HashSet<_> = answers
        .iter()
        .map(|a| a.as_ref().unwrap().message)
        .collect();
    assert_eq!(messages.len(), 1);
    let fresh = answers.iter().filter(|a| !a.as_ref().unwrap().repeated);
    assert_eq!(fresh.count(), 1);
    assert_eq!(world.texts(2).await, ["hi"]);
}

#[tokio::test]
async fn what_is_not_persistent_is_pushed_and_forgotten() {
    let world = service_fixture();
    let group = world.group([1, 2, 3]).await;
    for receiver in [
        MessageReceiver::User(user(2)),
        MessageReceiver::Group(group),
    ] {
        let draft = MessageDraft {
            persist: false,
            ..says(receiver, "typing")
        };
        let sent = world.service.send(from(1), draft.clone()).await.unwrap();
        assert_eq!(sent.seq, Seq::ZERO);
        let stranger = world.service.send(from(8), draft).await;
        let refused = matches!(receiver, MessageReceiver::Group(_));
        assert_eq!(stranger.is_err(), refused);
    }
    assert!(world.inbox(1).await.is_empty());
    assert!(world.inbox(2).await.is_empty());
    let deliveries = world.sink.batches.lock().unwrap();
    let live = deliveries.iter().filter_map(|delivery| match delivery {
        DeliveryBatch::Live { to, .. } => {
            Some(to.iter().map(|user| user.get()).collect::<Vec<_>>())
        }
        _ => None,
    });
    assert_eq!(
        live.collect::<Vec<_>>(),
        [vec![1, 2], vec![8, 2], vec![1, 2, 3]]
    );
}

#[tokio::test]
async fn a_group_send_reaches_all_members_and_only_members_send() {
    let world = service_fixture();
    let group = world.group([1, 2, 3]).await;
    let request = MessageDraft {
        request_id: Some(77),
        ..to_group(group, "hi")
    };
    let sent = world.service.send(from(2), request).await.unwrap();
    assert_eq!(sent.seq, Seq::new(1));
    for member in 1..=3 {
        assert_eq!(world.texts(member).await, ["hi"]);
    }
    let stranger = world.service.send(from(4), to_group(group, "hi")).await;
    assert_eq!(stranger, Err(RequestRefusal::NotInGroup(group)));
    let nowhere = GroupId::new(99).unwrap();
    let missing = world.service.send(from(1), to_group(nowhere, "hi")).await;
    assert_eq!(missing, Err(RequestRefusal::NoSuchGroup(nowhere)));
    let deliveries = world.sink.batches.lock().unwrap();
    assert_eq!(deliveries.len(), 1);
    assert!(
        matches!(&deliveries[0], DeliveryBatch::Entries { envelope, .. } if envelope.request_id == 77)
    );
}

#[tokio::test]
async fn a_backend_sends_one_copy_and_is_answered_with_the_receivers_seq() {
    let world = service_fixture();
    world
        .service
        .send(from(2), to_user(2, "note"))
        .await
        .unwrap();
    let send = |draft| world.service.send(MessageSender::Business, draft);
    assert_eq!(send(to_user(2, "news")).await.unwrap().seq, Seq::new(2));
    assert!(send(to_user(9_999, "news")).await.is_err());
    let group = world.group([1, 2]).await;
    assert_eq!(send(to_group(group, "all")).await.unwrap().seq, Seq::ZERO);
    assert_eq!(world.texts(1).await, ["all"]);
    assert_eq!(world.texts(2).await, ["note", "news", "all"]);
}

#[tokio::test]
async fn between_friends_only_if_the_operator_says_so() {
    let policy = ServerPolicy {
        direct: DirectSend::Friends,
        ..ServerPolicy::default()
    };
    let world = service_fixture_with(memory::stores(), Limits::default(), policy);
    let refusal = world.service.send(from(1), to_user(2, "hi")).await;
    assert_eq!(refusal.unwrap_err().code(), 10001);
    let (one, two) = (user(1), user(2));
    let ask = world
        .service
        .add_friend(one, two, String::new(), String::new());
    ask.await.unwrap();
    let agree = world.service.agree_friend(two, one, String::new());
    agree.await.unwrap();
    assert!(world.service.send(from(1), to_user(2, "hi")).await.is_ok());
    assert!(world.service.send(from(2), to_user(1, "hi")).await.is_ok());
    assert!(
        world
            .service
            .send(from(1), to_user(1, "note"))
            .await
            .is_ok()
    );
    let backend = world
        .service
        .send(MessageSender::Business, to_user(3, "hi"))
        .await;
    assert!(backend.is_ok());
}

#[tokio::test]
async fn a_rate_limited_user_gets_a_retry_time() {
    let limits = Limits {
        send_rate: 1,
        send_burst: 2,
        ..Limits::default()
    };
    let world = service_fixture_with(memory::stores(), limits, ServerPolicy::default());
    for _ in 0..2 {
        assert!(world.service.send(from(1), to_user(1, "a")).await.is_ok());
    }
    let refusal = world.service.send(from(1), to_user(1, "a")).await;
    assert!(matches!(
        refusal,
        Err(RequestRefusal::RateLimited { retry_after }) if !retry_after.is_zero()
    ));
    assert!(world.service.send(from(2), to_user(2, "a")).await.is_ok());
    for _ in 0..5 {
        let backend = world
            .service
            .send(MessageSender::Business, to_user(1, "a"))
            .await;
        assert!(backend.is_ok());
    }
}

#[tokio::test]
async fn a_send_to_a_large_group_costs_more() {
    let limits = Limits {
        send_rate: 1,
        send_burst: 10,
        send_cost_members: 2,
        ..Limits::default()
    };
    let world = service_fixture_with(memory::stores(), limits, ServerPolicy::default());
    // Six members: each send counts as four.
    let group = world.group(1..=6).await;
    let mut accepted = 0;
    let refusal = loop {
        // A repeat of the same text would get the first answer.
        let text = format!("message {accepted}");
        match world.service.send(from(1), to_group(group, &text)).await {
            Ok(_) => accepted += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(accepted, 2, "the creation counted as one");
    assert!(matches!(
        refusal,
        RequestRefusal::RateLimited { retry_after } if !retry_after.is_zero()
    ));
    assert!(world.service.send(from(1), to_user(1, "a")).await.is_ok());
    let backend = world
        .service
        .send(MessageSender::Business, to_group(group, "a"));
    assert!(backend.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_send_to_a_group_beyond_the_burst_costs_a_full_bucket() {
    let limits = Limits {
        send_rate: 100,
        send_burst: 3,
        send_cost_members: 1,
        ..Limits::default()
    };
    let world = service_fixture_with(memory::stores(), limits, ServerPolicy::default());
    let group = world.group(1..=6).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(
        world
            .service
            .send(from(1), to_group(group, "a"))
            .await
            .is_ok()
    );
    assert!(world.service.send(from(1), to_user(1, "a")).await.is_err());
}

#[tokio::test]
async fn after_the_end_nothing_is_taken() {
    let world = service_fixture();
    world.token.cancel();
    world.tracker.close();
    world.tracker.wait().await;
    let refusal = world.service.send(from(1), to_user(2, "hi")).await;
    assert_eq!(refusal, Err(RequestRefusal::Unavailable));
    assert!(world.inbox(2).await.is_empty());
}

#[tokio::test]
async fn sends_keep_their_order_when_the_task_has_used_up_its_budget() {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use tokio::task::coop::{consume_budget, has_budget_remaining};

    let world = service_fixture();
    while has_budget_remaining() {
        let _ = pin!(consume_budget()).poll(&mut Context::from_waker(Waker::noop()));
    }
    // No user is cached, so both have to wait for the order lock.
    let first = world.service.send(from(1), to_user(2, "first"));
    let second = world.service.send(from(1), to_user(2, "second"));
    let (second, first) = futures_util::future::join(second, first).await;
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(world.texts(2).await, ["first", "second"]);
    world.stop().await;
}
