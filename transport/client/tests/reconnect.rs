//! Tests the client against a server that disconnects, skips, repeats and refuses on demand.

mod fake_server;

use std::time::Duration;

use fake_server::{
    EPOCH, FakeServer, client, entry, in_room, next, nothing, page, seqs_until, soon, stored, until,
};
use gimlet_client::pb::PackageType as Kind;
use gimlet_client::{
    ClientCursor, ClientError, ClientEvent, CursorStore as _, FileCursor, MessageContent,
    MessageTarget, ServerEndpoint, SupersededPolicy, pb,
};
use prost::Message as _;

const BOB: MessageTarget = MessageTarget::User(2);

#[tokio::test]
async fn pages_then_live_then_the_rest_after_a_broken_connection() {
    for fake in [FakeServer::tcp().await, FakeServer::ws().await] {
        let (client, mut events) = client(fake.options()).await;
        let (mut conn, sync) = fake.welcome(EPOCH, 3).await;
        assert_eq!(sync.seq(), 0);
        assert!(matches!(
            next(&mut events).await,
            ClientEvent::Connected {
                epoch: EPOCH,
                head: 3
            }
        ));
        conn.answer(&sync, &page(1..=2, true)).await;
        let sync = conn.expect(Kind::PtSync).await;
        assert_eq!(sync.seq(), 2);
        conn.answer(&sync, &page(3..=3, false)).await;
        assert_eq!(seqs_until(&mut events, 3).await, [1, 2, 3]);
        assert!(matches!(
            next(&mut events).await,
            ClientEvent::CaughtUp { seq: 3 }
        ));
        conn.push(entry(4)).await;
        conn.push(entry(4)).await;
        assert_eq!(seqs_until(&mut events, 4).await, [4]);
        drop(conn);

        assert!(matches!(
            next(&mut events).await,
            ClientEvent::Disconnected { .. }
        ));
        let (mut conn, sync) = fake.welcome(EPOCH, 6).await;
        assert_eq!(sync.seq(), 4);
        conn.answer(&sync, &page(5..=6, false)).await;
        assert_eq!(seqs_until(&mut events, 6).await, [5, 6]);
        // The last event counts as handled once the next one is requested.
        until(&mut events, |event| {
            matches!(event, ClientEvent::CaughtUp { .. })
        })
        .await;
        conn.acked(6).await;
        client.close().await;
        assert!(soon(events.next()).await.is_none());
        while conn.next().await.is_some() {}
    }
}

