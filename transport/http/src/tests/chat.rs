//! Users, friends, groups and messages by requests.

use super::*;

#[tokio::test(start_paused = true)]
async fn two_users_chat_by_requests() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let sent = api.send_text(&alice, &bob, "hi").await;
    assert_eq!(
        (&sent["seq"], &sent["repeated"]),
        (&json!("1"), &json!(false))
    );
    let inbox = api.get("/v1/inbox", &bob.token).await;
    assert_eq!(
        (&inbox["head"], &inbox["more"]),
        (&json!("1"), &json!(false))
    );
    let entry = &inbox["entries"][0];
    assert_eq!(entry["seq"], "1");
    let message = &entry["message"];
    assert_eq!(message["id"], sent["message_id"]);
    assert_eq!(message["content"], json!({"type": "text", "text": "hi"}));
    assert_eq!(message["sender"]["user_id"], alice.id);
    assert_eq!(
        message["receiver"],
        json!({"type": "user", "user_id": bob.id})
    );
    assert_eq!(message.get("device_id"), None);
    let after = api.get("/v1/inbox?after=1", &bob.token).await;
    assert_eq!(after["entries"], json!([]));
    api.post("/v1/inbox/ack", &bob.token, json!({"seq": 1}))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_repeat_with_the_same_key_stores_nothing_more() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let send = async |text: &str| {
        let body = json!({"to_user": bob.id, "content": {"type": "text", "text": text}});
        let key = [("Idempotency-Key", "k1")];
        let sent = api.respond(
            Method::POST,
            "/v1/messages",
            &alice.token,
            &key,
            Some(&body),
        );
        TestAnswer::of(sent.await).await
    };
    let first = send("hi").await.ok();
    let again = send("hi").await.ok();
    assert_eq!(
        (&again["seq"], &again["repeated"]),
        (&first["seq"], &json!(true))
    );
    assert_eq!(again["message_id"], first["message_id"]);
    send("other")
        .await
        .refused(409, "was used for another message");
    let inbox = api.get("/v1/inbox", &bob.token).await;
    assert_eq!(inbox["entries"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_page_is_cut_and_continued() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    for n in 0..5 {
        api.send_text(&alice, &bob, &n.to_string()).await;
    }
    let page = api.get("/v1/inbox?limit=2&after=1", &bob.token).await;
    let seqs: Vec<_> = page["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["seq"])
        .collect();
    assert_eq!(seqs, [&json!("2"), &json!("3")]);
    assert_eq!(page["more"], true);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_message() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let begun = tokio::time::Instant::now();
    let nothing = api.get("/v1/inbox?wait=2", &bob.token).await;
    assert_eq!(nothing["entries"], json!([]));
    assert!(begun.elapsed().as_secs() >= 2);
    let waits = api.get("/v1/inbox?wait=30", &bob.token);
    let (inbox, _) = tokio::join!(waits, api.send_text(&alice, &bob, "hi"));
    assert_eq!(inbox["entries"].as_array().unwrap().len(), 1);
    assert!(begun.elapsed().as_secs() < 5);
    let waits = api.get("/v1/inbox?wait=30&after=1", &bob.token);
    let stops = async { api.stop.cancel() };
    tokio::join!(waits, stops);
    assert!(begun.elapsed().as_secs() < 5, "a stop ends the wait");
}

#[tokio::test(start_paused = true)]
async fn a_profile_is_changed_and_found() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let change = json!({"nickname": "alice", "sex": 2});
    let changed = api.call(Method::PATCH, "/v1/me", &alice.token, Some(&change));
    assert_eq!(changed.await.ok()["nickname"], "alice");
    let me = api.get("/v1/me", &alice.token).await;
    assert_eq!((&me["user_id"], &me["sex"]), (&json!(alice.id), &json!(2)));
    let found = api.get("/v1/users?key=alice", &bob.token).await;
    assert_eq!(found["users"][0]["user_id"], alice.id);
    let wrong = json!({"sex": 9});
    let wrong = api.call(Method::PATCH, "/v1/me", &alice.token, Some(&wrong));
    wrong.await.refused(400, "sex is 9; it must be 0 (unknown)");
}

#[tokio::test(start_paused = true)]
async fn friends_are_asked_and_accept() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let request = json!({"user_id": bob.id, "description": "it is me"});
    api.post("/v1/friends", &alice.token, request).await;
    let inbox = api.get("/v1/inbox", &bob.token).await;
    let content = &inbox["entries"][0]["message"]["content"];
    assert_eq!(
        content["type"], "bytes",
        "a node without a wire describes it in text"
    );
    let accept = format!("/v1/friends/{}/accept", alice.id);
    api.post(&accept, &bob.token, json!({"remarks": "al"}))
        .await;
    let friends = api.get("/v1/friends", &bob.token).await;
    assert_eq!(friends["friends"][0]["user_id"], alice.id);
    assert_eq!(friends["friends"][0]["remarks"], "al");
    let path = format!("/v1/friends/{}", bob.id);
    let change = json!({"extra": "x"});
    let changed = api.call(Method::PATCH, &path, &alice.token, Some(&change));
    assert_eq!(changed.await.ok()["extra"], "x");
}

