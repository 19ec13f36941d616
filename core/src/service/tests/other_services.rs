//! Signing in, devices, rooms and broadcasts, revocation, and the directory.

use super::*;
use crate::id::{Generation, RoomId};
use crate::store::{AckMark, DeviceInfo};

#[tokio::test]
async fn every_sign_in_raises_the_generation() {
    let world = service_fixture();
    let enter = async |who, on| {
        let granted = world
            .service
            .sign_in(user(who), device(on), "right", Seq::ZERO)
            .await;
        granted.map(|it| it.generation)
    };
    assert_eq!(enter(1, 1).await, Ok(Generation(1)));
    assert_eq!(enter(2, 1).await, Ok(Generation(2)));
    assert_eq!(enter(1, 2).await, Ok(Generation(1)));
    let wrong = world
        .service
        .sign_in(user(1), device(1), "wrong", Seq::ZERO)
        .await;
    assert_eq!(wrong.unwrap_err().code(), 10000);
    let many = futures_util::future::join_all((0..100).map(|_| enter(1, 3))).await;
    let raised: HashSet<_> = many.into_iter().map(Result::unwrap).collect();
    assert_eq!(raised.len(), 100);
    world.token.cancel();
    world.tracker.close();
    world.tracker.wait().await;
    assert_eq!(enter(1, 1).await, Err(RequestRefusal::Unavailable));
}

#[tokio::test]
async fn a_device_is_registered_and_found() {
    let world = service_fixture();
    let info = DeviceInfo {
        kind: 5,
        brand: "b".into(),
        model: "m".into(),
        system_version: "s".into(),
        sdk_version: "k".into(),
    };
    let first = world.service.register(None, &info).await.unwrap();
    let second = world.service.register(None, &info).await.unwrap();
    assert_ne!(first, second);
    let (found, route) = world.service.device(first).await.unwrap();
    assert_eq!((found.info, route), (info, None));
    let missing = world.service.device(device(99)).await.unwrap_err();
    assert_eq!(missing, RequestRefusal::NoSuchDevice(device(99)));
}

#[tokio::test]
async fn registrations_of_an_address_are_limited_over_all_entry_points() {
    let policy = ServerPolicy {
        device_registrations: 1,
        ..ServerPolicy::default()
    };
    let world = service_fixture_with(memory::stores(), Limits::default(), policy);
    let nameless = DeviceInfo {
        kind: 0,
        brand: String::new(),
        model: String::new(),
        system_version: String::new(),
        sdk_version: String::new(),
    };
    let register = async |from: &str| {
        let from = Some(from.parse().unwrap());
        world.service.register(from, &nameless).await
    };
    // Also a request that is refused for another reason is counted.
    for _ in 0..10 {
        assert_eq!(register("192.0.2.1:1").await.unwrap_err().code(), 10001);
    }
    let refused = register("192.0.2.1:2").await;
    assert!(matches!(refused, Err(RequestRefusal::RateLimited { .. })));
    assert_eq!(register("192.0.2.2:1").await.unwrap_err().code(), 10001);
}

