//! `BusinessExt` and `BusinessInt`, and the same services under their older names `UserExt` and
//! `UserInt`: the built-in business service over gRPC.

use std::net::IpAddr;
use std::sync::Arc;

use gimlet_core::business::{BuiltinBusiness, BusinessBackend as _, SignIn};
use gimlet_core::directory::ProfileDirectory;
use gimlet_core::error::RequestRefusal;
use gimlet_core::fanout::MessageFanout;
use gimlet_core::hub::{DEVICE_SWITCHED, SIGNED_OUT};
use gimlet_core::id::UserId;
use gimlet_core::service::rate::RateLimiter;
use gimlet_core::store::AccountChange;
use gimlet_listen::admission;
use gimlet_proto::pb::business_ext_server::BusinessExt;
use gimlet_proto::pb::business_int_server::BusinessInt;
use gimlet_proto::pb::user_ext_server::UserExt;
use gimlet_proto::pb::user_int_server::UserInt;
use gimlet_proto::pb::{self, Empty};
use gimlet_transport::SignInFailures;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use super::guard::{self, SignedInCaller};
use super::list_pages;
use super::status::status;
use crate::cluster::TOKEN_LEFT_HEADER;

/// The business role behind all four services.
#[derive(Clone, Debug)]
pub(super) struct BusinessService {
    builtin: BuiltinBusiness,
    /// Profile cache of the logic role in this process.
    directory: Option<ProfileDirectory>,
    /// Fan-out, to close connections.
    fanout: Option<MessageFanout>,
    /// Rate limit of sign-ins per address; a successful one is refunded.
    attempts: Arc<RateLimiter<IpAddr>>,
    /// Wrong-token counts; a token made here is recorded as right.
    failures: Arc<SignInFailures>,
}

impl BusinessService {
    pub(super) fn new(
        builtin: BuiltinBusiness,
        directory: Option<ProfileDirectory>,
        fanout: Option<MessageFanout>,
        failed_sign_ins: u32,
        failures: Arc<SignInFailures>,
    ) -> Self {
        Self {
            builtin,
            directory,
            fanout,
            attempts: Arc::new(RateLimiter::per_minute(failed_sign_ins)),
            failures,
        }
    }

    /// Drops the cached profile of this user.
    async fn forget(&self, user: UserId) {
        if let Some(directory) = &self.directory {
            directory.forget(user).await;
        }
    }

    async fn sign_in(
        &self,
        request: Request<pb::SignInReq>,
    ) -> Result<pb::SignInResp, RequestRefusal> {
        let from = request.remote_addr();
        let address = from.and_then(|from| admission::client_address(from.ip()));
        if let Some(address) = address {
            self.attempts
                .take(address)
                .map_err(|retry_after| RequestRefusal::RateLimited { retry_after })?;
        }
        let shown = guard::shown(request.metadata());
        let req = request.into_inner();
        let device = convert::device("device_id", req.device_id)?;
        let holder = shown.filter(|(_, on, _)| *on == device);
        let sign_in = SignIn {
            phone: req.phone_number,
            code: req.code,
            device,
            holder: holder.map(|(user, _, token)| (user, token)),
        };
        let done = self.builtin.sign_in(sign_in).await?;
        let attempt = self.failures.attempt(None, done.user, device, &done.token);
        self.failures.right(&attempt);
        if let Some(address) = address {
            // Refunds one attempt, not all: otherwise the owner of one account could guess at
            // others forever.
            self.attempts.refund(&address);
        }
        if let Some(fanout) = &self.fanout {
            for user in done.ended {
                fanout.disconnect(user, Some(device), DEVICE_SWITCHED).await;
            }
        }
        if done.is_new {
            // The user's absence may have been cached a moment ago.
            self.forget(done.user).await;
        }
        Ok(pb::SignInResp {
            is_new: done.is_new,
            user_id: done.user.to_wire(),
            token: done.token,
        })
    }

    /// Returns the caller's profile: gim ignores the id in the request.
    async fn me(&self, caller: SignedInCaller) -> Result<pb::GetUserResp, RequestRefusal> {
        let user = convert::user_info(self.builtin.get(caller.user).await?);
        Ok(pb::GetUserResp { user: Some(user) })
    }

