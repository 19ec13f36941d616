//! Invalid input: every piece gets a clear answer, and the server continues.

use gimlet_client::{ClientError, MessageDraft, MessageTarget, pb};
use gimlet_tests::scenario::{
    BareConnection, MatrixCell, MessageReceiver as _, ScenarioFixture, ScenarioWire,
};
use pb::PackageType as Kind;

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(bad_input,
        CoveredCells::Every => [
            grpc_says_what_is_wrong_too,
            half_a_packet_and_a_hang_up_harm_nobody,
        ],
        CoveredCells::Packets => [wrong_credentials_are_refused],
        CoveredCells::Protobuf => [
            what_is_no_packet_is_answered_and_the_third_closes,
            empty_frames_and_unknown_types_are_answered,
            before_sign_in_nothing_is_done,
            a_send_says_which_field_is_wrong,
            a_negative_sync_and_a_negative_room_are_refused,
        ],
        CoveredCells::Only(ScenarioWire::Ws) => [
            a_frame_too_long_closes_with_a_reason,
            a_request_that_is_no_websocket_gets_an_http_answer,
        ],
        CoveredCells::Only(ScenarioWire::Tcp) => [
            c24_a_frame_split_anywhere_is_one_frame,
            c20_what_comes_with_the_end_of_the_stream_is_still_done,
        ],
    )
}

/// Checks that the server still works: two users exchange a message.
async fn all_is_well(world: &ScenarioFixture) {
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    alice.phone.sends("still alive?").to(&bob).await;
    bob.phone.receives("still alive?").at(1).await;
}

async fn signed_in(world: &ScenarioFixture) -> BareConnection {
    let person = world.absent("Mallory").await;
    let mut bare = world.bare().await;
    bare.signs_in(&person.phone.who, 1).await;
    bare
}