/// Regression: each id that a JWT's holder named became a row that is kept forever.
#[tokio::test(start_paused = true)]
async fn a_user_makes_a_limited_number_of_devices_by_naming_them() {
    let limits = Limits {
        new_devices: 3,
        ..Limits::default()
    };
    let world = service_fixture_with(memory::stores(), limits, ServerPolicy::default());
    let enter = async |who, on| {
        let entered = world
            .service
            .sign_in(user(who), device(on), "right", Seq::ZERO)
            .await;
        entered.map(drop)
    };
    let ack = async |who, on| {
        let acked = world
            .service
            .ack_of_client(user(who), device(on), Seq::ZERO);
        acked.await
    };
    let is_limited = |it| matches!(it, Err(RequestRefusal::RateLimited { .. }));
    for on in 1..=2 {
        // Further sign-ins on the same device cost nothing.
        for _ in 0..5 {
            assert_eq!(enter(1, on).await, Ok(()), "{on}");
        }
        assert_eq!(ack(1, on).await, Ok(()), "{on}");
    }
    for _ in 0..5 {
        assert_eq!(ack(1, 3).await, Ok(()), "its first ack makes it known");
    }
    let devices = &world.service.stores().device;
    for on in 4..100 {
        assert!(is_limited(enter(1, on).await), "{on}");
        assert!(is_limited(ack(1, on).await), "{on}");
        assert!(!devices.is_known(user(1), device(on)).await.unwrap());
    }
    // Known and registered devices go on, and so do other users.
    assert_eq!(enter(1, 1).await, Ok(()));
    let info = DeviceInfo {
        kind: 5,
        brand: "b".into(),
        model: "m".into(),
        system_version: "s".into(),
        sdk_version: "k".into(),
    };
    let registered = world.service.register(None, &info).await.unwrap();
    assert_eq!(enter(1, registered.get()).await, Ok(()));
    assert_eq!(enter(2, 4).await, Ok(()));
    tokio::time::advance(std::time::Duration::from_hours(8)).await;
    assert_eq!(enter(1, 5).await, Ok(()), "a third of a day later");
    assert!(is_limited(enter(1, 6).await));
}

#[tokio::test]
async fn acks_go_forward() {
    let world = service_fixture();
    let mark = |upto| AckMark {
        user: user(1),
        device: device(1),
        upto: Seq::new(upto),
    };
    world.service.ack(&[mark(5), mark(3)]).await.unwrap();
    world.service.ack(&[mark(4)]).await.unwrap();
    let acked = world.service.acked(user(1)).await.unwrap();
    assert_eq!(acked, [(device(1), Seq::new(5))]);
}

#[tokio::test]
async fn a_backends_ack_does_not_go_past_the_head() {
    let world = service_fixture();
    let sent = world.service.send(from(1), to_user(2, "hi")).await;
    sent.unwrap();
    let ack = async |upto| {
        let acked = world
            .service
            .ack_up_to_head(user(2), device(1), Seq::new(upto));
        acked.await.unwrap();
        world.service.acked(user(2)).await.unwrap()
    };
    assert_eq!(ack(99).await, [(device(1), Seq::new(1))]);
}

#[tokio::test]
async fn a_page_for_a_caller_is_bounded_by_its_request_and_by_the_node() {
    let limits = Limits {
        page_items: 3,
        ..Limits::default()
    };
    let world = service_fixture_with(memory::stores(), limits, ServerPolicy::default());
    for text in ["1", "2", "3", "4", "5"] {
        let sent = world.service.send(from(1), to_user(2, text)).await;
        sent.unwrap();
    }
    let page = async |after, items| {
        let page = world.service.inbox_page(user(2), Seq::new(after), items);
        let page = page.await.unwrap();
        let seqs = page.items.iter().map(|(seq, _)| seq.get());
        (seqs.collect::<Vec<_>>(), page.more)
    };
    assert_eq!(page(0, None).await, (vec![1, 2, 3], true));
    assert_eq!(page(3, None).await, (vec![4, 5], false));
    assert_eq!(page(0, Some(2)).await, (vec![1, 2], true));
    assert_eq!(page(0, Some(9)).await, (vec![1, 2, 3], true));
}

#[tokio::test]
async fn a_room_numbers_its_messages_and_may_be_the_backends() {
    let draft = |persist| RoomDraft {
        room: RoomId::new(1).unwrap(),
        mentions: Vec::new(),
        kind: 1,
        content: MessageContent("hi".into()),
        persist,
    };
    let open = service_fixture();
    let push = |sender, persist| open.service.push_room(sender, draft(persist));
    assert_eq!(push(from(1), true).await, Ok(Seq::new(1)));
    assert_eq!(push(MessageSender::Business, false).await, Ok(Seq::new(2)));
    assert!(open.inbox(1).await.is_empty());
    let policy = ServerPolicy {
        room: RoomPush::Business,
        ..ServerPolicy::default()
    };
    let closed = service_fixture_with(memory::stores(), Limits::default(), policy);
    let refused = closed.service.push_room(from(1), draft(true)).await;
    assert_eq!(refused.unwrap_err().code(), 7);
    let backend = closed
        .service
        .push_room(MessageSender::Business, draft(true))
        .await;
    assert!(backend.is_ok());
}

