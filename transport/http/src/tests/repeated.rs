//! Headers, parameters and fields of refusals: each is named, and none counts twice.

use super::*;

/// A server could only guess at one of two values: a retry under the second key would be stored again.
#[tokio::test(start_paused = true)]
async fn a_header_that_is_given_twice_is_refused() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let content = json!({"type": "text", "text": "hi"});
    let body = json!({"to_user": bob.id, "content": content});
    let bearer = format!("Bearer {}", bob.token);
    for (bearer_of, headers, field) in [
        (
            &*alice.token,
            vec![("Idempotency-Key", "a"), ("Idempotency-Key", "b")],
            "Idempotency-Key",
        ),
        (
            KEY,
            vec![("Gimlet-User", &*alice.id), ("Gimlet-User", &*bob.id)],
            "Gimlet-User",
        ),
        (
            &*alice.token,
            vec![("Authorization", &*bearer)],
            "Authorization",
        ),
    ] {
        let refused = api.respond(
            Method::POST,
            "/v1/messages",
            bearer_of,
            &headers,
            Some(&body),
        );
        let refused = TestAnswer::of(refused.await).await;
        assert_eq!(refused.json["field"], field, "{refused:?}");
        refused.refused(400, "is given twice; send it once");
    }
    let headers = [("Last-Event-ID", "0"), ("Last-Event-ID", "1")];
    let path = "/v1/inbox/events";
    let refused = api.respond(Method::GET, path, &bob.token, &headers, None);
    let refused = TestAnswer::of(refused.await).await;
    assert_eq!(refused.json["field"], "Last-Event-ID", "{refused:?}");
    // A list, which several lines may make up.
    let headers = [("If-None-Match", "\"a\""), ("If-None-Match", "\"b\"")];
    let listed = api.respond(Method::GET, "/v1/me", &bob.token, &headers, None);
    assert_eq!(listed.await.status(), StatusCode::OK);
    assert_eq!(api.get("/v1/inbox", &bob.token).await["head"], "0");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_given_twice_is_refused() {
    let api = TestApi::start();
    let bob = api.sign_in("200").await;
    let path = format!(
        "/v1/inbox/events?access_token={0}&access_token={0}",
        bob.token
    );
    let refused = api.call(Method::GET, &path, "", None).await;
    assert_eq!(refused.json["field"], "access_token", "{refused:?}");
    refused.refused(400, "access_token is given twice");
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_not_text_is_refused_by_name_and_after_the_credentials() {
    let api = TestApi::start();
    let refused = api.call(Method::GET, "/v1/users/%ff", KEY, None).await;
    assert_eq!(refused.json["field"], "user_id", "{refused:?}");
    refused.refused(400, "user_id is not UTF-8");
    let stranger = api.call(Method::GET, "/v1/users/%ff", "", None).await;
    stranger.refused(401, "Authorization");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_service_names_the_field_of_this_api() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let long = "x".repeat(2_000);
    let content = |text: &str| json!({"type": "text", "text": text});
    let huge = content(&"x".repeat(61 * 1024));
    let many: Vec<_> = (1..300).map(|id| id.to_string()).collect();
    let send = "/v1/messages";
    for (method, path, body, field) in [
        (
            Method::PATCH,
            "/v1/me",
            json!({"nickname": long}),
            "nickname",
        ),
        (
            Method::PATCH,
            "/v1/me",
            json!({"nickname": "a\u{0}"}),
            "nickname",
        ),
        (Method::PATCH, "/v1/me", json!({"extra": long}), "extra"),
        (
            Method::PATCH,
            "/v1/me",
            json!({"avatar_url": long}),
            "avatar_url",
        ),
        (Method::PATCH, "/v1/me", json!({"sex": 5}), "sex"),
        (
            Method::POST,
            "/v1/groups",
            json!({"name": "a\u{202e}b"}),
            "name",
        ),
        (
            Method::POST,
            "/v1/friends",
            json!({"user_id": alice.id}),
            "user_id",
        ),
        (
            Method::POST,
            "/v1/friends",
            json!({"user_id": bob.id, "remarks": long}),
            "remarks",
        ),
        (
            Method::POST,
            send,
            json!({"to_user": bob.id, "content": huge}),
            "content",
        ),
        (
            Method::POST,
            send,
            json!({"to_user": bob.id, "content": content("hi"), "mentions": many}),
            "mentions",
        ),
    ] {
        let refused = api.call(method, path, &alice.token, Some(&body)).await;
        assert_eq!(refused.json["field"], field, "{path}: {refused:?}");
        let detail = refused.json["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(field), "{detail}");
        refused.refused(400, field);
    }
    let search = api
        .call(Method::GET, "/v1/users?key=", &alice.token, None)
        .await;
    assert_eq!(search.json["field"], "key", "{search:?}");
    let body = json!({"to_user": bob.id, "content": content("hi")});
    let key = "k".repeat(65);
    let headers = [("Idempotency-Key", key.as_str())];
    let refused = api.respond(Method::POST, send, &alice.token, &headers, Some(&body));
    let refused = TestAnswer::of(refused.await).await;
    assert_eq!(refused.json["field"], "Idempotency-Key", "{refused:?}");
    let headers = [("Gimlet-User", "x")];
    let refused = api.respond(Method::POST, send, KEY, &headers, Some(&body));
    let refused = TestAnswer::of(refused.await).await;
    assert_eq!(refused.json["field"], "Gimlet-User", "{refused:?}");
}