#[tokio::test]
async fn a_gap_is_fetched_and_given_out_once() {
    let fake = FakeServer::tcp().await;
    let (_client, mut events) = client(fake.options()).await;
    let mut conn = fake.live().await;
    conn.push(entry(1)).await;
    conn.push(entry(4)).await;
    let sync = conn.expect(Kind::PtSync).await;
    assert_eq!(sync.seq(), 1);
    conn.push(entry(5)).await;
    conn.answer(&sync, &page(2..=4, false)).await;
    assert_eq!(seqs_until(&mut events, 5).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_lost_last_push_is_found_by_the_heartbeat() {
    let fake = FakeServer::tcp().await;
    let mut options = fake.options();
    options.heartbeat = Duration::from_millis(10);
    let (_client, mut events) = client(options).await;
    let mut conn = fake.live().await;
    let beat = conn.expect(Kind::PtHeartbeat).await;
    let answer = pb::HeartbeatOutput {
        epoch: EPOCH,
        head: 1,
    };
    conn.answer(&beat, &answer).await;
    let sync = loop {
        let asked = conn.next().await.unwrap();
        match asked.kind {
            Kind::PtSync => break asked,
            Kind::PtHeartbeat => conn.answer(&asked, &answer).await,
            _ => {}
        }
    };
    assert_eq!(sync.seq(), 0);
    conn.answer(&sync, &page(1..=1, false)).await;
    assert_eq!(seqs_until(&mut events, 1).await, [1]);
}

#[tokio::test]
async fn a_send_cut_off_is_repeated_with_its_id() {
    for fake in [FakeServer::tcp().await, FakeServer::ws().await] {
        let (client, mut events) = client(fake.options()).await;
        let mut conn = fake.live().await;
        let (sent, first) = tokio::join!(client.send(BOB, MessageContent::text("hi")), async {
            let first = conn.expect(Kind::PtSend).await.send();
            drop(conn);
            let (mut conn, sync) = fake.welcome(EPOCH, 1).await;
            // The first attempt was stored: it comes by SYNC, and the answer to the repeat says so.
            let mut own = entry(1);
            let sender = own.sender.as_mut().unwrap();
            (sender.sender_id, sender.device_id) = (1, 11);
            let mut own_page = page(1..=1, false);
            own_page.messages = vec![own];
            conn.answer(&sync, &own_page).await;
            let again = conn.expect(Kind::PtSend).await;
            assert_eq!(again.send(), first);
            conn.answer(&again, &stored(1, true)).await;
            conn.push(entry(2)).await;
            (first, conn)
        });
        let sent = sent.unwrap();
        assert!(sent.repeated);
        assert_eq!(sent.seq, 1);
        assert_eq!(first.0.client_message_id.len(), 36);
        assert!(first.0.is_persist && first.0.send_time > 1_600_000_000_000);
        let own = until(&mut events, |event| {
            matches!(event, ClientEvent::Message(_))
        })
        .await;
        assert!(matches!(own, ClientEvent::Message(m) if m.own && m.own_device && m.seq == 1));
        assert_eq!(seqs_until(&mut events, 2).await, [2]);
    }
}

#[tokio::test]
async fn the_own_entry_moves_the_cursor_without_an_event() {
    let fake = FakeServer::tcp().await;
    let (client, mut events) = client(fake.options()).await;
    let mut conn = fake.live().await;
    let (sent, conn) = tokio::join!(client.send(BOB, MessageContent::text("hi")), async {
        let asked = conn.expect(Kind::PtSend).await;
        // The entry after the own one arrives before the answer.
        conn.push(entry(2)).await;
        conn.answer(&asked, &stored(1, false)).await;
        conn
    });
    assert_eq!(sent.unwrap().seq, 1);
    assert_eq!(seqs_until(&mut events, 2).await, [2]);
    drop(conn);
    let work = async { until(&mut events, |_| false).await };
    let (_conn, sync) = tokio::select! {
        welcomed = fake.welcome(EPOCH, 2) => welcomed,
        _ = work => unreachable!("it waits for ever"),
    };
    assert_eq!(sync.seq(), 2);
}

#[tokio::test]
async fn refusals_are_repeated_or_given_back_by_what_they_mean() {
    let fake = FakeServer::tcp().await;
    let (client, _events) = client(fake.options()).await;
    let mut conn = fake.live().await;
    let (sent, mut conn) = tokio::join!(client.send(BOB, MessageContent::text("hi")), async {
        let mut ids = Vec::new();
        for (code, text) in [(14, "away"), (4, "who knows"), (8, "too many requests")] {
            let asked = conn.expect(Kind::PtSend).await;
            ids.push(asked.send().client_message_id);
            conn.refuse(&asked, code, text).await;
        }
        let asked = conn.expect(Kind::PtSend).await;
        ids.push(asked.send().client_message_id);
        ids.dedup();
        assert_eq!(ids.len(), 1);
        conn.answer(&asked, &stored(1, false)).await;
        conn
    });
    assert!(!sent.unwrap().repeated);
    let group = MessageTarget::Group(3);
    let (refused, ()) = tokio::join!(client.send(group, MessageContent::text("hi")), async {
        let asked = conn.expect(Kind::PtSend).await;
        conn.refuse(&asked, 10_011, "not a member").await;
    });
    assert!(matches!(
        refused,
        Err(ClientError::Refused { code: 10_011, .. })
    ));
}

#[tokio::test]
async fn a_send_without_a_server_ends_at_its_deadline() {
    // Bound but not listening, so that no other program gets the port meanwhile.
    let port = tokio::net::TcpSocket::new_v4().unwrap();
    port.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = port.local_addr().unwrap().to_string();
    let mut options = fake_server::options(ServerEndpoint::Tcp(address));
    options.deadline = Duration::from_millis(50);
    let (client, _events) = client(options).await;
    let error = client
        .send(BOB, MessageContent::text("hi"))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        ClientError::Deadline {
            maybe_done: false,
            ..
        }
    ));
    client.close().await;
    let error = client
        .send(BOB, MessageContent::text("hi"))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Closed));
}

