//! One call of an operation: its caller, and the parts that the operation needs.

use std::net::SocketAddr;
use std::sync::Arc;

use gimlet_core::accounts::AccountService;
use gimlet_core::auth::{ApiKeyService, BackendIdentity, PresentedToken, TokenChecker};
use gimlet_core::error::RequestRefusal;
use gimlet_core::gateway::ConnectGateway;
use gimlet_core::hook_delivery::HookDelivery;
use gimlet_core::id::UserId;
use gimlet_core::message::MessageSender;
use gimlet_core::push_registry::PushRegistry;
use gimlet_core::service::LogicService;
use gimlet_json::BearerToken;
use http::HeaderMap;
use tokio::sync::Semaphore;

use crate::api::{ApiFiles, HttpApi, RestartTimeLimit, StreamAdmission, StreamPermit};
use crate::nodes::ForwardHops;
use crate::problem::ApiProblem;

/// Largest number of bodies that are read at a time for other nodes: 64 MiB, if all are as large as
/// they may be.
const MAX_FORWARDED: usize = 256;

/// State shared by all calls.
#[derive(Debug)]
pub(crate) struct ApiState {
    pub(crate) api: HttpApi,
    /// Requests whose bodies are read for other nodes.
    pub(crate) forwarding: Arc<Semaphore>,
}

impl ApiState {
    pub(crate) fn new(api: HttpApi) -> Self {
        Self {
            api,
            forwarding: Arc::new(Semaphore::new(MAX_FORWARDED)),
        }
    }
}

/// The checked caller of an operation.
#[derive(Clone, Debug)]
pub(crate) enum ApiCaller {
    /// A stranger.
    Stranger,
    /// A user, on a device unless its JWT names none.
    User(BearerToken),
    /// A backend, for a user or for itself.
    Backend {
        /// The backend.
        identity: BackendIdentity,
        /// The user that it acts for.
        user: Option<UserId>,
    },
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct ApiCall {
    pub(crate) shared: Arc<ApiState>,
    pub(crate) caller: ApiCaller,
    pub(crate) client: Option<SocketAddr>,
    /// Nodes that have passed the request on.
    pub(crate) hops: ForwardHops,
    pub(crate) headers: HeaderMap,
    pub(crate) restart_time_limit: Option<RestartTimeLimit>,
    pub(crate) admission: Option<StreamAdmission>,
}

impl ApiCall {
    /// Returns the user that calls, or that the backend acts for.
    pub(crate) fn user(&self) -> Result<UserId, ApiProblem> {
        match &self.caller {
            ApiCaller::User(token) => Ok(token.user),
            ApiCaller::Backend {
                user: Some(user), ..
            } => Ok(*user),
            ApiCaller::Backend { user: None, .. } => Err(ApiProblem::field(
                "Gimlet-User",
                "the header Gimlet-User is missing; set it to the id of the user that the backend \
                 acts for",
            )),
            ApiCaller::Stranger => Err(unauthorized()),
        }
    }

    /// Returns the token of the user, for an operation of one device.
    pub(crate) fn token(&self) -> Result<PresentedToken, ApiProblem> {
        match &self.caller {
            ApiCaller::User(token) => token.of_device().ok_or_else(no_device),
            ApiCaller::Backend { .. } => Err(device_only()),
            ApiCaller::Stranger => Err(unauthorized()),
        }
    }

    /// Returns the backend that calls, for an operation of backends.
    pub(crate) fn backend(&self) -> Result<BackendIdentity, ApiProblem> {
        match &self.caller {
            ApiCaller::Backend { identity, .. } => Ok(*identity),
            ApiCaller::User(_) => Err(backend_only()),
            ApiCaller::Stranger => Err(unauthorized()),
        }
    }

    /// Returns the sender of a message: the user, or the backend itself.
    pub(crate) fn sender(&self) -> Result<MessageSender, ApiProblem> {
        match &self.caller {
            ApiCaller::Backend { user: None, .. } => Ok(MessageSender::Business),
            ApiCaller::Backend {
                user: Some(user), ..
            } => Ok(MessageSender::User {
                user: *user,
                device: None,
            }),
            ApiCaller::User(token) => Ok(MessageSender::User {
                user: token.user,
                device: token.device,
            }),
            ApiCaller::Stranger => Err(unauthorized()),
        }
    }

