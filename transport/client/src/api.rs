//! The gRPC services for clients: devices, accounts, friends, groups, and writing to rooms. Each
//! call is independent and is not repeated.

use std::time::Duration;

use gimlet_proto::pb;
use gimlet_proto::pb::business_ext_client::BusinessExtClient;
use gimlet_proto::pb::logic_ext_client::LogicExtClient;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;

use crate::error::{ApiError, ClientError};
use crate::event::MessageContent;
use crate::options::DeviceCredentials;
use crate::raw_status::{RawStatus, api_error};
use crate::tls::TrustedRoots;

/// Time limit of a call; gim's own client gives up after 2 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// `LogicExt` and `BusinessExt` of one server, or of a cluster's logic and business nodes. Cheap to
/// clone; clones share a connection.
#[derive(Clone, Debug)]
pub struct ApiClient {
    channel: RawStatus,
    /// The channel of `BusinessExt`, if it has an address of its own.
    business: Option<RawStatus>,
    trust: TrustedRoots,
    who: Option<DeviceCredentials>,
}

fn channel(url: &str, trust: &TrustedRoots) -> Result<RawStatus, ClientError> {
    let endpoint = Endpoint::from_shared(url.to_owned());
    let endpoint = match endpoint {
        Ok(endpoint) if endpoint.uri().scheme_str() == Some("http") => endpoint,
        Ok(endpoint) if endpoint.uri().scheme_str() == Some("https") => {
            endpoint.tls_config(trust.grpc()).map_err(|error| {
                ClientError::Invalid(format!("cannot set up TLS for {url}: {error}"))
            })?
        }
        _ => {
            return Err(ClientError::Invalid(format!(
                "\"{url}\" is not a gRPC address: write http://host:port or https://host"
            )));
        }
    };
    let channel = endpoint
        .timeout(CALL_TIMEOUT)
        .connect_timeout(CALL_TIMEOUT)
        .connect_lazy();
    Ok(RawStatus(channel))
}

