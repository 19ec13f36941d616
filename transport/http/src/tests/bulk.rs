//! Operations of backends on many things at once: each item has an outcome of its own.

use super::*;

#[tokio::test(start_paused = true)]
async fn tokens_are_issued_for_many_users() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let body = json!({"tokens": [
        {"user_id": alice.id},
        {"user_id": "999999"},
        {"user_id": bob.id, "device_id": bob.device},
        {"user_id": bob.id, "device_id": "77"},
    ]});
    let issued = api.post("/v1/tokens", KEY, body).await;
    assert_eq!(issued["refused"], "2");
    let tokens = issued["tokens"].as_array().unwrap();
    for (at, user) in [(0, &alice), (2, &bob)] {
        assert_eq!(tokens[at]["user_id"], json!(user.id));
        let me = api
            .get("/v1/me", tokens[at]["token"].as_str().unwrap())
            .await;
        assert_eq!(me["user_id"], json!(user.id));
    }
    assert_eq!(tokens[2]["device_id"], json!(bob.device));
    let old = api.call(Method::GET, "/v1/me", &bob.token, None).await;
    old.refused(401, "token");
    for (at, status) in [(1, 404), (3, 404)] {
        let error = &tokens[at]["error"];
        assert_eq!(error["status"], status, "{issued}");
        assert!(tokens[at]["token"].is_null(), "{issued}");
        assert!(error["detail"].is_string(), "{issued}");
    }
    let many = json!({"tokens": vec![json!({"user_id": alice.id}); 501]});
    api.call(Method::POST, "/v1/tokens", KEY, Some(&many))
        .await
        .refused(400, "tokens has 501 items; it must have at most 500");
    api.call(Method::POST, "/v1/tokens", &alice.token, Some(&many))
        .await
        .refused(403, "for backends");
}

/// A backend may register as many devices as it wants to; an address may not.
#[tokio::test(start_paused = true)]
async fn the_rate_of_registrations_is_not_that_of_backends() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let body = json!({"tokens": vec![json!({"user_id": alice.id}); 500]});
    for _ in 0..6 {
        let issued = api.post("/v1/tokens", KEY, body.clone()).await;
        assert_eq!(issued["refused"], "0");
    }
}

#[tokio::test(start_paused = true)]
async fn groups_are_created_and_one_refusal_stops_no_other() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let body = json!({"groups": [
        {"owner_id": alice.id, "name": "one", "member_ids": [bob.id]},
        {"owner_id": alice.id, "name": "x".repeat(300)},
        {"owner_id": bob.id, "name": "two", "extra": "data"},
    ]});
    let created = api.post("/v1/groups/import", KEY, body).await;
    assert_eq!(created["refused"], "1");
    let groups = &created["groups"];
    assert!(groups[1]["group_id"].is_null());
    assert_eq!(groups[1]["error"]["code"], 10_001);
    let detail = groups[1]["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("name"), "{detail}");
    let one = groups[0]["group_id"].as_str().unwrap();
    let info = api.get(&format!("/v1/groups/{one}"), &bob.token).await;
    assert_eq!(
        (&info["name"], &info["members"]),
        (&json!("one"), &json!("2"))
    );
    let two = groups[2]["group_id"].as_str().unwrap();
    let info = api.get(&format!("/v1/groups/{two}"), &bob.token).await;
    assert_eq!(info["extra"], "data");
    let many = json!({"groups": vec![json!({"owner_id": alice.id, "name": "g"}); 101]});
    api.call(Method::POST, "/v1/groups/import", KEY, Some(&many))
        .await
        .refused(400, "groups has 101 items; it must have at most 100");
}

#[tokio::test(start_paused = true)]
async fn members_of_many_groups_are_changed() {
    let api = TestApi::start();
    let (alice, bob, carol) = (
        api.sign_in("100").await,
        api.sign_in("200").await,
        api.sign_in("300").await,
    );
    let group = async |name: &str| {
        let body = json!({"name": name, "member_ids": [bob.id]});
        let created = api.post("/v1/groups", &alice.token, body).await;
        created["group_id"].as_str().unwrap().to_owned()
    };
    let (one, two) = (group("one").await, group("two").await);
    let body = json!({"changes": [
        {"group_id": one, "operator_id": alice.id, "add": [bob.id, carol.id], "remove": [bob.id, bob.id]},
        {"group_id": "999", "operator_id": alice.id, "add": [carol.id]},
        {"group_id": two, "operator_id": bob.id, "remove": [alice.id]},
        {"group_id": one, "operator_id": alice.id, "remove": [carol.id]},
        {"group_id": two, "operator_id": alice.id},
    ]});
    let changed = api.post("/v1/groups/members", KEY, body).await;
    assert_eq!(changed["refused"], "2", "{changed}");
    let outcomes = &changed["changes"];
    assert_eq!(
        (&outcomes[0]["added"], &outcomes[0]["removed"]),
        (&json!("1"), &json!("2"))
    );
    assert_eq!(outcomes[1]["error"]["status"], 404, "{changed}");
    assert_eq!(outcomes[2]["error"]["field"], "remove[0]", "{changed}");
    assert_eq!(outcomes[2]["error"]["status"], 403, "{changed}");
    let members = async |group: &str| {
        let path = format!("/v1/groups/{group}/members");
        let list = api.get(&path, &alice.token).await;
        list["members"].as_array().unwrap().len()
    };
    assert_eq!((members(&one).await, members(&two).await), (1, 2));
    let remove = vec![bob.id.clone(); 251];
    let many = json!({"changes": vec![
        json!({"group_id": one, "operator_id": alice.id, "remove": remove}); 2
    ]});
    api.call(Method::POST, "/v1/groups/members", KEY, Some(&many))
        .await
        .refused(
            400,
            "changes remove 502 members; they must remove at most 500",
        );
}