async fn what_is_no_packet_is_answered_and_the_third_closes(cell: &MatrixCell) {
    let world = cell.start().await;
    let mut bare = signed_in(&world).await;
    for rubbish in [&b"\xff\xff\xff\xff"[..], b"GET / HTTP/1.1\r\n", &[0x0a; 40]] {
        bare.writes(rubbish).await;
        let answer = bare.answer().await;
        assert_eq!((answer.r#type(), answer.code), (Kind::PtUnknown, 10_001));
        assert!(!answer.message.is_empty());
    }
    let close = bare.ends().await.expect("told why");
    assert_eq!(close.code(), pb::CloseCode::Undecodable);
    assert_eq!(close.come_back(), pb::ComeBack::Never);
    all_is_well(&world).await;
}

///
async fn empty_frames_and_unknown_types_are_answered(cell: &MatrixCell) {
    let world = cell.start().await;
    let mut bare = signed_in(&world).await;
    bare.writes(b"").await;
    assert_eq!(bare.answer().await.code, 10_001);
    for kind in [-1, 6, 15, 17, 18, i32::MAX] {
        bare.writes(&gimlet_tests::scenario::packet(kind, 5, &pb::Empty {}))
            .await;
        let answer = bare.answer().await;
        assert_eq!(
            (answer.r#type, answer.request_id, answer.code),
            (kind, 5, 10_001)
        );
    }
    for kind in [
        Kind::PtSync,
        Kind::PtSend,
        Kind::PtSubscribeRoom,
        Kind::PtSignIn,
    ] {
        let input = pb::Input {
            r#type: kind.into(),
            request_id: 6,
            data: bytes::Bytes::from_static(b"\xff\xff\xff"),
        };
        bare.writes(&prost::Message::encode_to_vec(&input)).await;
        let answer = bare.answer().await;
        assert_eq!(
            (answer.r#type(), answer.request_id, answer.code),
            (kind, 6, 10_001)
        );
    }
    assert_eq!(bare.beats().await.code, 0, "the connection lives");
}

async fn before_sign_in_nothing_is_done(cell: &MatrixCell) {
    let world = cell.start().await;
    let mut bare = world.bare().await;
    for kind in [
        Kind::PtSync,
        Kind::PtHeartbeat,
        Kind::PtSend,
        Kind::PtSubscribeRoom,
    ] {
        let answer = bare.asks(kind, 5, &pb::Empty {}).await;
        assert_eq!(
            (answer.r#type(), answer.request_id, answer.code),
            (kind, 5, 10_000)
        );
    }
    let person = world.absent("Bob").await;
    bare.signs_in(&person.phone.who, 1).await;
}

async fn wrong_credentials_are_refused(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.absent("Alice").await, world.absent("Bob").await);
    let mut bare = world.bare().await;
    let good = bob.phone.who.clone();
    let mut bad = vec![good.clone(); 5];
    bad[0].token = "0".into();
    bad[1].token = String::new();
    bad[2].token.clone_from(&alice.phone.who.token);
    bad[3].user_id = alice.id;
    bad[4].device_id = alice.phone.who.device_id;
    for who in &bad {
        let refused = bare.tries_to_sign_in(who, 1).await;
        assert_eq!(refused.code, 10_000, "{who:?}: {}", refused.message);
    }
    for (user_id, device_id) in [(0, 1), (-1, 1), (bob.id, 0), (bob.id, -7)] {
        let who = gimlet_client::DeviceCredentials {
            user_id,
            device_id,
            token: "x".into(),
        };
        let refused = bare.tries_to_sign_in(&who, 1).await;
        assert_eq!(refused.code, 10_001, "{who:?}");
        assert!(refused.message.contains("id is"), "{}", refused.message);
    }
    bare.signs_in(&good, 1).await;
}

/// A change that makes a valid request invalid.
type RequestChange = fn(&mut pb::SendMessageReq);

async fn a_send_says_which_field_is_wrong(cell: &MatrixCell) {
    let world = cell.start().await;
    let mut bare = signed_in(&world).await;
    let right = pb::SendMessageReq {
        receiver_type: 1,
        receiver_id: 1,
        message_type: 1,
        is_persist: true,
        ..pb::SendMessageReq::default()
    };
    let wrong: [(RequestChange, i32, &str); 9] = [
        (|it| it.receiver_id = 0, 10_001, "receiver_id"),
        (|it| it.receiver_id = -1, 10_001, "receiver_id"),
        (|it| it.receiver_id = i64::MAX, 10_016, "user"),
        (|it| it.receiver_type = 0, 10_001, "receiver_type"),
        (|it| it.receiver_type = 3, 10_001, "PushRoom"),
        (|it| it.receiver_type = 77, 10_001, "receiver_type"),
        (|it| it.to_user_ids = vec![-4], 10_001, "to_user_ids"),
        (
            |it| it.client_message_id = "x".repeat(65),
            10_001,
            "client_message_id",
        ),
        (
            |it| it.message_content = vec![0; 61_441].into(),
            10_001,
            "content",
        ),
    ];
    for (n, (change, code, word)) in wrong.into_iter().enumerate() {
        let mut request = right.clone();
        change(&mut request);
        let answer = bare.asks(Kind::PtSend, 40, &request).await;
        assert_eq!(answer.code, code, "{n}: {}", answer.message);
        assert!(answer.message.contains(word), "{n}: {}", answer.message);
    }
    assert!(bare.syncs(0).await.is_empty(), "nothing was stored");
}

async fn a_negative_sync_and_a_negative_room_are_refused(cell: &MatrixCell) {
    let world = cell.start().await;
    let mut bare = signed_in(&world).await;
    for seq in [-1, i64::MIN] {
        let answer = bare.asks(Kind::PtSync, 5, &pb::SyncInput { seq }).await;
        assert_eq!(answer.code, 10_001);
        assert!(answer.message.contains("seq"), "{}", answer.message);
    }
    for (room_id, seq) in [(-1, 0), (5, -1)] {
        let input = pb::SubscribeRoomInput { room_id, seq };
        let answer = bare.asks(Kind::PtSubscribeRoom, 5, &input).await;
        assert_eq!(answer.code, 10_001, "{}", answer.message);
    }
    // Acks have no answer, and invalid ones have no effect.
    for ack in [-1, 0, i64::MIN, i64::MAX, 12] {
        bare.acks(ack).await;
    }
    assert_eq!(bare.beats().await.code, 0);
}

async fn grpc_says_what_is_wrong_too(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    let api = alice.phone.api();
    for id in [0, -1, i64::MIN] {
        assert_eq!(api.group_members(id).await.unwrap_err().code, 10_001);
        assert_eq!(api.agree(id).await.unwrap_err().code, 10_001);
    }
    let nobody = world.api().friends().await.unwrap_err();
    assert_eq!(nobody.code, 10_000);
    assert!(nobody.message.contains("user_id"), "{nobody}");
    let mut thief = bob.phone.who.clone();
    thief.device_id = alice.phone.who.device_id;
    let theft = world.api().signed_in(thief).friends().await;
    assert_eq!(theft.unwrap_err().code, 10_000);
    let unknown = world.api().sign_in("13700000000", "000000", 999_999).await;
    assert_eq!(unknown.unwrap_err().code, 10_014);
    let wrong = world
        .api()
        .sign_in("13700000000", "123456", alice.phone.who.device_id)
        .await;
    assert_eq!(wrong.unwrap_err().code, 10_010, "S-1");
    assert_eq!(api.search_user("").await.unwrap_err().code, 10_001);
    for key in ["A", "Al"] {
        assert_eq!(api.search_user(key).await.unwrap(), [], "S-10");
    }
    // The library refuses these itself.
    let too_long = MessageDraft::new(
        bob.receiver(),
        gimlet_client::MessageContent::text("x".repeat(70_000)),
    );
    let refused = alice.phone.client().send_draft(too_long).await;
    assert!(
        matches!(refused, Err(ClientError::TooLarge { .. })),
        "{refused:?}"
    );
    let nobody = alice
        .phone
        .sends("x")
        .to(&MessageTarget::User(0))
        .tried()
        .await;
    assert!(matches!(nobody, Err(ClientError::Invalid(_))), "{nobody:?}");
}

async fn half_a_packet_and_a_hang_up_harm_nobody(cell: &MatrixCell) {
    let world = cell.start().await;
    for length in [1, 2, 3, 20] {
        match world.wire() {
            ScenarioWire::Tcp | ScenarioWire::Tls => {
                let mut bare = world.bare().await;
                let bytes = [&[0, 50][..], &[8; 40]].concat();
                bare.try_write_bytes(&bytes[..length]).await.unwrap();
            }
            ScenarioWire::Ws | ScenarioWire::Wss | ScenarioWire::Json | ScenarioWire::Events => {
                use tokio::io::AsyncWriteExt as _;
                let (addrs, wire) = (world.addrs(), world.wire());
                let is_http = wire == ScenarioWire::Events;
                let addr = if is_http { addrs.http } else { addrs.ws };
                let mut stream = tokio::net::TcpStream::connect(addr.unwrap()).await.unwrap();
                let bytes = b"GET /ws HTTP/1.1\r\nHost: localhost\r\n";
                stream.write_all(&bytes[..length]).await.unwrap();
            }
        }
    }
    all_is_well(&world).await;
}

/// C-23.
async fn a_frame_too_long_closes_with_a_reason(cell: &MatrixCell) {
    let world = cell.start().await;
    let mut bare = signed_in(&world).await;
    let _ = bare.try_write(&vec![0; 70_000]).await;
    let close = bare.ends().await.expect("told why");
    assert_eq!(close.code(), pb::CloseCode::FrameTooLarge);
    all_is_well(&world).await;
}

async fn a_request_that_is_no_websocket_gets_an_http_answer(cell: &MatrixCell) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = cell.start().await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n", "426"),
        ("no http at all\r\n\r\n", "400"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(world.addrs().ws.unwrap())
            .await
            .unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        gimlet_tests::scenario::soon("an answer", read)
            .await
            .unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{request}: {answer}"
        );
    }
    all_is_well(&world).await;
}

async fn c24_a_frame_split_anywhere_is_one_frame(cell: &MatrixCell) {
    let world = cell.start().await;
    let mut bare = signed_in(&world).await;
    let body = gimlet_tests::scenario::packet(Kind::PtHeartbeat.into(), 5, &pb::Empty {});
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    for byte in length.iter().chain(&body) {
        bare.try_write_bytes(&[*byte]).await.unwrap();
    }
    assert_eq!(bare.answer().await.request_id, 5);
}

/// The send arrives together with the end of the stream, and is still stored.
async fn c20_what_comes_with_the_end_of_the_stream_is_still_done(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.absent("Alice").await, world.person("Bob").await);
    let mut bare = world.bare().await;
    bare.signs_in(&alice.phone.who, 1).await;
    let send = pb::SendMessageReq {
        receiver_type: 1,
        receiver_id: bob.id,
        message_type: 1,
        message_content: bytes::Bytes::from_static(b"\x0a\x03bye"),
        is_persist: true,
        ..pb::SendMessageReq::default()
    };
    bare.says(Kind::PtSend, 9, &send).await;
    drop(bare);
    bob.phone.receives("bye").at(1).await;
}
