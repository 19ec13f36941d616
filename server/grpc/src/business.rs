//! `BusinessExt` and `BusinessInt`, and the same services under their older names `UserExt` and
//! `UserInt`: the accounts over gRPC.

use gimlet_core::accounts::{AccountService, AccountSignIn};
use gimlet_core::auth::PresentedToken;
use gimlet_core::error::RequestRefusal;
use gimlet_core::store::AccountChange;
use gimlet_proto::pb::business_ext_server::BusinessExt;
use gimlet_proto::pb::business_int_server::BusinessInt;
use gimlet_proto::pb::user_ext_server::UserExt;
use gimlet_proto::pb::user_int_server::UserInt;
use gimlet_proto::pb::{self, Empty};
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, async_trait};

use crate::convert;
use crate::guard::{self, SignedInCaller};
use crate::list_pages;
use crate::status::status;
use gimlet_cluster::TOKEN_LEFT_HEADER;

/// The accounts behind all four services.
#[derive(Clone, Debug)]
pub(super) struct BusinessService {
    accounts: AccountService,
}

impl BusinessService {
    pub(super) const fn new(accounts: AccountService) -> Self {
        Self { accounts }
    }

    async fn sign_in(
        &self,
        request: Request<pb::SignInReq>,
    ) -> Result<pb::SignInResp, RequestRefusal> {
        let from = request.remote_addr();
        let presented = guard::presented(request.metadata());
        let req = request.into_inner();
        let sign_in = AccountSignIn {
            phone: req.phone_number,
            code: req.code,
            device: convert::device("device_id", req.device_id)?,
            presented,
        };
        let done = self.accounts.sign_in(from, sign_in).await?;
        Ok(pb::SignInResp {
            is_new: done.is_new,
            user_id: done.user.to_wire(),
            token: done.token,
        })
    }

    /// Returns the caller's profile: gim ignores the id in the request.
    async fn me(&self, caller: SignedInCaller) -> Result<pb::GetUserResp, RequestRefusal> {
        let user = convert::user_info(self.accounts.user(caller.user).await?);
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
        self.accounts.update(caller.user, change).await?;
        Ok(Empty {})
    }

    async fn search(
        &self,
        caller: SignedInCaller,
        req: pb::SearchUserReq,
    ) -> Result<pb::SearchUserResp, RequestRefusal> {
        let found = self.accounts.search(caller.user, &req.key).await?;
        let users = found.into_iter().map(convert::user_info).collect();
        Ok(pb::SearchUserResp { users })
    }

    async fn sign_out(&self, caller: &PresentedToken) -> Result<Empty, RequestRefusal> {
        self.accounts.sign_out_caller(caller).await?;
        Ok(Empty {})
    }

    /// Checks a token; the answer's metadata says how long it is still valid.
    async fn auth(&self, req: pb::AuthReq) -> Result<Response<Empty>, RequestRefusal> {
        let user = convert::user("user_id", req.user_id)?;
        let device = convert::device("device_id", req.device_id)?;
        let left = self.accounts.auth(user, device, &req.token).await?;
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
        let user = convert::user_info(self.accounts.user(user).await?);
        Ok(pb::GetUserResp { user: Some(user) })
    }

    async fn users(&self, req: pb::GetUsersReq) -> Result<pb::GetUsersResp, RequestRefusal> {
        let asked = convert::user_keys(req.user_ids.into_keys())?;
        let found = self.accounts.users(&asked).await?;
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
        // The guard has checked the token; a JWT is revoked by its text.
        let caller = SignedInCaller::of(&request)?;
        let caller = PresentedToken {
            user: caller.user,
            device: caller.device,
            token: guard::token(request.metadata()).to_owned(),
        };
        reply(Self::sign_out(self, &caller).await)
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
