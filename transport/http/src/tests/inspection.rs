//! The state of inboxes, the nodes, and the routes of the ops listener.

use super::forward::NodeOfCluster;
use super::*;

#[tokio::test(start_paused = true)]
async fn the_state_of_an_inbox_is_its_end_and_the_acks_of_its_devices() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let path = format!("/v1/users/{}/inbox", bob.id);
    let empty = json!({"head": "0", "floor": "0", "acks": []});
    assert_eq!(api.get(&path, KEY).await, empty);
    for text in ["one", "two"] {
        api.send_text(&alice, &bob, text).await;
    }
    api.post("/v1/inbox/ack", &bob.token, json!({"seq": "1"}))
        .await;
    let expected = json!({
        "head": "2", "floor": "0", "acks": [{"device_id": bob.device, "seq": "1"}],
    });
    assert_eq!(api.get(&path, KEY).await, expected);
}

#[tokio::test(start_paused = true)]
async fn the_nodes_are_those_that_the_answering_node_knows() {
    let alone = TestApi::start().get("/v1/nodes", KEY).await;
    assert_eq!(alone, json!({"nodes": []}));
    let here = json!({
        "address": "10.0.0.1:50000", "roles": ["connect"], "is_this_node": true, "is_reachable": true,
    });
    let gone = json!({
        "address": "10.0.0.2:50000", "roles": ["connect"], "is_this_node": false, "is_reachable": false,
    });
    let expected = json!({ "nodes": [here, gone] });
    for node in NodeOfCluster::ALL {
        let api = TestApi::of_cluster(node);
        assert_eq!(api.get("/v1/nodes", KEY).await, expected, "{node:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_ops_listener_has_the_operations_of_backends_and_no_other() {
    let (parts, node, clock) = parts();
    let keys = parts.keys.clone().unwrap();
    let ops = crate::backend_router(parts.clone());
    let api = TestApi::of(parts, node, clock, keys);
    let user = api.sign_in("100").await;
    let ask = async |method: Method, path: &str, bearer: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        let request = request.body(Body::empty()).unwrap();
        ops.clone().oneshot(request).await.unwrap().status()
    };
    let profile = format!("/v1/users/{}", user.id);
    assert_eq!(ask(Method::GET, &profile, KEY).await, StatusCode::OK);
    let refused = ask(Method::GET, &profile, &user.token).await;
    assert_eq!(refused, StatusCode::FORBIDDEN);
    for (method, path) in [
        (Method::GET, "/v1/me"),
        (Method::GET, "/v1/inbox/events"),
        (Method::GET, "/v1/inbox"),
        (Method::POST, "/v1/sign-in"),
        (Method::POST, "/v1/messages"),
        (Method::POST, "/v1/files"),
        (Method::GET, "/docs"),
    ] {
        for bearer in [KEY, user.token.as_str()] {
            let status = ask(method.clone(), path, bearer).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        }
    }
}
