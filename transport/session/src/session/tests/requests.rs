//! Tests each packet and its answer.

use super::*;
use crate::link::UrlSignIn;

#[tokio::test(start_paused = true)]
async fn a_client_of_gim_gets_exactly_what_gim_answers() {
    let house = test_server();
    let mut client = house.connect(WireKind::Tcp);
    for (output, kind) in [
        (client.sign_in(2, 7, "t", 0).await, SIGN_IN),
        (client.heartbeat().await, HEARTBEAT),
    ] {
        let expected = pb::Output {
            r#type: kind,
            request_id: output.request_id,
            ..Default::default()
        };
        assert_eq!(output, expected);
    }
    assert_eq!(client.sync(0).await, pb::SyncOutput::default());
    house.store(3, 2, "hi").await;
    let push = client.pushed().await;
    assert!(push.message_id.is_empty());
    assert_eq!(push.seq, 1);
    assert_eq!(client.sync(0).await.messages, [push]);
}

#[tokio::test(start_paused = true)]
async fn a_client_of_ours_learns_the_epoch_and_the_head() {
    let house = test_server();
    house.store(3, 2, "hi").await;
    let mut client = house.connect(WireKind::Tcp);
    let output = client.sign_in(2, 7, "t", 1).await;
    let signed_in = pb::SignInOutput::decode(output.data).unwrap();
    assert_eq!(signed_in.head, 1);
    assert_ne!(signed_in.epoch, 0);
    let page = client.sync(0).await;
    assert_eq!((page.epoch, page.head, page.floor), (signed_in.epoch, 1, 0));
    assert_eq!(page.messages[0].message_id.len(), 16);
    let beat = pb::HeartbeatOutput::decode(client.heartbeat().await.data).unwrap();
    assert_eq!((beat.epoch, beat.head), (signed_in.epoch, 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_before_sign_in_and_the_answer_says_so() {
    let house = test_server();
    let mut client = house.connect(WireKind::Tcp);
    for kind in [SYNC, HEARTBEAT, SUBSCRIBE, SEND, 99, 0] {
        let id = client.send(kind, &pb::Empty {});
        let output = client.output().await;
        assert_eq!(
            (output.r#type, output.request_id, output.code),
            (kind, id, 10000)
        );
    }
}

/// gim's clients dereference the message of every packet of a push's type.
#[tokio::test(start_paused = true)]
async fn g1_an_ack_is_never_answered_whatever_the_state() {
    let house = test_server();
    let acks = |client: &mut LinkClient| {
        for device_ack in [0, 1, -1, i64::MAX] {
            let receive_time = 0;
            client.send(
                MESSAGE,
                &pb::MessageAck {
                    device_ack,
                    receive_time,
                },
            );
        }
        // The data is not a MessageACK.
        client.frame(&b"\x08\x04\x1a\x01\xff"[..]);
    };
    for wire in [WireKind::Tcp, WireKind::WebSocket] {
        let mut client = house.connect(wire);
        acks(&mut client);
        assert_eq!(client.heartbeat().await.code, 10000);
        client.sign_in(2, 7, "wrong", 0).await;
        acks(&mut client);
        assert_eq!(client.heartbeat().await.code, 10000);
        client.sign_in(2, 7, "t", 0).await;
        acks(&mut client);
        assert_eq!(client.heartbeat().await.code, 0);
        client.sync(0).await;
        acks(&mut client);
        assert_eq!(client.heartbeat().await.code, 0);
        // The device signs in elsewhere, and this connection is no longer served.
        let _newer = house.live(2, 7).await;
        acks(&mut client);
        assert_eq!(client.heartbeat().await.code, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_types_and_wrong_fields_are_refused_and_the_connection_lives() {
    let house = test_server();
    let mut client = house.client(2, 7).await;
    for kind in [0, 6, 17, 99, -1] {
        let id = client.send(kind, &pb::Empty {});
        let output = client.output().await;
        assert_eq!(
            (output.r#type, output.request_id, output.code),
            (kind, id, 10001)
        );
    }
    client.send(SYNC, &pb::SyncInput { seq: -1 });
    let output = client.output().await;
    assert_eq!((output.r#type, output.code), (SYNC, 10001));
    assert_eq!(
        output.message,
        "seq is -1; it is 0 or the number of a message"
    );
    client.send(
        SUBSCRIBE,
        &pb::SubscribeRoomInput {
            room_id: -1,
            seq: 0,
        },
    );
    assert_eq!(client.output().await.code, 10001);
    client.send(SEND, &to_user(0, "hi"));
    let output = client.output().await;
    assert_eq!((output.r#type, output.code), (SEND, 10001));
    client.heartbeat().await;
}

#[tokio::test(start_paused = true)]
async fn sends_are_pipelined_and_answered_in_order_and_others_wait_for_them() {
    let house = test_server();
    let mut alice = house.live(2, 7).await;
    let mut bob = house.live(3, 8).await;
    let sent: Vec<i64> = (0..100)
        .map(|n| alice.send(SEND, &to_user(3, &format!("text {n}"))))
        .collect();
    let beat = alice.send(HEARTBEAT, &pb::Empty {});
    for (n, id) in sent.into_iter().enumerate() {
        let output = alice.output().await;
        assert_eq!(
            (output.r#type, output.request_id, output.code),
            (SEND, id, 0)
        );
        let answer = pb::SendMessageResp::decode(output.data).unwrap();
        assert_eq!(answer.seq, i64::try_from(n).unwrap() + 1);
        assert_eq!((answer.message_id.len(), answer.repeated), (16, false));
        let push = bob.pushed().await;
        assert_eq!(push.seq, answer.seq);
        assert_eq!(push.message_id, answer.message_id);
        assert_eq!(push.message_content, format!("text {n}"));
        assert_eq!(push.sender.unwrap().device_id, 7);
    }
    assert_eq!(alice.output().await.request_id, beat);
    alice.send(SEND, &to_user(3, "text 5"));
    let again = pb::SendMessageResp::decode(alice.output().await.data).unwrap();
    assert_eq!((again.seq, again.repeated), (6, true));
}

#[tokio::test(start_paused = true)]
async fn the_senders_other_device_gets_its_copy_and_the_sending_one_does_not() {
    let house = test_server();
    let mut phone = house.live(2, 7).await;
    let mut laptop = house.live(2, 8).await;
    phone.send(SEND, &to_user(3, "hi"));
    assert_eq!(phone.output().await.r#type, SEND);
    assert_eq!(laptop.pushed().await.seq, 1);
    phone.heartbeat().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_refused_and_a_right_one_is_still_welcome() {
    let house = test_server();
    let mut client = house.connect(WireKind::Tcp);
    let output = client.sign_in(2, 7, "wrong", 0).await;
    assert_eq!(output.code, 10000);
    assert!(output.data.is_empty());
    assert_eq!(client.sign_in(0, 7, "t", 0).await.code, 10001);
    assert_eq!(client.sign_in(2, 7, "t", 0).await.code, 0);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_guesses_is_refused_for_a_minute() {
    let house = test_server();
    let mut client = house.connect(WireKind::Tcp);
    for n in 0..100 {
        assert_eq!(client.sign_in(100 + n, 7, "wrong", 0).await.code, 10000);
    }
    assert_eq!(client.sign_in(2, 7, "t", 0).await.code, 8);
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    assert_eq!(client.sign_in(2, 7, "t", 0).await.code, 0);
}

#[tokio::test(start_paused = true)]
async fn who_guesses_in_a_users_name_shuts_out_itself_and_nobody_else() {
    let house = test_server();
    let mut known = house.live(2, 7).await;
    let mut stranger = house.connect_from([203, 0, 113, 1], WireKind::Tcp);
    for _ in 0..10 {
        assert_eq!(stranger.sign_in(2, 8, "wrong", 0).await.code, 10000);
    }
    assert_eq!(stranger.sign_in(2, 8, "wrong", 0).await.code, 8);
    // A new token of the user from the user's own address is accepted at once.
    let mut fresh = house.connect_from([203, 0, 113, 99], WireKind::Tcp);
    assert_eq!(fresh.sign_in(2, 8, "t", 0).await.code, 0);
    // The user's connection stays open, and its token opens another one.
    known.heartbeat().await;
    assert_eq!(house.client(2, 7).await.heartbeat().await.code, 0);
    // At the guessing address this user has to wait; other users do not.
    assert_eq!(stranger.sign_in(2, 9, "t", 0).await.code, 8);
    assert_eq!(stranger.sign_in(3, 9, "t", 0).await.code, 0);
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    assert_eq!(stranger.sign_in(2, 9, "t", 0).await.code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_sign_in_as_another_and_is_only_that_from_then_on() {
    let house = test_server();
    let mut client = house.live(2, 7).await;
    assert_eq!(client.sign_in(3, 7, "t", 1).await.code, 0);
    client.sync(0).await;
    house.store(9, 2, "for 2").await;
    house.store(9, 3, "for 3").await;
    assert_eq!(client.pushed().await.message_content, "for 3");
    assert_eq!(client.sign_in(2, 8, "t", 1).await.code, 0);
    assert_eq!(client.sync(0).await.messages.len(), 1);
    assert_eq!(house.node.gateway().hub().connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_url_signs_in_without_an_answer_and_a_wrong_one_is_refused() {
    let house = test_server();
    let url = |token: &str| {
        SignInSource::FromUrl(Box::new(UrlSignIn {
            user_id: "2".into(),
            device_id: "7".into(),
            token: token.into(),
            request_id: Some("5".into()),
        }))
    };
    let mut client = house.connect_with(WireKind::WebSocket, url("t"));
    assert_eq!(client.sync(0).await, pb::SyncOutput::default());
    let mut client = house.connect_with(WireKind::WebSocket, url("wrong"));
    let output = client.output().await;
    assert_eq!(
        (output.r#type, output.request_id, output.code),
        (SIGN_IN, 5, 10000)
    );
    assert_eq!(client.sign_in(2, 7, "t", 0).await.code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_room_is_answered_first_and_then_its_history_comes_and_then_live() {
    use gimlet_core::id::RoomId;
    use gimlet_core::message::MessageContent;
    use gimlet_core::service::RoomDraft;

    let house = test_server();
    let say = |text: &'static str| {
        let draft = RoomDraft {
            room: RoomId::new(1).unwrap(),
            mentions: Vec::new(),
            kind: 1,
            content: MessageContent(text.into()),
            persist: true,
        };
        house
            .node
            .service()
            .push_room(MessageSender::Business, draft)
    };
    for text in ["one", "two", "three"] {
        say(text).await.unwrap();
    }
    let mut client = house.live(2, 7).await;
    let id = client.send(SUBSCRIBE, &pb::SubscribeRoomInput { room_id: 1, seq: 2 });
    let output = client.output().await;
    assert_eq!(
        (output.r#type, output.request_id, output.code),
        (SUBSCRIBE, id, 0)
    );
    assert!(output.data.is_empty());
    say("four").await.unwrap();
    for (text, seq) in [("two", 2), ("three", 3), ("four", 4)] {
        let push = client.pushed().await;
        assert_eq!((push.message_content, push.seq), (text.into(), seq));
        assert_eq!(
            (push.receiver_type, push.receiver_id, push.status),
            (3, 1, 0)
        );
    }
    client.send(SUBSCRIBE, &pb::SubscribeRoomInput { room_id: 0, seq: 0 });
    assert_eq!(client.output().await.code, 0);
    say("five").await.unwrap();
    client.heartbeat().await;
}