#[tokio::test]
async fn dropping_the_events_ends_the_client() {
    let fake = FakeServer::tcp().await;
    let (client, events) = client(fake.options()).await;
    let mut conn = fake.live().await;
    drop(events);
    assert!(conn.next().await.is_none());
    let error = client
        .send(BOB, MessageContent::text("hi"))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Closed));
    client.close().await;
}

#[tokio::test]
async fn a_refused_token_is_the_end() {
    let fake = FakeServer::tcp().await;
    let (client, mut events) = client(fake.options()).await;
    let mut conn = fake.accept().await;
    let asked = conn.expect(Kind::PtSignIn).await;
    conn.refuse(&asked, 10_000, "unauthorized").await;
    assert!(matches!(
        next(&mut events).await,
        ClientEvent::SignedOut { code: 10_000, .. }
    ));
    assert!(soon(events.next()).await.is_none());
    let error = client
        .send(BOB, MessageContent::text("hi"))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Closed));
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_a_close_is_obeyed() {
    let fake = FakeServer::tcp().await;
    let (_client, mut events) = client(fake.options()).await;
    let mut conn = fake.accept().await;
    let asked = conn.expect(Kind::PtSignIn).await;
    conn.refuse(&asked, 14, "storage is away").await;
    let ClientEvent::Disconnected { reason, .. } = next(&mut events).await else {
        panic!("it should say that the sign-in failed");
    };
    assert!(reason.contains("storage is away"), "{reason}");
    let mut conn = fake.live().await;
    conn.close(pb::CloseCode::TooSlow, pb::ComeBack::Backoff)
        .await;
    let mut conn = fake.live().await;
    conn.close(pb::CloseCode::Superseded, pb::ComeBack::Never)
        .await;
    until(&mut events, |event| {
        matches!(event, ClientEvent::Superseded)
    })
    .await;
    assert!(soon(events.next()).await.is_none());
}

#[tokio::test]
async fn a_client_with_the_reconnect_policy_displaces_the_newer_one() {
    let fake = FakeServer::tcp().await;
    let mut options = fake.options();
    options.on_superseded = SupersededPolicy::TakeBack;
    let (_client, _events) = client(options).await;
    let mut conn = fake.live().await;
    conn.close(pb::CloseCode::Superseded, pb::ComeBack::Never)
        .await;
    fake.live().await;
}

#[tokio::test]
async fn another_history_starts_over() {
    let fake = FakeServer::tcp().await;
    let (_client, mut events) = client(fake.options()).await;
    let mut conn = fake.live().await;
    conn.push(entry(1)).await;
    assert_eq!(seqs_until(&mut events, 1).await, [1]);
    drop(conn);
    let (mut conn, sync) = fake.welcome(EPOCH + 1, 1).await;
    assert_eq!(sync.seq(), 0);
    let mut new = page(1..=1, false);
    new.epoch = EPOCH + 1;
    conn.answer(&sync, &new).await;
    let changed = until(&mut events, |event| {
        matches!(event, ClientEvent::HistoryChanged { .. })
    })
    .await;
    assert!(matches!(changed, ClientEvent::HistoryChanged { epoch } if epoch == EPOCH + 1));
    assert_eq!(seqs_until(&mut events, 1).await, [1]);
}

