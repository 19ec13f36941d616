//! Rules of registrations.

use std::time::Duration;

use super::*;
use crate::memory;
use crate::store::DeviceInfo;
use crate::time::{ManualClock, UnixTimestamp};

fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

fn device(number: u64) -> DeviceId {
    DeviceId::new(number).unwrap()
}

fn services() -> PushServices {
    PushServices {
        apns_topics: vec!["com.example.chat".into(), "com.example.work".into()],
        has_fcm: true,
        webpush_key: Some("BPublicKey".into()),
        webpush_hosts: vec!["push.example.net".into(), "*.notify.example.com".into()],
        allow_private: false,
    }
}

async fn registry(services: PushServices) -> (PushRegistry, StoreSet) {
    let stores = memory::stores();
    let info = DeviceInfo {
        kind: 1,
        brand: "b".into(),
        model: "m".into(),
        system_version: "s".into(),
        sdk_version: "k".into(),
    };
    let registered = stores.device.register(device(1), &info, UnixTimestamp(1));
    registered.await.unwrap();
    let clock = Arc::new(ManualClock::at(UnixTimestamp(5)));
    (PushRegistry::new(&stores, clock, services), stores)
}

fn apns(token: &str, topic: &str) -> PushAddress {
    PushAddress::Apns {
        token: token.into(),
        topic: topic.into(),
        is_sandbox: false,
    }
}

fn fcm(token: &str) -> PushAddress {
    PushAddress::Fcm {
        token: token.into(),
    }
}

fn webpush(endpoint: &str) -> PushAddress {
    PushAddress::WebPush {
        endpoint: endpoint.into(),
        public_key: vec![4; 65],
        auth_secret: vec![0; 16],
    }
}

fn request(address: PushAddress) -> PushRequest {
    PushRequest {
        address,
        shows_content: false,
        locale: String::new(),
    }
}

#[tokio::test]
async fn a_registration_is_stored_with_its_defaults() {
    let (pushes, stores) = registry(services()).await;
    let asked = request(apns("00FFaa", ""));
    pushes.register(user(1), device(1), asked).await.unwrap();
    let held = stores.push_token.of(&[user(1)]).await.unwrap();
    let want = PushRegistration {
        device: device(1),
        address: apns("00ffaa", "com.example.chat"),
        shows_content: false,
        locale: String::new(),
        registered_at: UnixTimestamp(5),
    };
    assert_eq!(held, [(user(1), want)]);
    pushes.remove(user(1), device(1)).await.unwrap();
    assert_eq!(stores.push_token.of(&[user(1)]).await.unwrap(), []);
    pushes.remove(user(1), device(1)).await.unwrap();
}

#[tokio::test]
async fn a_service_that_is_not_used_is_refused_by_its_name() {
    let (pushes, _) = registry(PushServices::default()).await;
    let webpush = webpush("https://push.example.net/a");
    for (address, service) in [
        (apns("00ff", ""), "push.apns.key"),
        (fcm("token"), "push.fcm.service_account"),
        (webpush, "push.webpush.key"),
    ] {
        let refused = pushes.register(user(1), device(1), request(address)).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), 12);
        assert!(refused.to_string().contains(service), "{refused}");
    }
    assert_eq!(pushes.webpush_key().unwrap_err().code(), 12);
    let (pushes, _) = registry(services()).await;
    assert_eq!(pushes.webpush_key().unwrap(), "BPublicKey");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_field_is_named() {
    let (pushes, stores) = registry(services()).await;
    let long = format!("https://push.example.net/{}", "e".repeat(2_048));
    let cases = [
        (apns("", ""), "token"),
        (apns("abc", ""), "hexadecimal"),
        (apns("xy", ""), "hexadecimal"),
        (apns(&"ab".repeat(101), ""), "at most 200"),
        (apns("ab", "com.example.other"), "com.example.work"),
        (fcm(""), "FCM"),
        (fcm("a b"), "FCM"),
        (fcm(&"t".repeat(2_049)), "2048"),
        (webpush("http://push.example.net/a"), "https://"),
        (webpush("ftp://push.example.net/a"), "https://"),
        (webpush("https://"), "host"),
        (webpush("https:///a"), "host"),
        (webpush("https://user@push.example.net/a"), "user name"),
        (webpush("https://push.example.net/a#b"), "fragment"),
        (webpush("https://push.example.net/a b"), "characters"),
        (webpush("https://push.example.net/\u{e9}"), "characters"),
        (webpush("https://127.0.0.1/a"), "host name of the internet"),
        (webpush("https://10.1:443/a"), "host name of the internet"),
        (webpush("https://0x7f000001/a"), "host name of the internet"),
        (webpush("https://2130706433/a"), "host name of the internet"),
        (webpush("https://[::1]/a"), "host name of the internet"),
        (webpush("https://localhost/a"), "host name of the internet"),
        (
            webpush("https://x.LOCALHOST./a"),
            "host name of the internet",
        ),
        (webpush(&long), "2048"),
        (webpush("https://example.net/a"), "push.webpush.hosts"),
        (
            webpush("https://push.example.net.evil.org/a"),
            "push.webpush.hosts",
        ),
        (
            webpush("https://evil.example.org\\.notify.example.com/a"),
            "characters",
        ),
        (
            webpush("https://notify.example.com/a"),
            "push.webpush.hosts",
        ),
        (
            webpush("https://.notify.example.com/a"),
            "push.webpush.hosts",
        ),
        (
            webpush("https://evilnotify.example.com/a"),
            "push.webpush.hosts",
        ),
    ];
    for (address, words) in cases {
        let shown = format!("{address:?} {words}");
        let refused = pushes.register(user(1), device(1), request(address)).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), 10_001, "{shown}: {refused}");
        assert!(refused.to_string().contains(words), "{shown}: {refused}");
        tokio::time::advance(Duration::from_secs(2)).await;
    }
    assert_eq!(stores.push_token.of(&[user(1)]).await.unwrap(), []);
}