    async fn update(
        &self,
        caller: SignedInCaller,
        req: pb::UpdateUserReq,
    ) -> Result<Empty, RequestRefusal> {
        let change = AccountChange {
            nickname: req.nickname,
            sex: req.sex,
            avatar_url: req.avatar_url,
            extra: req.extra,
        };
        self.builtin.update(caller.user, change).await?;
        self.forget(caller.user).await;
        Ok(Empty {})
    }

    async fn search(
        &self,
        caller: SignedInCaller,
        req: pb::SearchUserReq,
    ) -> Result<pb::SearchUserResp, RequestRefusal> {
        let found = self.builtin.search_for(caller.user, &req.key).await?;
        let users = found.into_iter().map(convert::user_info).collect();
        Ok(pb::SearchUserResp { users })
    }

    async fn sign_out(&self, caller: SignedInCaller) -> Result<Empty, RequestRefusal> {
        // The token first: whatever the nodes answer, no new connection can be made with it.
        self.builtin.sign_out(caller.user, caller.device).await?;
        if let Some(fanout) = &self.fanout {
            let acknowledged = fanout.disconnect(caller.user, Some(caller.device), SIGNED_OUT);
            if !acknowledged.await {
                return Err(RequestRefusal::Unavailable);
            }
        }
        Ok(Empty {})
    }

    /// Checks a token; the answer's metadata says how long it is still valid.
    async fn auth(&self, req: pb::AuthReq) -> Result<Response<Empty>, RequestRefusal> {
        let user = convert::user("user_id", req.user_id)?;
        let device = convert::device("device_id", req.device_id)?;
        let left = self.builtin.auth_for(user, device, &req.token).await?;
        let mut answer = Response::new(Empty {});
        if let Some(left) = left {
            let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let metadata = answer.metadata_mut();
            metadata.insert(TOKEN_LEFT_HEADER, MetadataValue::from(left));
        }
        Ok(answer)
    }

    async fn user(&self, req: pb::GetUserReq) -> Result<pb::GetUserResp, RequestRefusal> {
        let user = convert::user("user_id", req.user_id)?;
        let user = convert::user_info(self.builtin.get(user).await?);
        Ok(pb::GetUserResp { user: Some(user) })
    }

    async fn users(&self, req: pb::GetUsersReq) -> Result<pb::GetUsersResp, RequestRefusal> {
        let asked = convert::user_keys(req.user_ids.into_keys())?;
        let found = self.builtin.users(&asked).await?;
        let users = found
            .into_iter()
            .map(|info| (info.user.to_wire(), convert::user_info(info)))
            .collect();
        let found = pb::GetUsersResp { users };
        list_pages::check_size("user_ids", &found)?;
        Ok(found)
    }
}

fn reply<T>(result: Result<T, RequestRefusal>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(status)
}

#[async_trait]
impl BusinessExt for BusinessService {
    async fn sign_in(
        &self,
        request: Request<pb::SignInReq>,
    ) -> Result<Response<pb::SignInResp>, Status> {
        reply(Self::sign_in(self, request).await)
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserReq>,
    ) -> Result<Response<pb::GetUserResp>, Status> {
        reply(self.me(SignedInCaller::of(&request)?).await)
    }

    async fn update_user(
        &self,
        request: Request<pb::UpdateUserReq>,
    ) -> Result<Response<Empty>, Status> {
        let caller = SignedInCaller::of(&request)?;
        reply(self.update(caller, request.into_inner()).await)
    }

    async fn search_user(
        &self,
        request: Request<pb::SearchUserReq>,
    ) -> Result<Response<pb::SearchUserResp>, Status> {
        let caller = SignedInCaller::of(&request)?;
        reply(self.search(caller, request.into_inner()).await)
    }

    async fn sign_out(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        reply(Self::sign_out(self, SignedInCaller::of(&request)?).await)
    }
}

#[async_trait]
impl UserExt for BusinessService {
    async fn sign_in(
        &self,
        request: Request<pb::SignInReq>,
    ) -> Result<Response<pb::SignInResp>, Status> {
        BusinessExt::sign_in(self, request).await
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserReq>,
    ) -> Result<Response<pb::GetUserResp>, Status> {
        BusinessExt::get_user(self, request).await
    }

