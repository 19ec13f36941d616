//! API keys over the API: their whole life, and refusals.

use super::*;

fn scopes(names: &str) -> ApiScopes {
    ApiScopes::of_text(names)
}

impl TestApi {
    async fn create_key(&self, bearer: &str, scopes: &[&str]) -> TestAnswer {
        let body = json!({"name": "billing", "scopes": scopes});
        self.call(Method::POST, "/v1/keys", bearer, Some(&body))
            .await
    }

    async fn status(&self, method: Method, path: &str, bearer: &str) -> u16 {
        let answer = self.call(method, path, bearer, None).await;
        answer.status.as_u16()
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_created_used_replaced_and_revoked() {
    let api = TestApi::start();
    let body = json!({"name": "billing", "scopes": ["users:write"], "lifetime_seconds": 864_000});
    let created = api.post("/v1/keys", KEY, body).await;
    let text = |json: &Value, name: &str| json[name].as_str().unwrap().to_owned();
    let (key, id) = (text(&created, "key"), text(&created, "key_id"));
    let user = api.post("/v1/users", &key, json!({"phone_number": "100"}));
    let user = text(&user.await, "user_id");
    api.get(&format!("/v1/users/{user}"), &key).await;
    let listed = api.get("/v1/keys", KEY).await;
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1);
    assert_eq!(listed["more"], false);
    let shown = api.get(&format!("/v1/keys/{id}"), KEY).await;
    assert_eq!(listed["keys"][0], shown);
    assert!(!shown.to_string().contains(&key), "the key is shown once");
    assert!(shown["last_used_at"].is_string(), "{shown}");
    for (name, value) in [
        ("key_id", json!(id)),
        ("name", json!("billing")),
        ("scopes", json!(["users:write"])),
        ("is_valid", json!(true)),
        ("created_at", created["created_at"].clone()),
        ("expires_at", created["expires_at"].clone()),
        ("revoked_at", Value::Null),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    let rotate = format!("/v1/keys/{id}/rotate");
    let new = api
        .post(&rotate, KEY, json!({"overlap_seconds": 3_600}))
        .await;
    assert_eq!(new["scopes"], json!(["users:write"]));
    let (new_key, new_id) = (text(&new, "key"), text(&new, "key_id"));
    let path = format!("/v1/users/{user}");
    for valid in [&key, &new_key] {
        assert_eq!(api.status(Method::GET, &path, valid).await, 200);
    }
    let hour = Duration::from_hours(1);
    api.clock.advance(hour);
    let old = api.call(Method::GET, &path, &key, None).await;
    old.refused(401, "the API key was revoked; use the one that replaced it");
    let shown = api.get(&format!("/v1/keys/{id}"), KEY).await;
    assert_eq!(shown["is_valid"], false);
    assert!(shown["revoked_at"].is_string(), "{shown}");
    assert_eq!(api.status(Method::GET, &path, &new_key).await, 200);
    let revoke = format!("/v1/keys/{new_id}");
    assert_eq!(api.status(Method::DELETE, &revoke, KEY).await, 204);
    assert_eq!(api.status(Method::GET, &path, &new_key).await, 401);
}

#[tokio::test(start_paused = true)]
async fn a_key_with_admin_manages_keys_and_others_do_not() {
    let api = TestApi::start();
    let admin = api.key(scopes("admin"), None).await.secret;
    let created = api.create_key(&admin, &["messages:send"]).await.ok();
    let sender = created["key"].as_str().unwrap();
    for (method, path) in [
        (Method::GET, "/v1/keys".to_owned()),
        (
            Method::GET,
            format!("/v1/keys/{}", created["key_id"].as_str().unwrap()),
        ),
    ] {
        let refused = api.call(method, &path, sender, None).await;
        refused.refused(
            403,
            "does not have the scope admin, it has messages:send: use a key with admin",
        );
    }
    let refused = api.create_key(sender, &["messages:send"]).await;
    assert_eq!(refused.json["type"], "urn:gimlet:missing-scope");
    refused.refused(403, "does not have the scope admin");
    // A key may end itself.
    let own = api.get("/v1/keys?limit=500", &admin).await;
    let own = own["keys"].as_array().unwrap().iter();
    let own = own.filter(|it| it["scopes"] == json!(["admin"]));
    for key in own {
        let path = format!("/v1/keys/{}", key["key_id"].as_str().unwrap());
        assert_eq!(api.status(Method::DELETE, &path, &admin).await, 204);
    }
    assert_eq!(api.status(Method::GET, "/v1/keys", &admin).await, 401);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_key_is_refused_with_what_can() {
    let api = TestApi::start();
    let name = "billing";
    for (body, status, words) in [
        (
            json!({"name": name, "scopes": []}),
            400,
            "name at least one of admin, ",
        ),
        (
            json!({"name": " ", "scopes": ["admin"]}),
            400,
            "name must have",
        ),
        (
            json!({"name": name, "scopes": ["users"]}),
            400,
            "it must be one of admin, ",
        ),
        (json!({"name": name, "scopes": "admin"}), 400, "an array"),
        (json!({"name": name}), 400, "scopes is missing"),
        (
            json!({"name": name, "scopes": ["admin"], "lifetime_seconds": 0}),
            400,
            "the lifetime is 0 s; it must be from 1 s to",
        ),
        (
            json!({"name": name, "scopes": ["admin"], "lifetime_seconds": 4_000_000_000_u32}),
            400,
            "to 315360000 s",
        ),
    ] {
        let refused = api.call(Method::POST, "/v1/keys", KEY, Some(&body)).await;
        refused.refused(status, words);
    }
    assert_eq!(api.get("/v1/keys", KEY).await["keys"], json!([]));
    let unknown = "0000000000000001";
    for (method, path) in [
        (Method::GET, format!("/v1/keys/{unknown}")),
        (Method::DELETE, format!("/v1/keys/{unknown}")),
        (Method::POST, format!("/v1/keys/{unknown}/rotate")),
    ] {
        let refused = api.call(method, &path, KEY, None).await;
        assert_eq!(refused.json["type"], "urn:gimlet:no-such-key");
        refused.refused(
            404,
            "API key 0000000000000001 does not exist; list the keys",
        );
    }
    let refused = api.call(Method::GET, "/v1/keys/7", KEY, None).await;
    refused.refused(400, "16 hexadecimal digits");
    let created = api.create_key(KEY, &["admin"]).await.ok();
    let rotate = format!("/v1/keys/{}/rotate", created["key_id"].as_str().unwrap());
    let body = json!({"overlap_seconds": 90 * 24 * 3_600 + 1});
    let refused = api.call(Method::POST, &rotate, KEY, Some(&body)).await;
    refused.refused(400, "it must be at most 7776000 s");
}

/// Guesses of one address are refused like wrong tokens, and keys that were right go on.
#[tokio::test(start_paused = true)]
async fn guessed_keys_count_as_wrong_tokens() {
    let api = TestApi::start();
    let known = api.key(scopes("stats:read"), None).await.secret;
    assert_eq!(api.status(Method::GET, "/v1/statistics", &known).await, 200);
    let mut refused = 0;
    for n in 0..150 {
        let guess = format!("gk_{n:064}");
        match api.status(Method::GET, "/v1/statistics", &guess).await {
            401 => {}
            429 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert!(refused >= 40, "{refused}");
    assert_eq!(api.status(Method::GET, "/v1/statistics", &known).await, 200);
}