#[tokio::test]
async fn wrong_keys_locales_and_devices_are_refused() {
    let (pushes, _) = registry(services()).await;
    let keyed = |public_key: Vec<u8>, auth_secret: Vec<u8>| {
        request(PushAddress::WebPush {
            endpoint: "https://push.example.net/a".into(),
            public_key,
            auth_secret,
        })
    };
    let located = |locale: &str| PushRequest {
        locale: locale.into(),
        ..request(fcm("t"))
    };
    for (asked, words) in [
        (keyed(vec![4; 64], vec![0; 16]), "p256dh"),
        (keyed(vec![3; 65], vec![0; 16]), "p256dh"),
        (keyed(vec![4; 65], vec![0; 15]), "auth"),
        (located("pt_BR"), "locale"),
        (located(&"a".repeat(36)), "locale"),
    ] {
        let refused = pushes.register(user(1), device(1), asked).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), 10_001);
        assert!(refused.to_string().contains(words), "{refused}");
    }
    let unknown = pushes.register(user(1), device(2), request(fcm("t")));
    assert_eq!(unknown.await.unwrap_err().code(), 10_014);
    pushes
        .register(user(1), device(1), located("zh-Hant"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_private_endpoint_can_be_allowed() {
    let allowed = PushServices {
        allow_private: true,
        webpush_hosts: vec!["127.0.0.1".into(), "[::1]".into()],
        ..services()
    };
    let (pushes, stores) = registry(allowed).await;
    for endpoint in ["http://127.0.0.1:9/a", "https://[::1]/a"] {
        let asked = request(webpush(endpoint));
        pushes.register(user(1), device(1), asked).await.unwrap();
    }
    assert_eq!(stores.push_token.of(&[user(1)]).await.unwrap().len(), 1);
    for endpoint in ["ftp://127.0.0.1/b", "http://127.0.0.2/b"] {
        let refused = pushes.register(user(1), device(1), request(webpush(endpoint)));
        assert_eq!(refused.await.unwrap_err().code(), 10_001, "{endpoint}");
    }
}

#[tokio::test]
async fn a_host_of_a_push_service_is_known_by_its_name_or_by_a_pattern() {
    let (pushes, _) = registry(services()).await;
    for endpoint in [
        "https://push.example.net/a",
        "https://PUSH.example.net:8443/a",
        "https://wns2-par02p.notify.example.com/w/?token=a",
    ] {
        let asked = request(webpush(endpoint));
        pushes.register(user(1), device(1), asked).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_that_registers_all_the_time_is_slowed_down() {
    let (pushes, _) = registry(services()).await;
    let register = |who| pushes.register(user(who), device(1), request(fcm("t")));
    for _ in 0..REGISTRATIONS_PER_MINUTE {
        register(1).await.unwrap();
    }
    assert_eq!(register(1).await.unwrap_err().code(), 8);
    register(2).await.unwrap();
    tokio::time::advance(Duration::from_mins(1)).await;
    register(1).await.unwrap();
}
