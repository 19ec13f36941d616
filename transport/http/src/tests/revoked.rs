//! Requests that wait while their right ends: nothing that is accepted later reaches them.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;

/// Ends the right of a user's token.
#[derive(Clone, Copy, Debug)]
enum RightsEnd {
    SignOut,
    Revocation,
    Ban,
}

impl RightsEnd {
    async fn happen(self, api: &TestApi, user: &TestUser) {
        let (method, path, bearer) = match self {
            Self::SignOut => (Method::POST, "/v1/sign-out".to_owned(), &*user.token),
            Self::Revocation => {
                let path = format!("/v1/users/{}/tokens/{}", user.id, user.device);
                (Method::DELETE, path, KEY)
            }
            Self::Ban => (Method::PUT, format!("/v1/users/{}/ban", user.id), KEY),
        };
        let body = match self {
            Self::Ban => json!({"reason": "spam"}),
            Self::SignOut | Self::Revocation => json!({}),
        };
        api.call(method, &path, bearer, Some(&body)).await.ok();
    }
}

const ENDS: [RightsEnd; 3] = [RightsEnd::SignOut, RightsEnd::Revocation, RightsEnd::Ban];

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_shows_nothing_accepted_after_its_token_ended() {
    for end in ENDS {
        let api = TestApi::start();
        let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
        let waits = api.call(Method::GET, "/v1/inbox?wait=30", &bob.token, None);
        let mut waits = pin!(waits);
        let waited = timeout(Duration::from_secs(1), &mut waits).await;
        assert!(waited.is_err(), "it waits: {waited:?}");
        end.happen(&api, &bob).await;
        api.send_text(&alice, &bob, "too late").await;
        let answer = waits.await;
        let status = answer.status.as_u16();
        assert!(status == 401 || status == 403, "{end:?}: {answer:?}");
        assert_eq!(answer.json.get("entries"), None, "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_slowly_is_not_accepted_after_its_token_ended() {
    for end in ENDS {
        let api = TestApi::start();
        let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
        let text = json!({"type": "text", "text": "hi"});
        let message = json!({"to_user": alice.id, "content": text}).to_string();
        let (rest, rest_comes) = oneshot::channel();
        let begin = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b" "))]);
        let body = begin.chain(stream::once(async {
            Ok::<Bytes, std::io::Error>(rest_comes.await.unwrap())
        }));
        let request = Request::builder()
            .method(Method::POST)
            .uri("/v1/messages")
            .header(header::AUTHORIZATION, format!("Bearer {}", bob.token))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from_stream(body))
            .unwrap();
        let mut sends = pin!(api.raw(request));
        let sent = timeout(Duration::from_secs(2), &mut sends).await;
        assert!(sent.is_err(), "it waits for the body");
        end.happen(&api, &bob).await;
        rest.send(Bytes::from(message)).unwrap();
        let status = sends.await.status().as_u16();
        assert!(status == 401 || status == 403, "{end:?}: {status}");
        let inbox = api.get("/v1/inbox", &alice.token).await;
        assert_eq!(inbox["head"], "0", "{end:?}");
    }
}

/// Sends a file whose last bytes come after the token has ended, and returns the status of the answer.
async fn late_upload(api: &TestApi, end: RightsEnd, user: &TestUser, is_form: bool) -> u16 {
    let (before, after) = if is_form {
        let head =
            "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.pdf\"\r\n\r\n%PDF";
        (head, "-1.7\r\n--B--\r\n")
    } else {
        ("%PDF", "-1.7")
    };
    let media_type = if is_form {
        "multipart/form-data; boundary=B"
    } else {
        "application/pdf"
    };
    let (asks, asked) = oneshot::channel();
    let (rest, rest_comes) = oneshot::channel();
    let begin = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(
        before.as_bytes(),
    ))]);
    // Read for the first time after the first check of the token.
    let body = begin.chain(stream::once(async move {
        asks.send(()).unwrap();
        Ok::<Bytes, std::io::Error>(rest_comes.await.unwrap())
    }));
    let request = Request::post("/v1/files")
        .header(header::AUTHORIZATION, format!("Bearer {}", user.token))
        .header(header::CONTENT_TYPE, media_type)
        .body(Body::from_stream(body))
        .unwrap();
    let ends = async {
        asked.await.unwrap();
        end.happen(api, user).await;
        rest.send(Bytes::from_static(after.as_bytes())).unwrap();
    };
    let (response, ()) = tokio::join!(api.raw(request), ends);
    response.status().as_u16()
}

#[tokio::test]
async fn a_file_that_comes_slowly_is_not_stored_after_its_token_ended() {
    for end in ENDS {
        for is_form in [false, true] {
            let (parts, node, clock) = parts();
            let (files, keys) = (parts.files.clone().unwrap(), parts.keys.clone().unwrap());
            let api = TestApi::of(parts, node, clock, keys);
            let user = api.sign_in("100").await;
            let status = late_upload(&api, end, &user, is_form).await;
            assert!(status == 401 || status == 403, "{end:?}: {status}");
            let counts = files.store.counts();
            assert_eq!((counts.stored, counts.refused), (0, 1), "{end:?}");
        }
    }
}

/// A node that stores files and asks another one about tokens.
#[tokio::test]
async fn a_node_that_cannot_check_tokens_asks_again_before_it_stores() {
    for end in ENDS {
        let (api, files) = TestApi::storing_for_others();
        let user = api.sign_in("100").await;
        let status = late_upload(&api, end, &user, false).await;
        assert!(status == 401 || status == 403, "{end:?}: {status}");
        let counts = files.store.counts();
        assert_eq!((counts.stored, counts.refused), (0, 1), "{end:?}");
    }
}
