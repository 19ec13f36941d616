//! The audit log: a line for each change that a backend makes with an API key.
//!
//! An operation passes here between the check of its key and its execution, on the node that executes
//! it, so no operation has a line of its own and none is left out.

use std::net::SocketAddr;

use gimlet_core::auth::{AUDIT_TARGET, BackendIdentity};
use gimlet_core::scope::ApiScope;
use http::{Method, StatusCode};

use crate::call::ApiCaller;
use crate::json::RequestFields;

/// Longest part of a path or an id that a line shows, in characters.
const MAX_SHOWN_CHARS: usize = 160;

/// A change as it comes in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuditedRequest<'a> {
    /// Id of the operation.
    pub(crate) operation: &'static str,
    pub(crate) method: &'a Method,
    /// The scope that the operation needs.
    pub(crate) scope: Option<ApiScope>,
    /// The path below `/v1`.
    pub(crate) path: &'a str,
    pub(crate) caller: &'a ApiCaller,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) fields: &'a RequestFields,
}

/// The line of a change. It is written when it is dropped, so that a change whose caller has left
/// meanwhile has its line, too.
#[derive(Debug)]
pub(crate) struct AuditLine {
    operation: &'static str,
    key: BackendIdentity,
    path: String,
    user: Option<String>,
    device: Option<String>,
    client: Option<SocketAddr>,
    is_content: bool,
    status: Option<StatusCode>,
}

impl AuditLine {
    /// Begins the line of a request; `None` if it changes nothing, or if no backend calls.
    pub(crate) fn begin(request: AuditedRequest<'_>) -> Option<Self> {
        let ApiCaller::Backend { identity, user } = request.caller else {
            return None;
        };
        if request.method == Method::GET {
            return None;
        }
        let field = |name| request.fields.text(name).map(|text| shortened(&text));
        let named = || field("user_id");
        Some(Self {
            operation: request.operation,
            key: *identity,
            path: shortened(&format!("/v1{}", request.path)),
            // Where a backend acts for a user, `user_id` is another one.
            user: user.map(|user| user.get().to_string()).or_else(named),
            device: field("device_id"),
            client: request.client,
            is_content: request.scope.is_some_and(is_content),
            status: None,
        })
    }

    /// Writes the line with the status of the answer.
    pub(crate) fn end(mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for AuditLine {
    fn drop(&mut self) {
        let (key, operation, path) = (self.key, self.operation, self.path.as_str());
        let (user, device) = (self.user.as_deref(), self.device.as_deref());
        let client = self.client.map(tracing::field::display);
        // Absent if the caller left before the answer: the change may have been made.
        let status = self.status.map(|status| status.as_u16());
        // The text stands twice, because the level of an event is part of its code.
        if self.is_content {
            tracing::debug!(
                target: AUDIT_TARGET,
                %key, operation, path, user, device, client, status,
                "changed by a backend"
            );
        } else {
            tracing::info!(
                target: AUDIT_TARGET,
                %key, operation, path, user, device, client, status,
                "changed by a backend"
            );
        }
    }
}

/// Returns whether a scope is about content: a backend may send thousands of messages a second, which
/// would bury the changes by operators.
const fn is_content(scope: ApiScope) -> bool {
    matches!(
        scope,
        ApiScope::MessagesSend | ApiScope::RoomsWrite | ApiScope::FilesWrite
    )
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_SHOWN_CHARS).collect()
}
