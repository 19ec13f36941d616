//! Nodes without the role for a request: the answer is that of a node with all roles.

use std::sync::Mutex;

use super::*;
use crate::{
    ApiNodes, ApiRequest, ApiRole, ClusterNode, ForwardError, ForwardFuture, ForwardedApi,
    NodeListFuture,
};

/// A node of a cluster with one node for each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeOfCluster {
    Connect,
    Logic,
    Business,
}

impl NodeOfCluster {
    pub(super) const ALL: [Self; 3] = [Self::Connect, Self::Logic, Self::Business];
}

/// A call: the role, the user, the request, and its time limit.
type SeenCall = (ApiRole, Option<UserId>, ApiRequest, Duration);

/// The other nodes, in this process.
#[derive(Debug, Default)]
struct OtherNodes {
    logic: Option<ForwardedApi>,
    business: Option<ForwardedApi>,
    /// Failure of every call.
    fails: Option<ForwardError>,
    requests: Mutex<Vec<SeenCall>>,
}

impl ApiNodes for OtherNodes {
    fn has(&self, role: ApiRole) -> bool {
        self.fails.is_some() || self.of(role).is_some()
    }

    fn call<'a>(
        &'a self,
        role: ApiRole,
        user: Option<UserId>,
        request: &'a ApiRequest,
        within: Duration,
    ) -> ForwardFuture<'a> {
        let called = (role, user, request.clone(), within);
        self.requests.lock().unwrap().push(called);
        Box::pin(async move {
            if let Some(error) = self.fails {
                return Err(error);
            }
            let node = self.of(role).ok_or(ForwardError::NotReached)?;
            Ok(node.answer(request.clone()).await)
        })
    }

    fn list(&self) -> NodeListFuture<'_> {
        let nodes = [("10.0.0.1:50000", true), ("10.0.0.2:50000", false)];
        let nodes = nodes.map(|(address, is_here)| ClusterNode {
            address: address.into(),
            roles: vec!["connect"],
            is_here,
            is_reachable: is_here,
        });
        Box::pin(std::future::ready(nodes.to_vec()))
    }
}

impl OtherNodes {
    const fn of(&self, role: ApiRole) -> Option<&ForwardedApi> {
        match role {
            ApiRole::Logic => self.logic.as_ref(),
            ApiRole::Business => self.business.as_ref(),
        }
    }
}

impl TestApi {
    /// Starts a cluster in memory and returns this node of it.
    pub(super) fn of_cluster(which: NodeOfCluster) -> Self {
        let (whole, node, clock) = parts();
        let keys = whole.keys.clone().unwrap();
        let with = |nodes: OtherNodes| Some(Arc::new(nodes) as Arc<dyn ApiNodes>);
        // A cycle of nodes would never be dropped, so each node knows copies of the others.
        let business = |logic| HttpApi {
            service: None,
            gateway: None,
            nodes: with(OtherNodes {
                logic,
                ..OtherNodes::default()
            }),
            ..whole.clone()
        };
        let logic = HttpApi {
            accounts: None,
            files: None,
            gateway: None,
            nodes: with(OtherNodes {
                business: Some(crate::forwarded(business(None))),
                ..OtherNodes::default()
            }),
            ..whole.clone()
        };
        let api = match which {
            NodeOfCluster::Business => business(Some(crate::forwarded(logic))),
            NodeOfCluster::Logic => logic,
            NodeOfCluster::Connect => HttpApi {
                service: None,
                accounts: None,
                files: None,
                tokens: None,
                keys: None,
                nodes: with(OtherNodes {
                    business: Some(crate::forwarded(business(None))),
                    logic: Some(crate::forwarded(logic)),
                    ..OtherNodes::default()
                }),
                ..whole
            },
        };
        Self::of(api, node, clock, keys)
    }
}