#[tokio::test(start_paused = true)]
async fn a_group_is_made_used_and_left() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let carol = api.sign_in("300").await;
    let create = json!({"name": "g", "member_ids": [bob.id]});
    let group = api.post("/v1/groups", &alice.token, create).await;
    let group = group["group_id"].as_str().unwrap();
    let path = format!("/v1/groups/{group}");
    let add = json!({"user_ids": [carol.id, bob.id]});
    let added = api
        .post(&format!("{path}/members"), &alice.token, add)
        .await;
    assert_eq!(added["already"], json!([bob.id]));
    let members = api
        .get(&format!("{path}/members?limit=2"), &bob.token)
        .await;
    assert_eq!(members["members"].as_array().unwrap().len(), 2);
    assert_eq!(members["members"][0]["role"], "admin");
    assert_eq!(members["more"], true);
    let send = json!({"to_group": group, "content": {"type": "text", "text": "all"}});
    api.post("/v1/messages", &carol.token, send.clone()).await;
    let inbox = api.get("/v1/inbox", &bob.token).await;
    let last = inbox["entries"].as_array().unwrap().last().unwrap();
    assert_eq!(
        last["message"]["receiver"],
        json!({"type": "group", "group_id": group})
    );
    let member = format!("{path}/members/{}", carol.id);
    let role = json!({"role": "admin"});
    let changed = api.call(Method::PATCH, &member, &alice.token, Some(&role));
    assert_eq!(changed.await.status, StatusCode::NO_CONTENT);
    let change = json!({"name": "h"});
    let changed = api.call(Method::PATCH, &path, &alice.token, Some(&change));
    assert_eq!(changed.await.ok()["name"], "h");
    let removed = api.call(Method::DELETE, &member, &alice.token, None);
    assert_eq!(removed.await.status, StatusCode::NO_CONTENT);
    let refused = api.call(Method::POST, "/v1/messages", &carol.token, Some(&send));
    refused.await.refused(403, "not a member of group");
    let refused = api.call(Method::GET, &path, &carol.token, None);
    refused.await.refused(403, "not a member of group");
    let groups = api.get("/v1/groups", &bob.token).await;
    assert_eq!(groups["groups"][0]["name"], "h");
}

#[tokio::test(start_paused = true)]
async fn a_sign_out_ends_the_token_and_the_stream() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let mut events = api.events("/v1/inbox/events", &alice, None).await;
    let out = api.call(Method::POST, "/v1/sign-out", &alice.token, None);
    assert_eq!(out.await.status, StatusCode::NO_CONTENT);
    let close = events.named("close").await;
    assert_eq!(
        (&close.data["code"], &close.data["reconnect"]),
        (&json!(4200), &json!(false))
    );
    assert!(events.next().await.is_none());
    let again = api.call(Method::GET, "/v1/me", &alice.token, None);
    again.await.refused(401, "token");
}

#[tokio::test(start_paused = true)]
async fn a_backend_creates_users_and_acts_for_them() {
    let api = TestApi::start();
    let create = json!({"phone_number": "100"});
    let created = api.post("/v1/users", KEY, create.clone()).await;
    assert_eq!(created["is_new"], true);
    let again = api.post("/v1/users", KEY, create).await;
    assert_eq!(
        (&again["user_id"], &again["is_new"]),
        (&created["user_id"], &json!(false))
    );
    let user = created["user_id"].as_str().unwrap().to_owned();
    let tokens = format!("/v1/users/{user}/tokens");
    let issued = api.post(&tokens, KEY, json!({})).await;
    let token = issued["token"].as_str().unwrap().to_owned();
    assert_eq!(api.get("/v1/me", &token).await["user_id"], user);
    let bob = api.sign_in("200").await;
    let body = json!({"to_user": bob.id, "content": {"type": "text", "text": "hi"}});
    let acting = [("Gimlet-User", user.as_str())];
    let sent = api
        .respond(Method::POST, "/v1/messages", KEY, &acting, Some(&body))
        .await;
    assert!(sent.status().is_success());
    api.post("/v1/messages", KEY, body.clone()).await;
    let mut system = body;
    system["sender"] = "system".into();
    api.post("/v1/messages", KEY, system).await;
    let inbox = api.get("/v1/inbox", &bob.token).await;
    let senders: Vec<_> = (0..3)
        .map(|at| &inbox["entries"][at]["message"]["sender"]["type"])
        .collect();
    assert_eq!(
        senders,
        [&json!("user"), &json!("business"), &json!("system")]
    );
    let revoke = format!("{tokens}/{}", issued["device_id"].as_str().unwrap());
    let revoked = api.call(Method::DELETE, &revoke, KEY, None);
    assert_eq!(revoked.await.status, StatusCode::NO_CONTENT);
    let refused = api.call(Method::GET, "/v1/me", &token, None);
    refused.await.refused(401, "token");
}

#[tokio::test(start_paused = true)]
async fn a_backend_broadcasts_and_disconnects() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let mut events = api.events("/v1/inbox/events", &alice, None).await;
    let content = json!({"type": "text", "text": "to all"});
    api.post("/v1/broadcasts", KEY, json!({"content": content}))
        .await;
    let live = events.named("live").await;
    assert_eq!(live.text(), "to all");
    assert_eq!(live.id, None, "it moves no cursor");
    let path = format!("/v1/users/{}/disconnect", alice.id);
    api.post(&path, KEY, json!({"reason": "banned"})).await;
    let close = events.named("close").await;
    assert_eq!(
        (&close.data["code"], &close.data["reason"]),
        (&json!(4202), &json!("banned"))
    );
}
