//! Event streams of one device: a newer one ends an older one, and only if it is opened.

use std::time::Duration;

use futures_util::future::join_all;

use super::*;

const PATH: &str = "/v1/inbox/events";

/// Sends from Alice, and checks that the stream shows it next.
async fn is_live(api: &TestApi, alice: &TestUser, bob: &TestUser, events: &mut EventReader) {
    api.send_text(alice, bob, "live").await;
    assert_eq!(events.entry().await.1, "live");
}

#[tokio::test(start_paused = true)]
async fn streams_of_one_device_at_once_are_answered_and_all_but_one_end() {
    for many in [2, 5, 20] {
        let api = TestApi::start();
        let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
        // A valid token is never answered 401: `events` expects 200.
        let opened = join_all((0..many).map(|_| api.events(PATH, &bob, None))).await;
        api.send_text(&alice, &bob, "once").await;
        let read = opened.into_iter().map(|mut events| async move {
            loop {
                let event = events.next().await.expect("an entry or a close");
                match event.name.as_deref() {
                    Some("close") => {
                        assert_eq!(event.data["code"], 4300);
                        assert_eq!(event.data["reconnect"], false);
                        assert!(events.next().await.is_none());
                        break 0;
                    }
                    Some(_) => {}
                    None => break 1,
                }
            }
        });
        let served: usize = join_all(read).await.into_iter().sum();
        assert_eq!(served, 1, "of {many}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_refused_leaves_the_live_one_alone() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let mut events = api.events(PATH, &bob, None).await;
    events.named("start").await;
    for (path, headers) in [
        ("/v1/inbox/events?after=99999", None),
        ("/v1/inbox/events?after=-1", None),
        ("/v1/inbox/events?room_from=1", None),
        ("/v1/inbox/events?room=x", None),
        (PATH, Some(("Last-Event-ID", "99999"))),
        (PATH, Some(("Last-Event-ID", "x"))),
    ] {
        let headers: Vec<_> = headers.into_iter().collect();
        let refused = api.respond(Method::GET, path, &bob.token, &headers, None);
        let refused = TestAnswer::of(refused.await).await;
        assert_eq!(refused.status.as_u16(), 400, "{path}: {refused:?}");
        assert!(refused.json["field"].is_string(), "{path}: {refused:?}");
        is_live(&api, &alice, &bob, &mut events).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_beyond_the_rate_leaves_the_live_one_alone() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let mut last = api.events(PATH, &bob, None).await;
    let refused = loop {
        let opens = api.respond(Method::GET, PATH, &bob.token, &[], None).await;
        if opens.status() != StatusCode::OK {
            break TestAnswer::of(opens).await;
        }
        last = EventReader {
            body: opens.into_body().into_data_stream(),
            text: String::new(),
        };
    };
    refused.refused(429, "too many requests");
    is_live(&api, &alice, &bob, &mut last).await;
}

#[tokio::test(start_paused = true)]
async fn a_head_request_opens_no_stream() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let mut events = api.events(PATH, &bob, None).await;
    events.named("start").await;
    let head = api.respond(Method::HEAD, PATH, &bob.token, &[], None).await;
    assert_eq!(head.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(head.headers()[header::ALLOW], "GET");
    is_live(&api, &alice, &bob, &mut events).await;
    assert_eq!(api.node.gateway().hub().connections(), 1);
}

/// Otherwise a client with a cursor of another history waits behind entries that it does not have.
#[tokio::test(start_paused = true)]
async fn a_page_after_the_head_is_refused_at_once() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    api.send_text(&alice, &bob, "one").await;
    let begun = tokio::time::Instant::now();
    for path in ["/v1/inbox?after=2", "/v1/inbox?after=2&wait=30"] {
        let refused = api.call(Method::GET, path, &bob.token, None).await;
        assert_eq!(refused.json["field"], "after", "{refused:?}");
        refused.refused(400, "after is 2, above the inbox's last entry 1");
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    let page = api.get("/v1/inbox?after=1", &bob.token).await;
    assert_eq!(page["entries"], json!([]));
}