impl TestApi {
    /// Starts a node that has files and no role, beside one that has all roles, and returns its files.
    pub(super) fn storing_for_others() -> (Self, ApiFiles) {
        let (whole, node, clock) = parts();
        let (keys, files) = (whole.keys.clone().unwrap(), whole.files.clone().unwrap());
        let others = crate::forwarded(HttpApi {
            files: None,
            ..whole.clone()
        });
        let api = HttpApi {
            service: None,
            gateway: None,
            accounts: None,
            tokens: None,
            keys: None,
            nodes: Some(Arc::new(OtherNodes {
                logic: Some(others.clone()),
                business: Some(others),
                ..OtherNodes::default()
            })),
            ..whole
        };
        (Self::of(api, node, clock, keys), files)
    }
}

/// Starts a node that has no role, beside these nodes.
fn bare(nodes: &Arc<OtherNodes>) -> TestApi {
    let (whole, node, clock) = parts();
    let keys = whole.keys.clone().unwrap();
    let api = HttpApi {
        service: None,
        gateway: None,
        accounts: None,
        tokens: None,
        keys: None,
        nodes: Some(Arc::clone(nodes) as _),
        ..whole
    };
    TestApi::of(api, node, clock, keys)
}

/// Story of a client in its first minutes.
async fn story(api: &TestApi) {
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let device = api.post("/v1/devices", "", json!({})).await["device_id"].clone();
    let body = json!({"phone_number": "100", "code": "000000", "device_id": device});
    let again = api.post("/v1/sign-in", "", body).await;
    assert_eq!(
        (&again["device_id"], &again["is_new"]),
        (&device, &json!(false))
    );
    let change = json!({"nickname": "alice"});
    let changed = api.call(Method::PATCH, "/v1/me", &alice.token, Some(&change));
    assert_eq!(changed.await.ok()["nickname"], "alice");
    let group = json!({"name": "us", "member_ids": [bob.id]});
    let group = api.post("/v1/groups", &alice.token, group).await["group_id"].clone();
    let message = json!({"to_group": group, "content": {"type": "text", "text": "hi"}});
    let key = [("Idempotency-Key", "once")];
    let mut sent = Vec::new();
    for _ in 0..2 {
        let answer = api.respond(
            Method::POST,
            "/v1/messages",
            &alice.token,
            &key,
            Some(&message),
        );
        sent.push(TestAnswer::of(answer.await).await.ok()["message_id"].clone());
    }
    assert_eq!(sent[0], sent[1], "the header has come along");
    let inbox = api.get("/v1/inbox?wait=5&limit=1", &bob.token).await;
    let entry = &inbox["entries"][0]["message"];
    assert_eq!(entry["content"]["text"], "hi");
    assert_eq!(entry["sender"]["nickname"], "alice");
    api.post("/v1/inbox/ack", &bob.token, json!({"seq": "1"}))
        .await;
    let tokens = format!("/v1/users/{}/tokens", bob.id);
    let issued = api.post(&tokens, KEY, json!({}));
    let token = issued.await["token"].as_str().unwrap().to_owned();
    assert_eq!(api.get("/v1/me", &token).await["user_id"], bob.id);
    api.call(Method::POST, "/v1/sign-out", &alice.token, None)
        .await;
    let refused = api.call(Method::GET, "/v1/groups", &alice.token, None);
    refused.await.refused(401, "the token is not valid");
}