#[tokio::test]
async fn the_kept_cursor_is_what_was_handled_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cursor");
    let fake = FakeServer::tcp().await;
    let options = fake.options().cursor(FileCursor::new(&path));
    let (first, mut events) = client(options).await;
    let (mut conn, sync) = fake.welcome(EPOCH, 3).await;
    conn.answer(&sync, &page(1..=3, false)).await;
    // 2 was delivered, but the event after it was not requested.
    assert_eq!(seqs_until(&mut events, 2).await, [1, 2]);
    first.close().await;
    let kept = FileCursor::new(&path).load().unwrap();
    assert_eq!(
        kept,
        Some(ClientCursor {
            epoch: EPOCH,
            seq: 1
        })
    );

    let options = fake.options().cursor(FileCursor::new(&path));
    let (_second, mut events) = client(options).await;
    let (mut conn, sync) = fake.welcome(EPOCH, 3).await;
    assert_eq!(sync.seq(), 1);
    conn.answer(&sync, &page(2..=3, false)).await;
    assert_eq!(seqs_until(&mut events, 3).await, [2, 3]);
}

#[tokio::test]
async fn a_slow_application_gets_everything_and_may_send_meanwhile() {
    let fake = FakeServer::tcp().await;
    let mut options = fake.options();
    options.event_capacity = 1;
    let (client, mut events) = client(options).await;
    let mut conn = fake.live().await;
    for seq in 1..=40 {
        conn.push(entry(seq)).await;
    }
    // The application has taken no event yet. The answer comes after the pushes, and must still be
    // read.
    let (sent, mut conn) = tokio::join!(client.send(BOB, MessageContent::text("hi")), async {
        let asked = conn.expect(Kind::PtSend).await;
        conn.answer(&asked, &stored(41, false)).await;
        conn
    });
    assert_eq!(sent.unwrap().seq, 41);
    conn.push(entry(42)).await;
    let server = async {
        loop {
            let sync = conn.expect(Kind::PtSync).await;
            let from = sync.seq() + 1;
            conn.answer(&sync, &page(from..=42, false)).await;
        }
    };
    let seqs = tokio::select! {
        seqs = seqs_until(&mut events, 42) => seqs,
        () = server => unreachable!("it serves for ever"),
    };
    let without_own: Vec<_> = (1..=42).filter(|seq| *seq != 41).collect();
    assert_eq!(seqs, without_own);
}

#[tokio::test]
async fn a_room_is_followed_again_after_what_was_seen() {
    let fake = FakeServer::tcp().await;
    let (client, mut events) = client(fake.options()).await;
    let mut conn = fake.live().await;
    let (joined, mut conn) = tokio::join!(client.subscribe(5, 0), async {
        let asked = conn.expect(Kind::PtSubscribeRoom).await;
        conn.answer(&asked, &()).await;
        conn
    });
    joined.unwrap();
    conn.push(in_room(8)).await;
    conn.push(in_room(8)).await;
    until(
        &mut events,
        |event| matches!(event, ClientEvent::Room(m) if m.seq == 8),
    )
    .await;
    drop(conn);
    let (mut conn, sync) = fake.welcome(EPOCH, 0).await;
    conn.answer(&sync, &nothing()).await;
    let asked = conn.expect(Kind::PtSubscribeRoom).await;
    let again = pb::SubscribeRoomInput::decode(asked.data.clone()).unwrap();
    assert_eq!((again.room_id, again.seq), (5, 9));
    conn.answer(&asked, &()).await;
    conn.push(in_room(9)).await;
    let news = until(&mut events, |event| matches!(event, ClientEvent::Room(_))).await;
    assert!(
        matches!(news, ClientEvent::Room(m) if m.seq == 9),
        "8 was shown before"
    );
}

#[tokio::test]
async fn a_server_without_answers_is_disconnected() {
    let fake = FakeServer::tcp().await;
    let mut options = fake.options();
    options.heartbeat = Duration::from_millis(10);
    options.answer_timeout = Duration::from_millis(50);
    let (_client, mut events) = client(options).await;
    let _silent = fake.live().await;
    let lost = until(&mut events, |event| {
        matches!(event, ClientEvent::Disconnected { .. })
    })
    .await;
    let ClientEvent::Disconnected { reason, .. } = lost else {
        unreachable!("until gives what fits")
    };
    assert!(reason.contains("no answer"), "{reason}");
    fake.live().await;
}