impl ApiClient {
    /// Creates a client of the services at `url`, for example `http://127.0.0.1:50100` or
    /// `https://chat.example.com`, without credentials: enough for
    /// [`register_device`](Self::register_device) and [`sign_in`](Self::sign_in). Connects when
    /// first used. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If `url` is not an address.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Self::with_trust(url, &TrustedRoots::public())
    }

    /// Creates a client of the services at `url` with the certificate authorities to trust for
    /// `https://`.
    ///
    /// # Errors
    /// If `url` is not an address.
    pub fn with_trust(url: &str, trust: &TrustedRoots) -> Result<Self, ClientError> {
        Ok(Self {
            channel: channel(url, trust)?,
            business: None,
            trust: trust.clone(),
            who: None,
        })
    }

    /// Uses another address for `BusinessExt`, as in a cluster with separate business nodes.
    ///
    /// # Errors
    /// If `url` is not an address.
    pub fn with_business(mut self, url: &str) -> Result<Self, ClientError> {
        self.business = Some(channel(url, &self.trust)?);
        Ok(self)
    }

    /// Returns a client of the same services with the credentials `who`.
    #[must_use]
    pub fn signed_in(&self, who: DeviceCredentials) -> Self {
        Self {
            channel: self.channel.clone(),
            business: self.business.clone(),
            trust: self.trust.clone(),
            who: Some(who),
        }
    }

    fn logic(&self) -> LogicExtClient<RawStatus> {
        LogicExtClient::new(self.channel.clone())
    }

    fn business(&self) -> BusinessExtClient<RawStatus> {
        BusinessExtClient::new(self.business.as_ref().unwrap_or(&self.channel).clone())
    }

    /// Builds a request with the credentials. Without them the server answers 10000.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(who) = &self.who {
            let metadata = request.metadata_mut();
            metadata.insert("user_id", who.user_id.into());
            metadata.insert("device_id", who.device_id.into());
            if let Ok(mut token) = MetadataValue::try_from(who.token.as_str()) {
                token.set_sensitive(true);
                metadata.insert("token", token);
            }
        }
        request
    }

    /// Registers this device and returns its id, which is valid for ever: keep it.
    pub async fn register_device(&self, model: &str) -> Result<i64, ApiError> {
        let request = pb::RegisterDeviceReq {
            r#type: match std::env::consts::OS {
                "android" => 1,
                "ios" => 2,
                "windows" => 3,
                "macos" => 4,
                _ => 5,
            },
            brand: "gimlet-client".to_owned(),
            model: model.to_owned(),
            system_version: std::env::consts::OS.to_owned(),
            sdk_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let answer = self.logic().register_device(request).await;
        Ok(ok(answer)?.device_id)
    }

    /// Signs a user in on a device; an unknown phone number creates a user. Called with the
    /// credentials of a user of that device, it ends the sign-ins of other users on it.
    pub async fn sign_in(
        &self,
        phone: &str,
        code: &str,
        device_id: i64,
    ) -> Result<pb::SignInResp, ApiError> {
        let request = pb::SignInReq {
            phone_number: phone.to_owned(),
            code: code.to_owned(),
            device_id,
        };
        ok(self.business().sign_in(self.request(request)).await)
    }

    /// Ends this device's sign-in: its token is revoked and its connections are closed.
    pub async fn sign_out(&self) -> Result<(), ApiError> {
        let request = self.request(pb::Empty {});
        ok(self.business().sign_out(request).await).map(drop)
    }

    /// Returns the caller's profile.
    pub async fn get_user(&self) -> Result<pb::User, ApiError> {
        let request = self.request(pb::GetUserReq::default());
        let answer = ok(self.business().get_user(request).await)?;
        Ok(answer.user.unwrap_or_default())
    }

    /// Changes the caller's profile; fields that are `None` stay as they are.
    pub async fn update_user(&self, change: pb::UpdateUserReq) -> Result<(), ApiError> {
        let request = self.request(change);
        ok(self.business().update_user(request).await).map(drop)
    }

    /// Finds users by part of a name, or by phone number.
    pub async fn search_user(&self, key: &str) -> Result<Vec<pb::User>, ApiError> {
        let key = key.to_owned();
        let request = self.request(pb::SearchUserReq { key });
        Ok(ok(self.business().search_user(request).await)?.users)
    }

    /// Asks a user to be a friend; the user sees `description`.
    pub async fn add_friend(&self, friend_id: i64, description: &str) -> Result<(), ApiError> {
        let request = self.request(pb::AddFriendReq {
            friend_id,
            description: description.to_owned(),
            ..pb::AddFriendReq::default()
        });
        ok(self.logic().add_friend(request).await).map(drop)
    }

    /// Accepts the friend request of `user_id`.
    pub async fn agree(&self, user_id: i64) -> Result<(), ApiError> {
        let request = self.request(pb::AgreeAddFriendReq {
            user_id,
            ..pb::AgreeAddFriendReq::default()
        });
        ok(self.logic().agree_add_friend(request).await).map(drop)
    }

    /// Returns the caller's friends, fetched page by page.
    pub async fn friends(&self) -> Result<Vec<pb::Friend>, ApiError> {
        let mut found: Vec<pb::Friend> = Vec::new();
        loop {
            let after = found.last().map_or(0, |it| it.user_id);
            let request = self.request(pb::GetFriendsReq { after, limit: 0 });
            let page = ok(self.logic().get_friends(request).await)?;
            let more = page.has_more && !page.friends.is_empty();
            found.extend(page.friends);
            if !more {
                return Ok(found);
            }
        }
    }

    /// Creates a group with the caller as its admin, and returns its id.
    pub async fn create_group(&self, name: &str, members: &[i64]) -> Result<i64, ApiError> {
        let request = self.request(pb::CreateGroupReq {
            name: name.to_owned(),
            member_ids: members.to_vec(),
            ..pb::CreateGroupReq::default()
        });
        Ok(ok(self.logic().create_group(request).await)?.group_id)
    }

    /// Adds members to a group, and returns those who were members already.
    pub async fn add_group_members(
        &self,
        group_id: i64,
        members: &[i64],
    ) -> Result<Vec<i64>, ApiError> {
        let request = self.request(pb::AddGroupMembersReq {
            group_id,
            user_ids: members.to_vec(),
        });
        Ok(ok(self.logic().add_group_members(request).await)?.user_ids)
    }

    /// Removes a member from a group; a member may remove itself.
    pub async fn remove_group_member(&self, group_id: i64, user_id: i64) -> Result<(), ApiError> {
        let request = self.request(pb::DeleteGroupMemberReq { group_id, user_id });
        ok(self.logic().delete_group_member(request).await).map(drop)
    }

    /// Returns the caller's groups, fetched page by page.
    pub async fn groups(&self) -> Result<Vec<pb::Group>, ApiError> {
        let mut found: Vec<pb::Group> = Vec::new();
        loop {
            let after = found.last().map_or(0, |it| it.group_id);
            let request = self.request(pb::GetGroupsReq { after, limit: 0 });
            let page = ok(self.logic().get_groups(request).await)?;
            let more = page.has_more && !page.groups.is_empty();
            found.extend(page.groups);
            if !more {
                return Ok(found);
            }
        }
    }

    /// Returns the members of a group, fetched page by page.
    pub async fn group_members(&self, group_id: i64) -> Result<Vec<pb::GroupMember>, ApiError> {
        let mut found: Vec<pb::GroupMember> = Vec::new();
        loop {
            let after = found.last().map_or(0, |it| it.user_id);
            let request = self.request(pb::GetGroupMembersReq {
                group_id,
                after,
                limit: 0,
            });
            let page = ok(self.logic().get_group_members(request).await)?;
            let more = page.has_more && !page.members.is_empty();
            found.extend(page.members);
            if !more {
                return Ok(found);
            }
        }
    }

    /// Sends a message to the subscribers of a room; with `keep`, also to those who subscribe
    /// within the next two minutes and ask for kept messages.
    pub async fn push_room(
        &self,
        room_id: i64,
        content: &MessageContent,
        keep: bool,
    ) -> Result<(), ApiError> {
        let (message_type, message_content) = content.encode();
        let request = self.request(pb::PushRoomReq {
            room_id,
            message_type,
            message_content,
            is_persist: keep,
            ..pb::PushRoomReq::default()
        });
        ok(self.logic().push_room(request).await).map(drop)
    }
}

fn ok<T>(answer: Result<tonic::Response<T>, tonic::Status>) -> Result<T, ApiError> {
    answer
        .map(tonic::Response::into_inner)
        .map_err(|status| api_error(&status))
}