#[tokio::test]
async fn a_broadcast_is_one_delivery_batch() {
    let world = service_fixture();
    let content = MessageContent("all".into());
    let push = world.service.push_all(MessageSender::Business, 1, content);
    push.await.unwrap();
    let deliveries = world.sink.batches.lock().unwrap();
    let [DeliveryBatch::Everyone { envelope }] = &deliveries[..] else {
        panic!("one broadcast, not {deliveries:?}");
    };
    assert_eq!(envelope.message.receiver, MessageReceiver::Everyone);
    assert_eq!(envelope.message.sent_at, UnixTimestamp(5_000));
}

#[tokio::test]
async fn a_revocation_reaches_the_connection() {
    let world = service_fixture();
    world
        .service
        .disconnect(user(1), Some(device(1)), "revoked")
        .await
        .unwrap();
    let closed = world.sink.closed.lock().unwrap();
    assert_eq!(*closed, [(user(1), Some(device(1)))]);
}

#[tokio::test]
async fn the_directory_asks_once_for_many() {
    let world = service_fixture();
    let directory = world.service.directory();
    let askers = (0..20).map(|_| directory.person(user(1)));
    for person in futures_util::future::join_all(askers).await {
        assert!(person.unwrap().is_some());
    }
    assert_eq!(*world.backend.calls.lock().unwrap(), 1);
    let users: Vec<UserId> = (1..=100).map(user).collect();
    assert_eq!(directory.profiles(&users).await.len(), 100);
    assert_eq!(directory.profiles(&users).await.len(), 100);
    assert_eq!(*world.backend.calls.lock().unwrap(), 2);
    assert!(!directory.exists(user(9_999)).await.unwrap());
    assert!(!directory.exists(user(9_999)).await.unwrap());
    assert_eq!(*world.backend.calls.lock().unwrap(), 3);
    *world.backend.down.lock().unwrap() = true;
    assert_eq!(
        directory.exists(user(500)).await,
        Err(RequestRefusal::Unavailable)
    );
    *world.backend.down.lock().unwrap() = false;
    assert_eq!(directory.exists(user(500)).await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn a_page_shows_cached_profiles_while_the_backend_is_down() {
    let world = service_fixture();
    let directory = world.service.directory();
    assert_eq!(directory.profiles(&[user(1)]).await.len(), 1);
    *world.backend.down.lock().unwrap() = true;
    let asked = *world.backend.calls.lock().unwrap();
    for _ in 0..3 {
        let found = directory.profiles(&[user(1), user(2)]).await;
        assert_eq!(found[&user(1)].nickname, "name1");
        assert_eq!(found.len(), 1);
    }
    assert_eq!(*world.backend.calls.lock().unwrap(), asked + 1);
    *world.backend.down.lock().unwrap() = false;
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(directory.profiles(&[user(1), user(2)]).await.len(), 2);
    world.stop().await;
}

/// The content was copied a second time for every message of a room.
#[tokio::test]
async fn a_rooms_content_is_the_one_that_was_passed() {
    let world = service_fixture();
    let room = RoomId::new(1).unwrap();
    let content = MessageContent(Bytes::from(vec![b'x'; 100]));
    let draft = RoomDraft {
        room,
        mentions: Vec::new(),
        kind: 1,
        content: content.clone(),
        persist: true,
    };
    world
        .service
        .push_room(MessageSender::Business, draft)
        .await
        .unwrap();
    let rooms = &world.service.stores().room;
    let kept = rooms.history(room, Seq::ZERO, PageLimit::items(9)).await;
    let kept = kept.unwrap().items;
    let same = kept[0].envelope.message.content.0.as_ptr();
    assert!(std::ptr::eq(same, content.0.as_ptr()));
}
