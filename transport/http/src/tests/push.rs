//! Push addresses over the API.

use gimlet_core::store::PushAddress;

use super::*;

/// A point of P-256 in base64url, as a browser writes it, and its 16 bytes of authentication.
const P256DH: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

fn path(user: &TestUser) -> String {
    format!("/v1/devices/{}/push", user.device)
}

impl TestApi {
    async fn put_push(&self, user: &TestUser, body: Value) -> TestAnswer {
        let path = path(user);
        self.call(Method::PUT, &path, &user.token, Some(&body))
            .await
    }

    async fn addresses(&self, user: &TestUser) -> Vec<PushAddress> {
        let id = UserId::new(user.id.parse().unwrap()).unwrap();
        let held = self.node.service().stores().push_token.of(&[id]).await;
        held.unwrap()
            .into_iter()
            .map(|(_, it)| it.address)
            .collect()
    }
}

#[tokio::test]
async fn a_device_registers_each_kind_of_address_and_ends_it() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let browser = json!({"provider": "webpush", "endpoint": "https://push.example.net/a",
        "p256dh": P256DH, "auth": format!("{AUTH}=="), "show_content": true, "locale": "de"});
    for (body, provider) in [
        (json!({"provider": "apns", "token": "00FF"}), "apns"),
        (json!({"provider": "fcm", "token": "t"}), "fcm"),
        (browser, "webpush"),
    ] {
        let put = api.put_push(&alice, body).await;
        assert_eq!(put.status, StatusCode::NO_CONTENT, "{put:?}");
        let held = api.addresses(&alice).await;
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].provider().name(), provider);
    }
    let own = path(&alice);
    let ended = api.call(Method::DELETE, &own, &alice.token, None);
    assert_eq!(ended.await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.addresses(&alice).await, []);
    let key = api.get("/v1/push/webpush-key", "").await;
    assert_eq!(key["public_key"], WEBPUSH_KEY);
}

#[tokio::test]
async fn a_sign_out_ends_the_notifications() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let body = json!({"provider": "fcm", "token": "t"});
    api.put_push(&alice, body.clone()).await.ok();
    assert_eq!(api.addresses(&alice).await.len(), 1);
    let done = api.call(Method::POST, "/v1/sign-out", &alice.token, None);
    done.await.ok();
    assert_eq!(api.addresses(&alice).await, []);
    let late = api.put_push(&alice, body).await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_the_device_itself_or_a_backend_sets_its_address() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let body = json!({"provider": "fcm", "token": "t"});
    let (own, bobs) = (path(&alice), path(&bob));
    let foreign = api.call(Method::PUT, &bobs, &alice.token, Some(&body));
    foreign.await.refused(403, "not the device of the token");
    let foreign = api.call(Method::DELETE, &bobs, &alice.token, None);
    foreign.await.refused(403, "not the device of the token");
    let acting = [("Gimlet-User", alice.id.as_str())];
    let put = api.respond(Method::PUT, &own, KEY, &acting, Some(&body));
    assert_eq!(put.await.status(), StatusCode::NO_CONTENT);
    assert_eq!(api.addresses(&alice).await.len(), 1);
    let missing = "/v1/devices/99/push";
    let unknown = api.respond(Method::PUT, missing, KEY, &acting, Some(&body));
    TestAnswer::of(unknown.await).await.refused(404, "device");
}

#[tokio::test]
async fn a_wrong_address_is_refused_with_its_field() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let endpoint = "https://push.example.net/a";
    for (body, words) in [
        (json!({"token": "t"}), "provider is missing"),
        (
            json!({"provider": "sms", "token": "t"}),
            "apns, fcm or webpush",
        ),
        (json!({"provider": "fcm"}), "token is missing"),
        (
            json!({"provider": "fcm", "tokn": "t"}),
            "did you mean token?",
        ),
        (
            json!({"provider": "fcm", "token": "t", "topic": "a"}),
            "topic is not a field of provider fcm",
        ),
        (
            json!({"provider": "fcm", "token": "t", "sandbox": true}),
            "sandbox is not a field of provider fcm",
        ),
        (
            json!({"provider": "apns", "token": "no hex"}),
            "hexadecimal",
        ),
        (
            json!({"provider": "apns", "token": "00", "topic": "other"}),
            "com.example.chat",
        ),
        (
            json!({"provider": "webpush", "endpoint": endpoint, "auth": AUTH}),
            "p256dh is missing",
        ),
        (
            json!({"provider": "webpush", "endpoint": endpoint, "p256dh": "+/", "auth": AUTH}),
            "p256dh is not base64url",
        ),
        (
            json!({"provider": "webpush", "endpoint": endpoint, "p256dh": P256DH, "auth": "AAAA"}),
            "auth is not 16 bytes",
        ),
        (
            json!({"provider": "webpush", "endpoint": "https://127.0.0.1/", "p256dh": P256DH,
                "auth": AUTH}),
            "endpoint is not at a host name of the internet",
        ),
    ] {
        api.put_push(&alice, body).await.refused(400, words);
    }
    assert_eq!(api.addresses(&alice).await, []);
}
