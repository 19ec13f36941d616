//! The event stream: order, resumption, takeover, rooms, and readers that do not read.

use std::time::Duration;

use super::*;

const PATH: &str = "/v1/inbox/events";

#[tokio::test(start_paused = true)]
async fn a_stream_shows_the_inbox_and_then_what_arrives() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    api.send_text(&alice, &bob, "before").await;
    let mut events = api.events(PATH, &bob, None).await;
    let start = events.named("start").await;
    assert_eq!(
        (&start.data["head"], &start.data["user_id"]),
        (&json!("1"), &json!(bob.id))
    );
    assert_eq!(start.id.as_deref(), Some("0"));
    assert_eq!(events.entry().await, ("1".into(), "before".into()));
    api.send_text(&alice, &bob, "live").await;
    assert_eq!(events.entry().await, ("2".into(), "live".into()));
}

#[tokio::test(start_paused = true)]
async fn open_streams_are_counted_and_refused_ones_are_not() {
    let (parts, node, clock) = parts();
    let (streams, keys) = (parts.streams.clone(), parts.keys.clone().unwrap());
    let api = TestApi::of(parts, node, clock, keys);
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let first = api.events(PATH, &alice, None).await;
    let second = api.events(PATH, &bob, None).await;
    assert_eq!(streams.open(), 2);
    let wrong = format!("{}.{}.wrong", alice.id, alice.device);
    let refused = api.call(Method::GET, PATH, &wrong, None).await;
    assert_eq!((refused.status.as_u16(), streams.open()), (401, 2));
    drop(first);
    assert_eq!(streams.open(), 1);
    drop(second);
    assert_eq!(streams.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_continues_after_its_last_event() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let mut last = None;
    let mut seen = Vec::new();
    // Each stream is given up after some entries, at places that differ in each round.
    for round in 0..20_usize {
        for n in 0..7 {
            api.send_text(&alice, &bob, &format!("{round}.{n}")).await;
        }
        let mut events = api.events(PATH, &bob, last.as_deref()).await;
        for _ in 0..=round % 7 {
            let (id, text) = events.entry().await;
            seen.push(text);
            last = Some(id);
        }
    }
    let mut events = api.events(PATH, &bob, last.as_deref()).await;
    while seen.len() < 140 {
        seen.push(events.entry().await.1);
    }
    let want = (0..20).flat_map(|round| (0..7).map(move |n| format!("{round}.{n}")));
    assert_eq!(seen, want.collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_device_sees_its_own_sends() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let mut events = api.events(PATH, &alice, None).await;
    api.send_text(&alice, &bob, "mine").await;
    api.send_text(&bob, &alice, "yours").await;
    assert_eq!(events.entry().await, ("1".into(), "mine".into()));
    assert_eq!(events.entry().await, ("2".into(), "yours".into()));
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_start_at_the_head() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    api.send_text(&alice, &bob, "old").await;
    let mut events = api.events("/v1/inbox/events?after=head", &bob, None).await;
    assert_eq!(events.named("start").await.id.as_deref(), Some("1"));
    api.send_text(&alice, &bob, "new").await;
    assert_eq!(events.entry().await, ("2".into(), "new".into()));
}

#[tokio::test(start_paused = true)]
async fn a_newer_stream_of_the_device_ends_the_older_one() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let mut older = api.events(PATH, &bob, None).await;
    older.named("start").await;
    let mut newer = api.events(PATH, &bob, None).await;
    api.send_text(&alice, &bob, "hi").await;
    let close = older.named("close").await;
    assert_eq!(
        (&close.data["code"], &close.data["reconnect"]),
        (&json!(4300), &json!(false))
    );
    assert!(older.next().await.is_none());
    assert_eq!(newer.entry().await, ("1".into(), "hi".into()));
}

#[tokio::test(start_paused = true)]
async fn a_stop_asks_the_client_to_come_back() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let mut events = api.events(PATH, &alice, None).await;
    events.named("start").await;
    api.stop.cancel();
    api.node.gateway().close_all(Duration::from_secs(5));
    let close = events.named("close").await;
    assert_eq!(
        (&close.data["code"], &close.data["reconnect"]),
        (&json!(4000), &json!(true))
    );
    assert!(close.data["retry_after_ms"].as_i64().unwrap() <= 5_000);
    assert!(events.next().await.is_none());
    let late = api.call(Method::GET, PATH, &alice.token, None);
    late.await.refused(503, "unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_leaves_the_hub() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let hub = api.node.gateway().hub();
    let events = api.events(PATH, &alice, None).await;
    assert_eq!(hub.connections(), 1);
    drop(events);
    assert_eq!(hub.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_costs_a_bounded_amount_and_loses_nothing() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let mut events = api.events(PATH, &bob, None).await;
    events.named("start").await;
    let long = "x".repeat(50_000);
    for _ in 0..40 {
        api.send_text(&alice, &bob, &long).await;
    }
    let user = UserId::new(bob.id.parse().unwrap()).unwrap();
    let queued: usize = api
        .node
        .gateway()
        .hub()
        .of(user)
        .iter()
        .map(|it| it.queued_bytes())
        .sum();
    assert!(queued <= 256 * 1024, "{queued}");
    for seq in 1..=40 {
        assert_eq!(events.entry().await, (seq.to_string(), long.clone()));
    }
    api.send_text(&alice, &bob, "live again").await;
    assert_eq!(events.entry().await, ("41".into(), "live again".into()));
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_kept_alive() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let mut events = api.events(PATH, &alice, None).await;
    events.named("start").await;
    let begun = tokio::time::Instant::now();
    for n in 1..=3 {
        let chunk = events.body.next().await.unwrap().unwrap();
        assert_eq!(&chunk[..], b": ping\n\n");
        assert_eq!(begun.elapsed().as_secs(), n * 15);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_follows_a_room_and_continues_there() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let publish = async |text: &str| {
        let content = json!({"type": "text", "text": text});
        let body = json!({"content": content, "keep": true});
        api.post("/v1/rooms/5/messages", &alice.token, body).await
    };
    publish("kept").await;
    let path = "/v1/inbox/events?room=5&room_from=1";
    let mut events = api.events(path, &bob, None).await;
    let room = events.named("room").await;
    assert_eq!((room.text(), room.id.as_deref()), ("kept", Some("0/1")));
    publish("live").await;
    let room = events.named("room").await;
    assert_eq!((room.text(), room.id.as_deref()), ("live", Some("0/2")));
    api.send_text(&alice, &bob, "direct").await;
    let event = events.next().await.unwrap();
    assert_eq!((event.text(), event.id.as_deref()), ("direct", Some("1/2")));
    drop(events);
    publish("missed").await;
    let mut events = api.events(path, &bob, Some("1/2")).await;
    let room = events.named("room").await;
    assert_eq!((room.text(), room.id.as_deref()), ("missed", Some("1/3")));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_position_is_refused() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    for (path, words) in [
        ("/v1/inbox/events?after=5", "above the inbox's last entry 0"),
        ("/v1/inbox/events?after=x", "it must be a seq, or head"),
        ("/v1/inbox/events?after=-1", "it must be a seq, or head"),
        ("/v1/inbox/events?room=0", "room is \"0\""),
        (
            "/v1/inbox/events?room_from=1",
            "room_from is set without room",
        ),
        ("/v1/inbox/events?from=1", "from is not a field"),
    ] {
        let refused = api.call(Method::GET, path, &alice.token, None);
        refused.await.refused(400, words);
    }
    for (id, words) in [
        ("x", "is not a seq"),
        ("7", "above the inbox's last entry 0"),
    ] {
        let last = [("Last-Event-ID", id)];
        let refused = api
            .respond(Method::GET, PATH, &alice.token, &last, None)
            .await;
        TestAnswer::of(refused).await.refused(400, words);
    }
}

#[tokio::test(start_paused = true)]
async fn a_browser_may_put_the_token_into_the_query() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let path = format!("{PATH}?access_token={}", alice.token);
    let response = api.respond(Method::GET, &path, "", &[], None).await;
    assert_eq!(response.status(), StatusCode::OK);
    let other = format!("/v1/me?access_token={}", alice.token);
    let refused = api.call(Method::GET, &other, "", None);
    refused.await.refused(401, "Authorization is missing");
}
