//! The HTTP/JSON API of a cluster: each node serves it, and event streams go on at another node.

#![expect(
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    reason = "a failed expectation panics: this is code for tests"
)]

use std::net::SocketAddr;

use gimlet_kit::random_phone;
use serde_json::{Value, json};

use crate::cluster::{ClusterNode, NodeCluster, NodeRole};
use crate::http_api::{ApiEvents, ApiUser, call, post, send, sign_in};
use crate::jwt::{API_KEY, sign_jwt};

fn http(nodes: &[ClusterNode]) -> Vec<SocketAddr> {
    nodes.iter().map(|node| node.ports().http).collect()
}

/// Each node answers every kind of request, by a node that has the role if it lacks it itself.
pub async fn the_http_api_is_the_same_on_every_node(cluster: NodeCluster) {
    let connect = http(&cluster.connect);
    let others = [http(&cluster.logic), http(&cluster.business)].concat();
    let (alice, bob) = (random_phone(), random_phone());
    for (n, addr) in connect.iter().chain(&others).enumerate() {
        let (alice, bob) = (sign_in(*addr, &alice).await, sign_in(*addr, &bob).await);
        let name = json!({"nickname": format!("alice {n}")});
        let me = call(*addr, "PATCH", "/v1/me", &alice.token, &name)
            .await
            .ok();
        assert_eq!(me["nickname"], name["nickname"]);
        let group = json!({"name": "us", "member_ids": [bob.id]});
        let group = post(*addr, "/v1/groups", &alice.token, &group).await;
        let group = group["group_id"].as_str().expect("an id").to_owned();
        let text = format!("hi {n}");
        let body = json!({"to_group": group, "content": {"type": "text", "text": text}});
        let sent = post(*addr, "/v1/messages", &alice.token, &body).await;
        assert_eq!(sent["seq"], (n + 1).to_string());
        let path = format!("/v1/inbox?after={n}&wait=10");
        let inbox = call(*addr, "GET", &path, &bob.token, &Value::Null)
            .await
            .ok();
        assert_eq!(inbox["entries"][0]["message"]["content"]["text"], text);
        let path = format!("/v1/groups/{group}/members");
        let members = call(*addr, "GET", &path, &bob.token, &Value::Null)
            .await
            .ok();
        assert_eq!(members["members"].as_array().map(Vec::len), Some(2));
        let wrong = call(*addr, "GET", "/v1/me", "1.1.wrong", &Value::Null).await;
        assert_eq!((wrong.status, &wrong.json["code"]), (401, &json!(10_000)));
        let out = call(*addr, "POST", "/v1/sign-out", &bob.token, &Value::Null).await;
        assert_eq!(out.status, 204, "{out:?}");
        let gone = call(*addr, "GET", "/v1/groups", &bob.token, &Value::Null).await;
        assert_eq!(gone.status, 401);
    }
    for addr in others {
        let alice = sign_in(addr, &alice).await;
        let refused = call(addr, "GET", "/v1/inbox/events", &alice.token, &Value::Null).await;
        assert_eq!(refused.status, 501);
        let detail = refused.json["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("connect role"), "{detail}");
    }
}

/// A key that a command puts into MySQL beside the running nodes is valid on each of them.
pub async fn a_key_created_beside_running_nodes_is_valid_on_all_of_them(cluster: NodeCluster) {
    let create = [
        "key",
        "create",
        "--name",
        "shop",
        "--scope",
        "users:read",
        "--json",
    ];
    let output = cluster.command(&create).expect("the program starts");
    let created: Value = serde_json::from_slice(&output.stdout).expect("an object");
    let key = created["key"]
        .as_str()
        .unwrap_or_else(|| panic!("{output:?}"));
    let nodes = [&cluster.connect, &cluster.logic, &cluster.business].map(|nodes| http(nodes));
    for addr in nodes.concat() {
        let user = sign_in(addr, &random_phone()).await.id;
        let path = format!("/v1/users/{user}");
        let profile = call(addr, "GET", &path, key, &Value::Null).await.ok();
        assert_eq!(profile["user_id"], user);
        let ban = json!({"reason": "spam"});
        let refused = call(addr, "PUT", &format!("{path}/ban"), key, &ban).await;
        assert_eq!(refused.status, 403, "{refused:?}");
    }
    let id = created["key_id"].as_str().unwrap_or_default();
    let revoked = cluster
        .command(&["key", "revoke", id])
        .expect("the program starts");
    assert!(revoked.status.success(), "{revoked:?}");
    let listed = cluster
        .command(&["key", "list", "--json"])
        .expect("the program starts");
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("an object");
    let keys = listed["keys"].as_array().expect("keys");
    let ours = keys.iter().find(|it| it["key_id"] == created["key_id"]);
    assert_eq!(
        ours.map(|it| &it["is_valid"]),
        Some(&json!(false)),
        "{listed}"
    );
}

/// A JWT that is revoked at one node is refused by all of them, and the stream that it opened at another
/// node ends.
pub async fn a_revoked_jwt_is_refused_on_every_node(cluster: NodeCluster) {
    let connect = http(&cluster.connect);
    let nodes = [
        connect.clone(),
        http(&cluster.logic),
        http(&cluster.business),
    ]
    .concat();
    let id: u32 = rand::random();
    let user = ApiUser {
        id: id.to_string(),
        token: sign_jwt(&json!({"sub": id, "device": "9", "jti": "one"})),
    };
    let status = async |addr: SocketAddr| {
        let answer = call(addr, "GET", "/v1/inbox", &user.token, &Value::Null).await;
        answer.status
    };
    for addr in &nodes {
        assert_eq!(status(*addr).await, 200);
    }
    let mut events = ApiEvents::open(connect[1], &user, None).await;
    let path = format!("/v1/users/{id}/jwts/revoke");
    let revoked = call(nodes[0], "POST", &path, API_KEY, &json!({"jti": "one"})).await;
    assert_eq!(revoked.status, 204, "{revoked:?}");
    for addr in &nodes {
        assert_eq!(status(*addr).await, 401);
    }
    assert_eq!(events.entry().await, None, "the stream has ended");
}

/// A long poll at a node is answered when another node stores an entry.
pub async fn a_long_poll_gets_an_entry_that_another_node_stored(cluster: NodeCluster) {
    let nodes = [http(&cluster.connect), http(&cluster.logic)].concat();
    let first = nodes[0];
    let (alice, bob) = (
        sign_in(first, &random_phone()).await,
        sign_in(first, &random_phone()).await,
    );
    for (n, addr) in nodes.iter().enumerate() {
        let path = format!("/v1/inbox?after={n}&wait=10");
        let waiting = call(*addr, "GET", &path, &bob.token, &Value::Null);
        let text = n.to_string();
        let sending = send(nodes[(n + 1) % nodes.len()], &alice, &bob, &text);
        let (inbox, ()) = tokio::join!(waiting, sending);
        assert_eq!(inbox.ok()["entries"][0]["message"]["content"]["text"], text);
    }
}

/// A client whose node is killed goes on at another node after its last event.
pub async fn a_stream_goes_on_at_another_node_without_loss_or_repeat(mut cluster: NodeCluster) {
    let nodes = http(&cluster.connect);
    let role = if cluster.logic.is_empty() {
        NodeRole::Whole
    } else {
        NodeRole::Connect
    };
    let (alice, bob) = (
        sign_in(nodes[0], &random_phone()).await,
        sign_in(nodes[1], &random_phone()).await,
    );
    let (mut seen, mut last) = (Vec::new(), None);
    for round in 0..4 {
        let (here, there) = (round % 2, (round + 1) % 2);
        let mut events = ApiEvents::open(nodes[here], &bob, last.as_deref()).await;
        for n in 0..10 {
            // The sends come from the node that lives on.
            send(nodes[there], &alice, &bob, &format!("{round}.{n}")).await;
            // Some entries are not read before the kill.
            if n < 7 {
                let (id, text) = events.entry().await.expect("an entry");
                seen.push(text);
                last = Some(id);
            }
        }
        cluster.connect[here].kill().expect("a kill");
        // Entries that had arrived are still read: they count as seen.
        while let Some((id, text)) = events.entry().await {
            seen.push(text);
            last = Some(id);
        }
        let mut events = ApiEvents::open(nodes[there], &bob, last.as_deref()).await;
        while seen.len() < (round + 1) * 10 {
            let (id, text) = events.entry().await.expect("an entry");
            seen.push(text);
            last = Some(id);
        }
        cluster.restart(role, here).await.expect("a restart");
    }
    let want = (0..4).flat_map(|round| (0..10).map(move |n| format!("{round}.{n}")));
    assert_eq!(seen, want.collect::<Vec<_>>());
}
