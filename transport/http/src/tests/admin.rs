//! Operations for those who operate a service.

use std::time::Duration;

use super::*;

#[tokio::test(start_paused = true)]
async fn users_are_imported_once() {
    let api = TestApi::start();
    let known = api.sign_in("100").await;
    let users = json!({"users": [
        {"phone_number": "100", "nickname": "known"},
        {"phone_number": "200", "nickname": "new", "sex": 2, "avatar_url": "https://example.org/2"},
        {"phone_number": "300"},
    ]});
    let first = api.post("/v1/users/import", KEY, users.clone()).await["users"].clone();
    assert_eq!(first[0], json!({"user_id": known.id, "is_new": false}));
    assert_eq!(
        (&first[1]["is_new"], &first[2]["is_new"]),
        (&json!(true), &json!(true))
    );
    let second = api.post("/v1/users/import", KEY, users).await["users"].clone();
    for n in 0..3 {
        assert_eq!(second[n]["user_id"], first[n]["user_id"]);
        assert_eq!(second[n]["is_new"], false);
    }
    assert_eq!(api.get("/v1/me", &known.token).await["nickname"], "known");
    let new = first[1]["user_id"].as_str().unwrap();
    let new = api.get(&format!("/v1/users/{new}"), KEY).await;
    assert_eq!((&new["nickname"], &new["sex"]), (&json!("new"), &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_user_is_named_and_nobody_is_imported() {
    let api = TestApi::start();
    let import = async |users: Value| {
        let body = json!({ "users": users });
        api.call(Method::POST, "/v1/users/import", KEY, Some(&body))
            .await
    };
    for (wrong, words) in [
        (
            json!({"phone_number": "12"}),
            "users[1]: phone_number must be 3 to 20",
        ),
        (
            json!({"phone_number": "200", "sex": 9}),
            "users[1].sex is 9; it must be 0 (unknown)",
        ),
        (json!({"phone": "200"}), "users[1].phone is not a field"),
        (
            json!("200"),
            "users[1] is \"200\"; it must be a JSON object",
        ),
    ] {
        let refused = import(json!([{"phone_number": "100"}, wrong])).await;
        assert_eq!(
            refused.json["field"].as_str().unwrap().get(..8),
            Some("users[1]")
        );
        refused.refused(400, words);
    }
    let many = vec![json!({"phone_number": "100"}); 501];
    import(json!(many))
        .await
        .refused(400, "users has 501 users; it must have at most 500");
    let created = api
        .post("/v1/users", KEY, json!({"phone_number": "100"}))
        .await;
    assert_eq!(created["is_new"], true, "nothing was stored before");
}

#[tokio::test(start_paused = true)]
async fn a_banned_user_is_out_until_the_ban_is_lifted() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let ban = format!("/v1/users/{}/ban", bob.id);
    let is_banned = async || api.get(&ban, KEY).await["is_banned"].clone();
    assert_eq!(is_banned().await, false);
    let mut events = api.events("/v1/inbox/events", &bob, None).await;
    events.named("start").await;
    let reason = json!({"reason": "spam"});
    let banned = api.call(Method::PUT, &ban, KEY, Some(&reason)).await;
    assert_eq!(banned.status, StatusCode::NO_CONTENT);
    let close = events.named("close").await;
    assert_eq!(close.data["reason"], "this user is banned");
    assert_eq!(close.data["reconnect"], false);
    let shown = api.get(&ban, KEY).await;
    assert_eq!(
        (&shown["reason"], &shown["is_banned"]),
        (&json!("spam"), &json!(true))
    );
    let sign_in = json!({"phone_number": "200", "code": "000000"});
    let tokens = format!("/v1/users/{}/tokens", bob.id);
    let none = json!({});
    for (method, path, bearer, body) in [
        (Method::GET, "/v1/me", bob.token.as_str(), None),
        (Method::GET, "/v1/inbox/events", bob.token.as_str(), None),
        (Method::POST, "/v1/sign-in", "", Some(&sign_in)),
        (Method::POST, tokens.as_str(), KEY, Some(&none)),
    ] {
        let refused = api.call(method, path, bearer, body).await;
        assert_eq!(refused.json["code"], 10_017, "{path}");
        refused.refused(403, "this user is banned");
    }
    // Others can still write to it.
    api.send_text(&alice, &bob, "while you were out").await;
    // A sign-in of the same instant would count as older than the ban.
    tokio::time::advance(Duration::from_millis(1)).await;
    let lifted = api.call(Method::DELETE, &ban, KEY, None).await;
    assert_eq!(lifted.status, StatusCode::NO_CONTENT);
    assert_eq!(is_banned().await, false);
    let mut events = api.events("/v1/inbox/events", &bob, None).await;
    assert_eq!(events.entry().await.1, "while you were out");
}

#[tokio::test(start_paused = true)]
async fn a_ban_needs_a_user_and_a_reason_of_bounded_length() {
    let api = TestApi::start();
    let bob = api.sign_in("200").await;
    let put = async |user: &str, reason: Value| {
        let body = json!({ "reason": reason });
        api.call(
            Method::PUT,
            &format!("/v1/users/{user}/ban"),
            KEY,
            Some(&body),
        )
        .await
    };
    put("999", json!("spam")).await.refused(404, "no user");
    put(&bob.id, json!("x".repeat(5_000)))
        .await
        .refused(400, "reason");
    put(&bob.id, Value::Null)
        .await
        .refused(400, "reason is null");
}

#[tokio::test(start_paused = true)]
async fn connections_and_devices_are_shown() {
    let api = TestApi::start();
    let bob = api.sign_in("200").await;
    let connections = format!("/v1/users/{}/connections", bob.id);
    assert_eq!(api.get(&connections, KEY).await["connections"], json!([]));
    let mut events = api.events("/v1/inbox/events", &bob, None).await;
    events.named("start").await;
    let shown = api.get(&connections, KEY).await["connections"][0].clone();
    assert_eq!(
        (&shown["device_id"], &shown["node"]),
        (&json!(bob.device), &json!("local"))
    );
    let device = api.get(&format!("/v1/devices/{}", bob.device), KEY).await;
    assert_eq!(
        (&device["user_id"], &device["type"]),
        (&json!(bob.id), &json!(5))
    );
    assert_eq!(device["connection"], shown);
    assert_eq!(api.get("/v1/statistics", KEY).await["connections"], "1");
    let unknown = api.call(Method::GET, "/v1/devices/7", KEY, None).await;
    unknown.refused(404, "no device");
}

#[tokio::test(start_paused = true)]
async fn several_members_are_removed_at_once() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let mut others = Vec::new();
    for n in 200..205 {
        others.push(api.sign_in(&n.to_string()).await.id);
    }
    let group = json!({"name": "us", "member_ids": others});
    let group = api.post("/v1/groups", &alice.token, group).await["group_id"].clone();
    let path = format!("/v1/groups/{}/members", group.as_str().unwrap());
    let remove = format!("{path}/remove");
    let out = json!({"user_ids": [others[0], others[2], others[0], "999"]});
    for _ in 0..2 {
        api.post(&remove, &alice.token, out.clone()).await;
    }
    let left = api.get(&path, &alice.token).await["members"].clone();
    assert_eq!(left.as_array().unwrap().len(), 4);
    let many = json!({"user_ids": vec!["1"; 501]});
    let refused = api.call(Method::POST, &remove, &alice.token, Some(&many));
    refused.await.refused(400, "it must have at most 500");
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_has_not_changed_is_not_sent_again() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let group = api
        .post("/v1/groups", &alice.token, json!({"name": "us"}))
        .await;
    let group = format!("/v1/groups/{}", group["group_id"].as_str().unwrap());
    let user = format!("/v1/users/{}", alice.id);
    for (path, bearer) in [
        ("/v1/me", alice.token.as_str()),
        (&group, &alice.token),
        (&user, KEY),
    ] {
        let get = async |known: &str| {
            let headers = [("If-None-Match", known)];
            api.respond(Method::GET, path, bearer, &headers, None).await
        };
        let first = get("").await;
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        assert_eq!(first.headers()[header::CACHE_CONTROL], "private, no-cache");
        assert_eq!(get(&tag).await.status(), StatusCode::NOT_MODIFIED, "{path}");
        let change = json!({"nickname": path});
        api.call(Method::PATCH, "/v1/me", &alice.token, Some(&change))
            .await
            .ok();
        let status = get(&tag).await.status();
        let is_of_user = path != group;
        assert_eq!(status == StatusCode::OK, is_of_user, "{path}");
    }
}
