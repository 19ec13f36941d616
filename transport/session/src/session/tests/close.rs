//! Tests when a connection ends, and what its client receives about it.

use std::sync::Arc;
use std::time::Duration;

use gimlet_core::id::{Generation, NodeId};
use gimlet_core::store::Route;
use gimlet_listen::admission::ConnectionLimiter;
use gimlet_listen::{AdmittedConnection, ClientStream, EntranceState, attend};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::super::ConnectionSession;
use super::*;
use crate::link::{ConnectedLink, LinkError, WireFraming};
use crate::serve::SessionProtocol;

fn close_output(outputs: &[pb::Output]) -> pb::CloseOutput {
    let output = outputs.last().expect("a PT_CLOSE");
    assert_eq!(output.r#type, CLOSE);
    pb::CloseOutput::decode(output.data.clone()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_sign_in_is_closed_after_ten_seconds() {
    let house = test_server();
    let mut client = house.connect(WireKind::WebSocket);
    let start = Instant::now();
    client.send(HEARTBEAT, &pb::Empty {});
    let (outputs, close) = client.closed().await;
    assert_eq!(
        outputs.len(),
        1,
        "the answer to the heartbeat, without a PT_CLOSE"
    );
    assert_eq!(close.unwrap().0, 4100);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn who_failed_to_sign_in_stays_until_the_idle_limit() {
    let house = test_server();
    let mut client = house.connect(WireKind::Tcp);
    client.sign_in(2, 7, "wrong", 0).await;
    let start = Instant::now();
    client.closed().await;
    assert_eq!(start.elapsed().as_secs(), 11 * 60);
}

#[tokio::test(start_paused = true)]
async fn any_packet_keeps_a_connection_and_silence_ends_it() {
    let house = test_server();
    let mut client = house.live(2, 7).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_mins(11)).await;
        client.send(
            MESSAGE,
            &pb::MessageAck {
                device_ack: 0,
                receive_time: 0,
            },
        );
    }
    let start = Instant::now();
    let (outputs, close) = client.closed().await;
    assert_eq!(start.elapsed().as_secs(), 12 * 60);
    let told = close_output(&outputs);
    assert_eq!(told.code(), pb::CloseCode::Idle);
    assert_eq!(told.come_back(), pb::ComeBack::NowWithJitter);
    assert_eq!(close.unwrap().0, 4001);
    assert_eq!(house.node.gateway().hub().connections(), 0);
}

/// Proxies close connections that are silent for a minute; gim's clients send a heartbeat every
/// four.
#[tokio::test(start_paused = true)]
async fn a_quiet_websocket_shows_signs_of_life_and_a_quiet_tcp_connection_does_not() {
    let house = test_server();
    let mut ws = house.live(2, 7).await;
    let mut tcp = house.connect(WireKind::Tcp);
    tcp.sign_in(3, 8, "t", 0).await;
    tokio::time::sleep(Duration::from_secs(500)).await;
    assert_eq!(ws.signs_of_life(), 9);
    assert_eq!(tcp.signs_of_life(), 0);
    ws.heartbeat().await;
}

/// The close frame itself belongs to the wire; the session has to let the wire write one.
#[tokio::test(start_paused = true)]
async fn who_breaks_the_rules_of_the_wire_gets_what_was_written_before() {
    let house = test_server();
    let mut client = house.live(2, 7).await;
    house.store(3, 2, "hi").await;
    client.fail(LinkError::protocol("a reserved bit is set"));
    let (outputs, _) = client.closed().await;
    assert_eq!(outputs.len(), 1);
    assert_eq!(message(&outputs[0]).seq, 1);
}

/// The rest of the output is in the inbox; the operating system must not keep it in memory.
#[tokio::test(start_paused = true)]
async fn a11_who_takes_nothing_for_two_minutes_is_closed_and_loses_nothing() {
    let house = test_server();
    let mut client = house.live(2, 7).await;
    client.stop_reading();
    for n in 0..3 {
        house.store(3, 2, &format!("text {n}")).await;
    }
    while client.held() == 0 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    // A slow client is not stuck: a frame taken after 90 s starts the two minutes anew.
    tokio::time::sleep(Duration::from_secs(90)).await;
    client.take_one();
    house.store(3, 2, "and another").await;
    let (_, close) = client.closed().await;
    assert_eq!(close.unwrap().0, 4102);
    assert!(client.is_aborted(), "pending output is discarded");
    let took = start.elapsed().as_secs();
    assert!((210..=213).contains(&took), "{took} s");
    let page = house.live_page(2, 7).await;
    assert_eq!(page.messages.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_third_frame_that_is_no_packet_closes() {
    let house = test_server();
    let mut client = house.client(2, 7).await;
    for _ in 0..3 {
        client.frame(&b"\xff\xff"[..]);
    }
    let (outputs, _) = client.closed().await;
    assert_eq!(outputs.len(), 4);
    for output in &outputs[..3] {
        assert_eq!(
            (output.r#type, output.request_id, output.code),
            (0, 0, 10001)
        );
    }
    assert_eq!(close_output(&outputs).code(), pb::CloseCode::Undecodable);
}

#[tokio::test(start_paused = true)]
async fn a_frame_over_the_limit_closes_and_says_so_to_who_can_hear_it() {
    let too_large = || LinkError::TooLarge {
        declared: 70_000,
        limit: 65_535,
    };
    let house = test_server();
    let mut ours = house.client(2, 7).await;
    ours.fail(too_large());
    let (outputs, _) = ours.closed().await;
    assert_eq!(close_output(&outputs).code(), pb::CloseCode::FrameTooLarge);
    let mut gims = house.connect(WireKind::Tcp);
    gims.sign_in(3, 8, "t", 0).await;
    gims.fail(too_large());
    assert_eq!(gims.closed().await.0, []);
}

#[tokio::test(start_paused = true)]
async fn a_newer_connection_of_the_device_ends_the_older_one() {
    let house = test_server();
    let mut old = house.live(2, 7).await;
    let mut new = house.live(2, 7).await;
    let (outputs, close) = old.closed().await;
    assert_eq!(close_output(&outputs).code(), pb::CloseCode::Superseded);
    assert_eq!(close.unwrap().0, 4300);
    house.store(3, 2, "hi").await;
    assert_eq!(new.pushed().await.seq, 1);
}

/// A refusal would have the client ask its user to sign in again, although the token is right.
#[tokio::test(start_paused = true)]
async fn a_sign_in_that_a_newer_one_overtakes_is_closed_as_superseded() {
    let house = test_server();
    let elsewhere = Route {
        device: DeviceId::new(7).unwrap(),
        user: user(2),
        generation: Generation(99),
        node: NodeId::boot("elsewhere"),
        client: None,
    };
    let route = &house.stores.route;
    route.renew(&elsewhere.node).await.unwrap();
    route.claim(&elsewhere).await.unwrap();
    let input = |protocol| pb::SignInInput {
        device_id: 7,
        user_id: 2,
        token: "t".into(),
        protocol,
    };
    let mut client = house.connect(WireKind::WebSocket);
    client.send(SIGN_IN, &input(1));
    let (outputs, close) = client.closed().await;
    assert_eq!(close_output(&outputs).code(), pb::CloseCode::Superseded);
    assert_eq!(outputs.len(), 1, "{outputs:?}");
    assert_eq!(close.unwrap().0, 4300);
    let mut gims = house.connect(WireKind::WebSocket);
    assert_eq!(gims.sign_in(2, 7, "t", 0).await.code, 10000);
}

#[tokio::test(start_paused = true)]
async fn an_old_clients_superseded_connection_stays_open_without_an_idle_limit() {
    let house = test_server();
    let mut old = house.connect(WireKind::Tcp);
    old.sign_in(2, 7, "t", 0).await;
    old.sync(0).await;
    let mut new = house.connect(WireKind::Tcp);
    new.sign_in(2, 7, "t", 0).await;
    new.sync(0).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_mins(5)).await;
        new.heartbeat().await;
    }
    house.store(3, 2, "hi").await;
    assert_eq!(new.pushed().await.seq, 1);
    old.send(SYNC, &pb::SyncInput { seq: 0 });
    assert_eq!(
        old.output().await.code,
        10000,
        "nothing is served here any more"
    );
    new.hang_up();
    assert_eq!(old.closed().await.0, [], "it ends with its successor");
}

#[tokio::test(start_paused = true)]
async fn a_disconnected_client_gets_the_reason_even_if_it_did_not_read() {
    let house = test_server();
    let mut client = house.live(2, 7).await;
    client.stop_reading();
    for n in 0..40 {
        house
            .store(3, 2, &format!("{n}{}", "x".repeat(20_000)))
            .await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let hub = house.node.gateway().hub();
    assert_eq!(hub.disconnect(user(2), None, "signed out"), 1);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(hub.connections(), 0, "it is not served any more");
    client.read_again();
    let (outputs, _) = client.closed().await;
    let told = close_output(&outputs);
    assert_eq!(told.code(), pb::CloseCode::TokenRevoked);
    assert_eq!(
        (told.message.as_str(), told.come_back()),
        ("signed out", pb::ComeBack::SignInAgain)
    );
}

#[tokio::test(start_paused = true)]
async fn nb8_a_client_disconnected_by_a_backend_gets_the_backends_reason() {
    let house = test_server();
    let mut client = house.live(2, 7).await;
    let hub = house.node.gateway().hub();
    assert_eq!(hub.disconnect(user(2), None, "banned for spam"), 1);
    let (outputs, close) = client.closed().await;
    let told = close_output(&outputs);
    assert_eq!(told.code(), pb::CloseCode::Disconnected);
    assert_eq!(told.message, "banned for spam");
    assert_eq!(told.come_back(), pb::ComeBack::SignInAgain);
    assert_eq!(close.unwrap().0, 4202);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_tells_its_clients_and_answers_what_is_under_way() {
    let house = test_server();
    let mut signed_in = house.live(2, 7).await;
    let mut silent = house.connect(WireKind::WebSocket);
    let id = signed_in.send(SEND, &to_user(3, "hi"));
    while signed_in.untaken() > 0 {
        tokio::task::yield_now().await;
    }
    house.stop.cancel();
    house.node.gateway().close_all(Duration::from_secs(5));
    let (outputs, _) = signed_in.closed().await;
    assert_eq!(
        (outputs[0].r#type, outputs[0].request_id, outputs[0].code),
        (SEND, id, 0)
    );
    let told = close_output(&outputs);
    assert_eq!(told.code(), pb::CloseCode::ShuttingDown);
    assert!((0..=5000).contains(&told.after_ms));
    assert_eq!(silent.closed().await.1.unwrap().0, 4000);
    house.tasks.close();
    house.tasks.wait().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_is_small() {
    let house = test_server();
    let addr = ([127, 0, 0, 1], 9).into();
    let (link, _client) = link::link(WireKind::Tcp, FrameCodec::Protobuf);
    let link_size = size_of_val(&link);
    let session = size_of_val(&ConnectionSession::new(&house.sessions, link, addr)) - link_size;
    let permit = ConnectionLimiter::new(1, 1).enter(addr).unwrap();
    let sessions = Arc::new(SessionServer::new(
        house.sessions.gateway.clone(),
        SessionSettings::default(),
        CancellationToken::new(),
    ));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await;
    let shared = Arc::new(EntranceState::plain(SessionProtocol::new(NoLink, sessions)));
    let stop = CancellationToken::new();
    let task = attend(shared, socket.unwrap(), addr, permit, stop);
    let task = size_of_val(&task);
    println!("a session takes {session} bytes without its link, its task {task}");
    // A TCP link takes 120 bytes, and both together fit one block of 256.
    assert!(session <= 144, "{session}");
    // tokio adds 112 bytes and aligns tasks to 128: two steps of that are enough.
    assert!(task <= 144, "{task}");
}

struct NoLink;

impl WireFraming for NoLink {
    type Link = link::MemoryLink;

    async fn open(
        &self,
        _accepted: AdmittedConnection,
    ) -> Result<ConnectedLink<link::MemoryLink>, LinkError> {
        Err(LinkError::Truncated)
    }

    async fn refuse(&self, _stream: ClientStream, _after: Duration) {}
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_its_token() {
    let house = test_server();
    let mut lasting = house.live(3, 8).await;
    let mut brief = house.connect(WireKind::Tcp);
    assert_eq!(brief.sign_in(2, 7, "brief", 1).await.code, 0);
    let began = Instant::now();
    let output = brief.output().await;
    assert_eq!(output.r#type, CLOSE);
    let close = pb::CloseOutput::decode(output.data).unwrap();
    assert_eq!(close.code(), pb::CloseCode::TokenExpired);
    assert_eq!(close.come_back(), pb::ComeBack::SignInAgain);
    assert!(began.elapsed() >= Duration::from_secs(5));
    lasting.heartbeat().await;
}