#[tokio::test(start_paused = true)]
async fn a_client_sees_no_difference_between_the_nodes() {
    story(&TestApi::start()).await;
    for node in NodeOfCluster::ALL {
        story(&TestApi::of_cluster(node)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_node_serves_event_streams_and_others_say_where_they_are() {
    let connect = TestApi::of_cluster(NodeOfCluster::Connect);
    let (alice, bob) = (connect.sign_in("100").await, connect.sign_in("200").await);
    let mut events = connect.events("/v1/inbox/events", &bob, None).await;
    connect.send_text(&alice, &bob, "hi").await;
    assert_eq!(events.entry().await, ("1".into(), "hi".into()));
    for node in [NodeOfCluster::Logic, NodeOfCluster::Business] {
        let other = TestApi::of_cluster(node);
        let alice = other.sign_in("100").await;
        let refused = other.call(Method::GET, "/v1/inbox/events", &alice.token, None);
        refused.await.refused(501, "this node has no connect role");
    }
}

#[tokio::test(start_paused = true)]
async fn a_strangers_request_is_not_passed_on() {
    let nodes = Arc::new(OtherNodes {
        fails: Some(ForwardError::NotReached),
        ..OtherNodes::default()
    });
    let api = bare(&nodes);
    let refused = api.call(Method::GET, "/v1/me", "", None).await;
    refused.refused(401, "the header Authorization is missing");
    let large = json!({"phone_number": "1".repeat(300_000)});
    let refused = api.call(Method::POST, "/v1/users", "x", Some(&large)).await;
    refused.refused(413, "the body is longer than 262144 bytes");
    assert!(nodes.requests.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_to_the_node_of_its_user_and_has_its_time() {
    let nodes = Arc::new(OtherNodes {
        fails: Some(ForwardError::NotReached),
        ..OtherNodes::default()
    });
    let api = bare(&nodes);
    let acting = [("Gimlet-User", "8")];
    api.call(Method::GET, "/v1/inbox?wait=30&after=1", "7.1.t", None)
        .await;
    api.respond(Method::GET, "/v1/friends", KEY, &acting, None)
        .await;
    api.call(Method::GET, "/v1/inbox?wait=999999", KEY, None)
        .await;
    let requests = nodes.requests.lock().unwrap();
    let seen = requests.iter().map(|(_, user, request, within)| {
        let user = user.map(UserId::get);
        (user, request.path.as_str(), within.as_secs())
    });
    let want = [
        (Some(7), "/inbox?wait=30&after=1", 40),
        (Some(8), "/friends", 10),
        (None, "/inbox?wait=999999", 40),
    ];
    assert_eq!(seen.collect::<Vec<_>>(), want);
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_says_whether_it_may_be_repeated() {
    let cases = [
        (ForwardError::NotReached, Method::POST, 503),
        (ForwardError::Unanswered, Method::POST, 504),
        (ForwardError::Unanswered, Method::GET, 503),
        (ForwardError::Unserved, Method::GET, 501),
    ];
    for (error, method, status) in cases {
        let nodes = Arc::new(OtherNodes {
            fails: Some(error),
            ..OtherNodes::default()
        });
        let answer = bare(&nodes)
            .call(method.clone(), "/v1/groups", "7.1.t", None)
            .await;
        assert_eq!(answer.status.as_u16(), status, "{error:?} {method}");
        assert!(answer.json["detail"].is_string(), "{answer:?}");
    }
}

/// Addresses that are configured in a circle end after two steps.
#[tokio::test(start_paused = true)]
async fn a_request_is_not_passed_on_forever() {
    let (whole, _node, _) = parts();
    let none = HttpApi {
        service: None,
        gateway: None,
        accounts: None,
        tokens: None,
        ..whole
    };
    let mut last = crate::forwarded(none.clone());
    let mut counts = Vec::new();
    for _ in 0..5 {
        let nodes = Arc::new(OtherNodes {
            logic: Some(last),
            ..OtherNodes::default()
        });
        counts.push(Arc::clone(&nodes));
        last = crate::forwarded(HttpApi {
            nodes: Some(nodes),
            ..none.clone()
        });
    }
    let request = ApiRequest {
        method: "GET".into(),
        path: "/groups".into(),
        headers: vec![gimlet_proto::node::HttpHeader {
            name: "authorization".into(),
            value: "Bearer 1.1.t".into(),
        }],
        ..ApiRequest::default()
    };
    let reply = last.answer(request).await;
    assert_eq!(reply.status, 501);
    let passed = counts.iter().map(|it| it.requests.lock().unwrap().len());
    assert_eq!(passed.sum::<usize>(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_request_of_a_node_is_refused() {
    let (api, _node, _) = parts();
    let api = crate::forwarded(api);
    for (method, path) in [("", "/me"), ("GET", " "), ("G T", "/me")] {
        let request = ApiRequest {
            method: method.into(),
            path: path.into(),
            ..ApiRequest::default()
        };
        assert_eq!(api.answer(request).await.status, 400, "{method:?} {path:?}");
    }
}
