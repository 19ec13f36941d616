//! Sessions in JSON: the same rules as with protobuf, in another form.

use gimlet_proto::pb::CloseCode;
use serde_json::{Value, json};

use super::*;

impl TestServer {
    fn connect_json(&self) -> LinkClient {
        let (link, client) = link::link(WireKind::WebSocket, FrameCodec::Json);
        self.serve(link, [192, 0, 2, 1], SignInSource::BySignIn);
        client
    }

    /// Connects a client that is signed in and live.
    async fn live_json(&self, user: i64, device: i64) -> LinkClient {
        let mut client = self.connect_json();
        let token = format!("{user}.{device}.t");
        let answer = client
            .ask(&json!({"type": "sign_in", "token": token}))
            .await;
        assert_eq!(answer.get("error"), None);
        let page = client.ask(&json!({"type": "sync"})).await;
        assert_eq!(page["more"], false);
        client
    }
}

impl LinkClient {
    async fn ask(&mut self, packet: &Value) -> Value {
        self.frame(packet.to_string());
        self.packet().await
    }

    async fn packet(&mut self) -> Value {
        let frame = self.next_frame().await.expect("the connection is open");
        serde_json::from_slice(&frame).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_conversation_is_that_of_protobuf() {
    let server = test_server();
    let mut alice = server.live_json(2, 7).await;
    let mut bob = server.live_json(3, 8).await;
    let mut carol = server.live(3, 9).await;
    let sent = alice
        .ask(&json!({"type": "send", "request_id": 5, "to_user": "3",
            "content": {"type": "text", "text": "hi"}}))
        .await;
    assert_eq!(
        (&sent["type"], &sent["request_id"], &sent["seq"]),
        (&json!("send"), &json!(5), &json!("1"))
    );
    let pushed = bob.packet().await;
    assert_eq!(
        (&pushed["type"], &pushed["seq"]),
        (&json!("message"), &json!("1"))
    );
    assert_eq!(
        pushed["message"]["content"],
        json!({"type": "text", "text": "hi"})
    );
    assert_eq!(pushed["message"]["id"], sent["message_id"]);
    let same = carol.pushed().await;
    assert_eq!(
        (same.seq, &same.message_content[..]),
        (1, &b"\x0a\x02hi"[..])
    );
    let head = bob
        .ask(&json!({"type": "heartbeat", "request_id": 9}))
        .await;
    assert_eq!(
        (&head["request_id"], &head["head"]),
        (&json!(9), &json!("1"))
    );
    let page = bob.ask(&json!({"type": "sync", "request_id": 10})).await;
    let expected = json!([{"seq": "1", "message": pushed["message"]}]);
    assert_eq!(page["entries"], expected);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_packet_and_the_connection_lives() {
    let server = test_server();
    let mut client = server.connect_json();
    let answer = client.ask(&json!({"type": "sync", "request_id": 1})).await;
    assert_eq!(
        (&answer["type"], &answer["error"]["code"]),
        (&json!("sync"), &json!(10_000))
    );
    let token = json!({"type": "sign_in", "request_id": 2, "token": "2.7.wrong"});
    assert_eq!(client.ask(&token).await["error"]["code"], 10_000);
    let mut client = server.live_json(2, 7).await;
    for (packet, kind) in [
        (json!({"type": "sned", "request_id": 3}), "error"),
        (
            json!({"type": "send", "request_id": 3, "to_usr": "1"}),
            "send",
        ),
        (json!({"type": "ack", "request_id": 3, "seq": -1}), "error"),
        (
            json!({"type": "sync", "request_id": 3, "after": true}),
            "sync",
        ),
    ] {
        let answer = client.ask(&packet).await;
        assert_eq!(
            (&answer["type"], &answer["request_id"]),
            (&json!(kind), &json!(3))
        );
        assert_eq!(answer["error"]["code"], 10_001, "{answer}");
    }
    let head = client.ask(&json!({"type": "heartbeat"})).await;
    assert_eq!(head["head"], "0");
}

#[tokio::test(start_paused = true)]
async fn the_third_undecodable_text_closes() {
    let server = test_server();
    let mut client = server.live_json(2, 7).await;
    for frame in [
        "hello",
        "[1]",
        "{\"type\":\"sync\",\"request_id\":4,\"a\":1,\"a\":1}",
    ] {
        client.frame(frame);
        let answer = client.packet().await;
        assert_eq!(
            (&answer["type"], &answer["error"]["code"]),
            (&json!("error"), &json!(10_001))
        );
    }
    let close = client.packet().await;
    let code = i32::from(CloseCode::Undecodable);
    assert_eq!(
        (&close["type"], &close["code"]),
        (&json!("close"), &json!(code))
    );
    assert_eq!(close["come_back"], "never");
    assert_eq!(client.next_frame().await, None);
    assert_eq!(client.close_frame().map(|it| i32::from(it.0)), Some(code));
}

#[tokio::test(start_paused = true)]
async fn a_close_before_the_sign_in_says_why() {
    let server = test_server();
    let mut client = server.connect_json();
    let close = client.packet().await;
    assert_eq!(close["type"], "close");
    assert_eq!(close["code"], i32::from(CloseCode::SignInTooLate));
}