    async fn update_user(
        &self,
        request: Request<pb::UpdateUserReq>,
    ) -> Result<Response<Empty>, Status> {
        BusinessExt::update_user(self, request).await
    }

    async fn search_user(
        &self,
        request: Request<pb::SearchUserReq>,
    ) -> Result<Response<pb::SearchUserResp>, Status> {
        BusinessExt::search_user(self, request).await
    }
}

#[async_trait]
impl BusinessInt for BusinessService {
    async fn auth(&self, request: Request<pb::AuthReq>) -> Result<Response<Empty>, Status> {
        Self::auth(self, request.into_inner()).await.map_err(status)
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserReq>,
    ) -> Result<Response<pb::GetUserResp>, Status> {
        reply(self.user(request.into_inner()).await)
    }

    async fn get_users(
        &self,
        request: Request<pb::GetUsersReq>,
    ) -> Result<Response<pb::GetUsersResp>, Status> {
        reply(self.users(request.into_inner()).await)
    }
}

#[async_trait]
impl UserInt for BusinessService {
    async fn auth(&self, request: Request<pb::AuthReq>) -> Result<Response<Empty>, Status> {
        BusinessInt::auth(self, request).await
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserReq>,
    ) -> Result<Response<pb::GetUserResp>, Status> {
        BusinessInt::get_user(self, request).await
    }

    async fn get_users(
        &self,
        request: Request<pb::GetUsersReq>,
    ) -> Result<Response<pb::GetUsersResp>, Status> {
        BusinessInt::get_users(self, request).await
    }
}

#[cfg(test)]
mod tests {
    use gimlet_core::business::{BuiltinConfig, FixedCode};
    use gimlet_core::envelope::DeliveryBatch;
    use gimlet_core::fanout::NoConnections;
    use gimlet_core::id::{DeviceId, Generation, NodeId};
    use gimlet_core::memory;
    use gimlet_core::peer::PeerNodes;
    use gimlet_core::store::DeviceInfo;
    use gimlet_core::time::{SystemClock, UnixTimestamp};

    use super::*;

    /// Another node that acknowledges nothing.
    #[derive(Debug)]
    struct UnreachablePeer;

    #[async_trait]
    impl PeerNodes for UnreachablePeer {
        async fn nodes(&self) -> Vec<NodeId> {
            vec![NodeId::boot("other")]
        }

        async fn deliver(&self, _: &NodeId, _: Vec<DeliveryBatch>) -> bool {
            false
        }

        async fn supersede(&self, _: &NodeId, _: UserId, _: DeviceId, _: Generation) {}

        async fn disconnect(&self, _: &NodeId, _: UserId, _: Option<DeviceId>, _: &str) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn a_sign_out_that_a_node_did_not_acknowledge_is_not_answered_as_done() {
        let stores = memory::stores();
        let device = DeviceId::new(1).unwrap();
        let info = DeviceInfo {
            kind: 1,
            brand: "b".into(),
            model: "m".into(),
            system_version: "s".into(),
            sdk_version: "k".into(),
        };
        let registered = stores
            .device
            .register(device, &info, UnixTimestamp(1))
            .await;
        registered.unwrap();
        let verifier = Arc::new(FixedCode::default());
        let config = BuiltinConfig::default();
        let builtin = BuiltinBusiness::new(&stores, Arc::new(SystemClock), verifier, config);
        let sign_in = SignIn {
            phone: "13800000001".into(),
            code: "000000".into(),
            device,
            holder: None,
        };
        let signed_in = builtin.sign_in(sign_in).await.unwrap();
        // Without the store of devices the old connection cannot be fenced either.
        let fanout = MessageFanout::new(
            NodeId::boot("here"),
            Arc::new(NoConnections),
            Arc::new(UnreachablePeer),
            Arc::clone(&stores.route),
        );
        let failures = Arc::new(SignInFailures::new(10));
        let service = BusinessService::new(builtin.clone(), None, Some(fanout), 10, failures);
        let caller = SignedInCaller {
            user: signed_in.user,
            device,
            request_id: None,
        };
        let refused = service.sign_out(caller).await.unwrap_err();
        assert_eq!(refused.code(), 14);
        let auth = builtin.auth(signed_in.user, device, &signed_in.token).await;
        assert!(auth.is_err(), "the token is revoked all the same");
    }
}
