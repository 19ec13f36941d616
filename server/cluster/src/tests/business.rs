//! A third-party business server, working and failing.

use std::collections::HashMap;
use std::sync::Mutex;

use gimlet_core::business::BusinessBackend as _;
use gimlet_core::error::RequestRefusal;
use gimlet_proto::pb;
use gimlet_proto::pb::business_int_server::{BusinessInt, BusinessIntServer};
use tonic::{Request, Response, Status, async_trait};

use super::*;
use crate::RemoteBusiness;

/// Behaviour of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ServerBehaviour {
    #[default]
    Well,
    Slow,
    Broken,
    Raving,
}

#[derive(Clone, Debug, Default)]
struct FakeBusinessServer {
    mood: Arc<Mutex<ServerBehaviour>>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl FakeBusinessServer {
    async fn mood(&self, call: &str, secret: Option<&str>) -> Result<ServerBehaviour, Status> {
        self.calls
            .lock()
            .unwrap()
            .push(format!("{call} {}", secret.unwrap_or("-")));
        let mood = *self.mood.lock().unwrap();
        match mood {
            ServerBehaviour::Slow => std::future::pending().await,
            ServerBehaviour::Broken => Err(Status::internal("the database is on fire")),
            ServerBehaviour::Well | ServerBehaviour::Raving => Ok(mood),
        }
    }
}

fn secret<T>(request: &Request<T>) -> Option<&str> {
    request.metadata().get("authorization")?.to_str().ok()
}

#[async_trait]
impl BusinessInt for FakeBusinessServer {
    async fn auth(&self, request: Request<pb::AuthReq>) -> Result<Response<pb::Empty>, Status> {
        self.mood("Auth", secret(&request)).await?;
        match request.into_inner().token.as_str() {
            "right" => Ok(Response::new(pb::Empty {})),
            _ => Err(Status::unauthenticated("no such token")),
        }
    }

    async fn get_user(
        &self,
        _: Request<pb::GetUserReq>,
    ) -> Result<Response<pb::GetUserResp>, Status> {
        Err(Status::unimplemented("nobody asks for one"))
    }

    async fn get_users(
        &self,
        request: Request<pb::GetUsersReq>,
    ) -> Result<Response<pb::GetUsersResp>, Status> {
        let mood = self.mood("GetUsers", secret(&request)).await?;
        let known = request
            .into_inner()
            .user_ids
            .into_keys()
            .filter(|id| *id < 100);
        let shift = i64::from(mood == ServerBehaviour::Raving);
        let users: HashMap<i64, pb::User> = known
            .map(|id| {
                let user = pb::User {
                    user_id: id + shift,
                    nickname: format!("user {id}"),
                    ..pb::User::default()
                };
                (id, user)
            })
            .collect();
        Ok(Response::new(pb::GetUsersResp { users }))
    }
}

async fn foreign() -> (TestGrpcServer, FakeBusinessServer) {
    let foreign = FakeBusinessServer::default();
    let service = foreign.clone();
    let served = TestGrpcServer::routes(|_, _| Routes::new(BusinessIntServer::new(service))).await;
    (served, foreign)
}

fn client(servers: &[&TestGrpcServer], secret: Option<&str>) -> RemoteBusiness {
    let addresses: Vec<String> = servers.iter().map(|it| it.address()).collect();
    RemoteBusiness::new(
        &addresses,
        &NodeCredentials::new(secret, ClusterId::default()).unwrap(),
    )
    .unwrap()
}

#[tokio::test]
async fn its_tokens_and_users_are_taken_at_their_word() {
    let (served, foreign) = foreign().await;
    let business = client(&[&served], Some("s3cret"));
    assert_eq!(business.auth(user(1), device(10), "right").await, Ok(()));
    let wrong = business
        .auth(user(1), device(10), "wrong")
        .await
        .unwrap_err();
    assert_eq!(wrong.code(), 10_000);
    let mut users = business
        .users(&[user(1), user(2), user(100)])
        .await
        .unwrap();
    users.sort_by_key(|it| it.user);
    let names: Vec<_> = users
        .iter()
        .map(|it| it.profile.nickname.as_str())
        .collect();
    assert_eq!(names, ["user 1", "user 2"]);
    assert_eq!(foreign.calls.lock().unwrap()[0], "Auth Bearer s3cret");
    drop(business);
    served.stop().await;
}

#[tokio::test]
async fn a_server_that_is_unwell_is_unavailable() {
    let (served, foreign) = foreign().await;
    let business = client(&[&served], None);
    for mood in [
        ServerBehaviour::Broken,
        ServerBehaviour::Slow,
        ServerBehaviour::Raving,
    ] {
        *foreign.mood.lock().unwrap() = mood;
        assert_eq!(
            business.users(&[user(1)]).await,
            Err(RequestRefusal::Unavailable),
            "{mood:?}"
        );
    }
    *foreign.mood.lock().unwrap() = ServerBehaviour::Slow;
    let late = business.auth(user(1), device(10), "right").await;
    assert_eq!(late, Err(RequestRefusal::Unavailable));
    *foreign.mood.lock().unwrap() = ServerBehaviour::Well;
    assert_eq!(business.auth(user(1), device(10), "right").await, Ok(()));
    drop(business);
    served.stop().await;
    let down = RemoteBusiness::new(&["127.0.0.1:1".into()], &caller()).unwrap();
    let nobody = down.auth(user(1), device(10), "right").await;
    assert_eq!(nobody, Err(RequestRefusal::Unavailable));
}

#[tokio::test]
async fn another_server_is_asked_when_one_fails() {
    let (one, first) = foreign().await;
    let (two, second) = foreign().await;
    let business = client(&[&one, &two], None);
    *first.mood.lock().unwrap() = ServerBehaviour::Broken;
    for _ in 0..6 {
        assert_eq!(business.auth(user(1), device(10), "right").await, Ok(()));
    }
    assert_eq!(second.calls.lock().unwrap().len(), 6);
    assert!(
        first.calls.lock().unwrap().len() <= 1,
        "it rests after a failure"
    );
    drop(business);
    one.stop().await;
    two.stop().await;
}