    /// Refuses a backend that acts for a user that does not exist: the id would later be somebody
    /// else's, with all that was done under it.
    pub(crate) async fn check_acting_user(&self) -> Result<(), ApiProblem> {
        match (&self.caller, &self.shared.api.service) {
            (
                ApiCaller::Backend {
                    user: Some(user), ..
                },
                Some(service),
            ) => Ok(service.check_acting_user(*user).await?),
            // A node without the logic role reads and changes accounts, which it looks up itself.
            _ => Ok(()),
        }
    }

    /// Counts a read that the user requests, and returns the logic role.
    pub(crate) fn reading(&self, user: UserId) -> Result<&LogicService, ApiProblem> {
        let service = self.service()?;
        service.count_read(user)?;
        Ok(service)
    }

    /// Takes a place among the clients' connections, for an event stream.
    pub(crate) fn stream_permit(&self) -> Result<StreamPermit, ApiProblem> {
        let admitted = match &self.admission {
            Some(StreamAdmission(admit)) => Some(admit(self.client).map_err(ApiProblem::of_limit)?),
            None => None,
        };
        let counted = self.shared.api.streams.enter();
        Ok(StreamPermit::new((counted, admitted)))
    }

    pub(crate) fn service(&self) -> Result<&LogicService, ApiProblem> {
        present(
            self.shared.api.service.as_ref(),
            "this node has no logic role; send the request to a node that has it",
        )
    }

    pub(crate) fn gateway(&self) -> Result<&ConnectGateway, ApiProblem> {
        present(
            self.shared.api.gateway.as_ref(),
            "this node has no connect role; open event streams on a node that has it",
        )
    }

    pub(crate) fn tokens(&self) -> Result<&TokenChecker, ApiProblem> {
        present(
            self.shared.api.tokens.as_ref(),
            "this node has neither the logic nor the business role; send the request to a node that \
             has one of them",
        )
    }

    pub(crate) fn keys(&self) -> Result<&ApiKeyService, ApiProblem> {
        present(
            self.shared.api.keys.as_ref(),
            "this node has neither the logic nor the business role; send the request to a node that \
             has one of them",
        )
    }

    pub(crate) fn pushes(&self) -> Result<&PushRegistry, ApiProblem> {
        present(
            self.shared.api.push.as_ref(),
            "this node has neither the logic nor the business role; send the request to a node that \
             has one of them",
        )
    }

    pub(crate) fn hooks(&self) -> Result<&HookDelivery, ApiProblem> {
        present(
            self.shared.api.hooks.as_ref(),
            "this node delivers no webhooks; send the request to a node with the logic role",
        )
    }

    pub(crate) fn files(&self) -> Result<&ApiFiles, ApiProblem> {
        present(
            self.shared.api.files.as_ref(),
            "this node stores no files; send the request to a node with the business role",
        )
    }

    pub(crate) fn accounts(&self) -> Result<&AccountService, ApiProblem> {
        let otherwise = if self.shared.api.nodes.is_some() {
            "this node has no built-in users; send the request to a node with the business role"
        } else {
            "this server has no built-in users; ask your business server instead"
        };
        present(self.shared.api.accounts.as_ref(), otherwise)
    }
}

fn present<'a, T>(part: Option<&'a T>, otherwise: &'static str) -> Result<&'a T, ApiProblem> {
    part.ok_or_else(|| RequestRefusal::Unsupported(otherwise).into())
}

pub(crate) fn unauthorized() -> ApiProblem {
    RequestRefusal::Unauthorized(
        "the header Authorization is missing; send Authorization: Bearer and a token",
    )
    .into()
}

/// Refusal of a JWT without a device, where the device counts.
fn no_device() -> ApiProblem {
    RequestRefusal::Forbidden(
        "this operation belongs to a user's device, and the JWT names none; add the claim device to it, \
         or send it as USER.DEVICE.JWT",
    )
    .into()
}

pub(crate) fn device_only() -> ApiProblem {
    RequestRefusal::Forbidden(
        "this operation belongs to a user's device; call it with the user's token, which \
         POST /v1/users/{user_id}/tokens makes",
    )
    .into()
}

pub(crate) fn backend_only() -> ApiProblem {
    RequestRefusal::Forbidden("this operation is for backends; call it with an API key").into()
}
