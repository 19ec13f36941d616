//! Requests of the HTTP API between nodes.

use std::sync::Mutex;
use std::time::Duration;

use gimlet_proto::node;
use gimlet_proto::node::api_node_server::ApiNodeServer;
use gimlet_proto::node::connect_node_server::ConnectNodeServer;

use super::*;
use crate::{ApiCallError, ApiHandler, ApiReplyFuture, ApiServer, RemoteApi};

/// Time limit of a call.
const WITHIN: Duration = Duration::from_secs(5);

/// An API that answers with the path, or never.
#[derive(Debug, Default)]
struct EchoApi {
    paths: Mutex<Vec<String>>,
}

impl ApiHandler for EchoApi {
    fn answer(&self, request: node::ApiRequest) -> ApiReplyFuture<'_> {
        self.paths.lock().unwrap().push(request.path.clone());
        Box::pin(async move {
            if request.path == "/hangs" {
                std::future::pending::<()>().await;
            }
            node::ApiReply {
                status: 200,
                headers: Vec::new(),
                body: request.path.into_bytes().into(),
            }
        })
    }
}

async fn server(cluster: ClusterId) -> (TestGrpcServer, Arc<EchoApi>) {
    let api = Arc::<EchoApi>::default();
    let handler = Arc::clone(&api);
    let server = TestGrpcServer::routes(|_, _| {
        Routes::new(ApiNodeServer::new(ApiServer::new(handler, cluster)))
    });
    (server.await, api)
}

fn remote(addresses: &[String]) -> RemoteApi {
    RemoteApi::new(addresses, &caller()).unwrap()
}

fn request(path: &str) -> node::ApiRequest {
    node::ApiRequest {
        method: "POST".into(),
        path: path.into(),
        ..node::ApiRequest::default()
    }
}

/// Returns the address of a port where nobody listens.
async fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_users_requests_go_to_one_node() {
    let (first, first_api) = server(ClusterId::default()).await;
    let (second, second_api) = server(ClusterId::default()).await;
    let remote = remote(&[first.address(), second.address()]);
    for of in 1..=20 {
        for _ in 0..3 {
            let path = format!("/{of}");
            let request = request(&path);
            let reply = remote.call(Some(user(of)), &request, false, WITHIN);
            assert_eq!(reply.await.unwrap().body, path);
        }
    }
    let mut counts = std::collections::BTreeMap::new();
    for api in [first_api, second_api] {
        let paths = api.paths.lock().unwrap();
        assert!(!paths.is_empty(), "both have users");
        for path in paths.iter() {
            counts
                .entry(path.clone())
                .or_insert_with(Vec::new)
                .push(Arc::as_ptr(&api));
        }
    }
    for (path, nodes) in counts {
        assert!(
            nodes.len() == 3 && nodes.iter().all(|it| *it == nodes[0]),
            "{path}"
        );
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_node_that_is_gone_is_passed_over() {
    let (there, _) = server(ClusterId::default()).await;
    let remote = remote(&[closed_port().await, there.address(), closed_port().await]);
    let request = request("/x");
    for of in 1..=9 {
        let reply = remote.call(Some(user(of)), &request, false, WITHIN);
        assert_eq!(reply.await.unwrap().status, 200);
    }
    there.stop().await;
}

#[tokio::test]
async fn a_change_is_not_sent_twice_and_a_read_is() {
    let (first, first_api) = server(ClusterId::default()).await;
    let (second, second_api) = server(ClusterId::default()).await;
    let remote = remote(&[first.address(), second.address()]);
    let received = || {
        let count = |api: &EchoApi| api.paths.lock().unwrap().len();
        count(&first_api) + count(&second_api)
    };
    let short = Duration::from_millis(200);
    let hangs = request("/hangs");
    let change = remote.call(None, &hangs, false, short).await;
    assert_eq!(change, Err(ApiCallError::Unanswered));
    assert_eq!(received(), 1);
    let read = remote.call(None, &hangs, true, short).await;
    assert_eq!(read, Err(ApiCallError::Unanswered));
    assert_eq!(received(), 3);
}

#[tokio::test]
async fn without_a_node_a_request_has_certainly_not_been_executed() {
    let remote = remote(&[closed_port().await]);
    let refused = remote.call(None, &request("/x"), false, WITHIN).await;
    assert_eq!(refused, Err(ApiCallError::NotReached));
}

#[tokio::test]
async fn a_server_that_is_not_gimlets_is_recognised() {
    let node = node(&gimlet_core::memory::stores());
    let other = TestGrpcServer::routes(|tasks, stop| {
        let here = gimlet_core::id::NodeId::boot("here");
        let gateway = node.gateway().clone();
        let cluster = ClusterId::default();
        let server = ConnectServer::new(gateway, here, cluster, tasks.clone(), stop.clone());
        Routes::new(ConnectNodeServer::new(server))
    })
    .await;
    let remote = remote(&[other.address()]);
    let refused = remote.call(None, &request("/x"), false, WITHIN).await;
    assert_eq!(refused, Err(ApiCallError::Unserved));
    other.stop().await;
    node.stop().await;
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused() {
    let id = |number| ClusterId::new(Arc::new(std::sync::atomic::AtomicU64::new(number)));
    let (there, api) = server(id(1)).await;
    let caller = NodeCredentials::new(None, id(2)).unwrap();
    let remote = RemoteApi::new(&[there.address()], &caller).unwrap();
    let refused = remote.call(None, &request("/x"), false, WITHIN).await;
    assert_eq!(refused, Err(ApiCallError::NotReached));
    assert!(api.paths.lock().unwrap().is_empty());
    there.stop().await;
}
