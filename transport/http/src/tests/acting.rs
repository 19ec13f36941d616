//! A backend acts for users that exist, and for nobody else.

use super::*;

/// Otherwise the person who gets this id later finds what was done under it.
#[tokio::test(start_paused = true)]
async fn a_backend_acts_for_nobody_who_does_not_exist() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let next: u64 = alice.id.parse::<u64>().unwrap() + 1;
    let acting = next.to_string();
    for operation in crate::operations() {
        if !operation.access.acts_for_users() {
            continue;
        }
        let path = format!("/v1{}", operation.path)
            .replace("{user_id}", &alice.id)
            .replace("{device_id}", &alice.device)
            .replace("{group_id}", "1")
            .replace("{room_id}", "1");
        let headers = [("Gimlet-User", acting.as_str())];
        let content = json!({"type": "text", "text": "hi"});
        let body = json!({"to_user": alice.id, "content": content});
        let method = operation.method.clone();
        let refused = api.respond(method, &path, KEY, &headers, Some(&body)).await;
        let refused = TestAnswer::of(refused).await;
        assert_eq!(refused.json["code"], 10_016, "{operation:?}: {refused:?}");
        refused.refused(404, "no user");
    }
    assert_eq!(api.get("/v1/inbox", &alice.token).await["head"], "0");
    let stranger = api.sign_in("200").await;
    assert_eq!(stranger.id, acting, "the id that was named");
    assert_eq!(api.get("/v1/inbox", &stranger.token).await["head"], "0");
    // Known at once, although its absence was known a moment ago.
    let headers = [("Gimlet-User", acting.as_str())];
    let content = json!({"type": "text", "text": "hi"});
    let body = json!({"to_user": alice.id, "content": content});
    let sent = api.respond(Method::POST, "/v1/messages", KEY, &headers, Some(&body));
    assert_eq!(sent.await.status(), StatusCode::OK);
}
