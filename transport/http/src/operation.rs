//! An operation: its method, path, access, input and answer, from which both its route and its
//! description are made.
//!
//! The input is one object. Fields that the path names are read from the path; the others are read
//! from the query of a GET or DELETE, and from the body of any other request.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Query, RawPathParams, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodFilter;
use bytes::Bytes;
use gimlet_core::error::RequestRefusal;
use http::{HeaderValue, Method, StatusCode, Uri, header, request};
use serde_json::Value;
use tokio::time::Instant;

pub(crate) use crate::access::OperationAccess;
use crate::api::{ClientAddr, OperationId, RestartTimeLimit, StreamAdmission};
use crate::audit::{AuditLine, AuditedRequest};
use crate::call::{ApiCall, ApiCaller, ApiState, unauthorized};
use crate::credentials::USER_HEADER;
use crate::device;
use crate::etag;
use crate::forward::{self, ForwardedRequest, NodeAdmission};
use crate::json::{
    FieldDescription, JsonObject, JsonType, RequestFields, SchemaDefinitions, parse,
};
use crate::nodes::ApiRole;
use crate::problem::ApiProblem;
use crate::request_body::{parse_body, read_body};
use crate::request_rules::{
    WAIT_PARAMETER, asks_to_wait, no_head, refuse_repeated, take_token, wrong_path,
};

/// Longest wait for an entry, in seconds. The server closes a connection after a minute without
/// traffic.
pub(crate) const MAX_WAIT_SECONDS: u32 = 30;
/// Age of a check of the credentials after which they are checked again, for a body that comes slowly.
const ADMISSION_TTL: Duration = Duration::from_secs(1);
/// Field of a request that names a device.
const DEVICE_FIELD: &str = "device_id";

/// The node that executes an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExecutingNode {
    /// A node with this role; others pass the request on.
    Role(ApiRole),
    /// The node that has the connection.
    Connection,
    /// The node that the request reaches, if it stores files: no other node passes a file on.
    Storage,
}

/// Contents of the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// The fields that are not in the path, as JSON.
    Fields,
    /// A file; the fields are in the query.
    File,
}

/// An answer of an operation.
pub(crate) trait OperationAnswer {
    /// The status of success.
    const STATUS: StatusCode;
    /// The media type; `None` for an answer without content.
    const MEDIA_TYPE: Option<&'static str>;

    /// Returns the schema of the content.
    fn schema(definitions: &mut SchemaDefinitions) -> Value;

    /// Returns the response.
    fn respond(self) -> Response;
}

/// An answer without content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoContent;

impl OperationAnswer for NoContent {
    const STATUS: StatusCode = StatusCode::NO_CONTENT;
    const MEDIA_TYPE: Option<&'static str> = None;

    fn schema(_: &mut SchemaDefinitions) -> Value {
        Value::Null
    }

    fn respond(self) -> Response {
        Self::STATUS.into_response()
    }
}

impl<T: JsonObject + JsonType> OperationAnswer for T {
    const STATUS: StatusCode = StatusCode::OK;
    const MEDIA_TYPE: Option<&'static str> = Some("application/json");

    fn schema(definitions: &mut SchemaDefinitions) -> Value {
        <Self as JsonType>::schema(definitions)
    }

    fn respond(self) -> Response {
        let body = self.write().unwrap_or_default().to_string();
        let headers = [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        (Self::STATUS, headers, body).into_response()
    }
}

/// Result of a call.
type CallFuture = Pin<Box<dyn Future<Output = Result<Response, ApiProblem>> + Send>>;
/// Performs an operation. The body is empty unless the operation takes a file.
type RunOperation = Arc<dyn Fn(ApiCall, RequestFields, Body) -> CallFuture + Send + Sync>;

/// An operation.
#[derive(Clone)]
pub(crate) struct ApiOperation {
    pub(crate) method: Method,
    /// Path below `/v1`.
    pub(crate) path: &'static str,
    pub(crate) id: &'static str,
    pub(crate) about: &'static str,
    pub(crate) access: OperationAccess,
    /// Headers that the operation reads, with their descriptions.
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    /// Set if the token may be given in the query.
    pub(crate) takes_query_token: bool,
    node: ExecutingNode,
    /// Set if the operation registers a device for a caller that names none.
    may_register: bool,
    /// Set if the answer has a validator, so that a client may keep it.
    is_cacheable: bool,
    /// Statuses beside that of success and of a refusal, with their descriptions.
    pub(crate) other_statuses: Vec<(StatusCode, &'static str)>,
    pub(crate) body: BodyKind,
    /// Topic, by which the documentation groups operations.
    pub(crate) topic: &'static str,
    pub(crate) fields: fn(&mut SchemaDefinitions) -> Vec<FieldDescription>,
    pub(crate) status: StatusCode,
    pub(crate) media_type: Option<&'static str>,
    pub(crate) schema: fn(&mut SchemaDefinitions) -> Value,
    run: RunOperation,
}

impl fmt::Debug for ApiOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl ApiOperation {
    /// Makes an operation that `run` performs.
    pub(crate) fn new<I, O, R, F>(
        method: Method,
        path: &'static str,
        access: OperationAccess,
        id: &'static str,
        about: &'static str,
        run: R,
    ) -> Self
    where
        I: JsonObject,
        O: OperationAnswer,
        R: Fn(ApiCall, I) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<O, ApiProblem>> + Send + 'static,
    {
        let called = move |call: ApiCall, fields: RequestFields, _: Body| {
            let run = run.clone();
            let called: CallFuture = Box::pin(async move {
                let input = fields.read::<I>()?;
                Ok(run(call, input).await?.respond())
            });
            called
        };
        Self::build::<I, O>(method, path, access, id, about, Arc::new(called))
    }

    /// Makes an operation that takes a file: its fields are in the query, and the body is not read
    /// before `run` reads it. A file does not pass other nodes, so the node that receives it stores it.
    pub(crate) fn upload<I, O, R, F>(
        path: &'static str,
        access: OperationAccess,
        id: &'static str,
        about: &'static str,
        run: R,
    ) -> Self
    where
        I: JsonObject,
        O: OperationAnswer,
        R: Fn(ApiCall, I, Body) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<O, ApiProblem>> + Send + 'static,
    {
        let called = move |call: ApiCall, fields: RequestFields, body: Body| {
            let run = run.clone();
            let called: CallFuture = Box::pin(async move {
                let input = fields.read::<I>()?;
                Ok(run(call, input, body).await?.respond())
            });
            called
        };
        Self {
            body: BodyKind::File,
            node: ExecutingNode::Storage,
            ..Self::build::<I, O>(Method::POST, path, access, id, about, Arc::new(called))
        }
    }

    fn build<I: JsonObject, O: OperationAnswer>(
        method: Method,
        path: &'static str,
        access: OperationAccess,
        id: &'static str,
        about: &'static str,
        run: RunOperation,
    ) -> Self {
        Self {
            method,
            path,
            id,
            about,
            access,
            headers: Vec::new(),
            takes_query_token: false,
            node: ExecutingNode::Role(ApiRole::Logic),
            may_register: false,
            is_cacheable: false,
            other_statuses: Vec::new(),
            topic: "",
            fields: I::fields,
            status: O::STATUS,
            media_type: O::MEDIA_TYPE,
            schema: O::schema,
            body: BodyKind::Fields,
            run,
        }
    }

    /// Describes a header that the operation reads.
    pub(crate) fn header(mut self, name: &'static str, about: &'static str) -> Self {
        self.headers.push((name, about));
        self
    }

    /// Accepts the token as a query parameter, too.
    pub(crate) const fn query_token(mut self) -> Self {
        self.takes_query_token = true;
        self
    }

    /// Lists the operation under this topic.
    pub(crate) const fn under(mut self, topic: &'static str) -> Self {
        self.topic = topic;
        self
    }

    /// Has the operation executed by this role; by default it is the logic role.
    pub(crate) const fn by(mut self, role: ApiRole) -> Self {
        self.node = ExecutingNode::Role(role);
        self
    }

    /// Has the operation executed where its connection is.
    pub(crate) const fn by_connection(mut self) -> Self {
        self.node = ExecutingNode::Connection;
        self
    }

    /// Has the operation executed by this node, which stores files: another node passes no file on, and
    /// the credentials are checked first.
    pub(crate) const fn by_storing_node(mut self) -> Self {
        self.node = ExecutingNode::Storage;
        self
    }

    /// Registers a device first if the request has no `device_id`.
    pub(crate) const fn may_register(mut self) -> Self {
        self.may_register = true;
        self
    }

    /// Lets clients keep the answer, and ask whether it has changed.
    pub(crate) fn cacheable(mut self) -> Self {
        self.is_cacheable = true;
        let about = "The answer is the one that If-None-Match names.";
        self.answers(StatusCode::NOT_MODIFIED, about).header(
            "if-none-match",
            "The ETag of an answer that the client has: if nothing has changed, the answer is 304.",
        )
    }

    /// Describes an answer that is neither the usual one nor a refusal.
    pub(crate) fn answers(mut self, status: StatusCode, about: &'static str) -> Self {
        self.other_statuses.push((status, about));
        self
    }

    /// Returns whether the path names this field.
    pub(crate) fn is_in_path(&self, field: &str) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| part.strip_prefix('{').and_then(|it| it.strip_suffix('}')) == Some(field))
    }

    /// Returns whether the fields that are not in the path are in the body.
    pub(crate) fn has_body(&self) -> bool {
        self.method != Method::GET && self.method != Method::DELETE && self.body == BodyKind::Fields
    }

    /// Returns the filter for the router.
    pub(crate) fn filter(&self) -> MethodFilter {
        MethodFilter::try_from(self.method.clone()).expect("operations use standard methods")
    }

    /// Serves one request.
    pub(crate) async fn serve(
        self: Arc<Self>,
        State(shared): State<Arc<ApiState>>,
        path: Result<RawPathParams, RawPathParamsRejection>,
        request: Request,
    ) -> Response {
        let (parts, body) = request.into_parts();
        let served = self.answer(shared, path, parts, body).await;
        let mut response = served.unwrap_or_else(|problem| self.named(problem).into_response());
        response.extensions_mut().insert(OperationId(self.id));
        response
    }

    /// Names the field of a problem as this operation has it.
    fn named(&self, problem: ApiProblem) -> ApiProblem {
        problem.of_operation(|name| {
            let mut headers = self.headers.iter().map(|(header, _)| *header);
            name.eq_ignore_ascii_case(USER_HEADER)
                || headers.any(|header| name.eq_ignore_ascii_case(header))
                || (self.fields)(&mut SchemaDefinitions::default())
                    .iter()
                    .any(|field| field.name == name)
        })
    }

    async fn answer(
        &self,
        shared: Arc<ApiState>,
        path: Result<RawPathParams, RawPathParamsRejection>,
        parts: request::Parts,
        body: Body,
    ) -> Result<Response, ApiProblem> {
        if parts.method == Method::HEAD && self.access == OperationAccess::Connection {
            return Ok(no_head());
        }
        refuse_repeated(&parts.headers, self.headers.iter().map(|(name, _)| *name))?;
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(mut query) = query.map_err(|wrong| ApiProblem::bad(wrong.body_text()))?;
        let query_token = if self.takes_query_token {
            take_token(&mut query)?
        } else {
            None
        };
        let client = parts.extensions.get::<ClientAddr>().copied();
        let mut call = ApiCall {
            caller: ApiCaller::Stranger,
            client: client.unwrap_or_default().0,
            hops: parts.extensions.get().copied().unwrap_or_default(),
            restart_time_limit: parts.extensions.get::<RestartTimeLimit>().cloned(),
            admission: parts.extensions.get::<StreamAdmission>().cloned(),
            headers: parts.headers,
            shared,
        };
        let destination = match self.node {
            ExecutingNode::Role(role) => {
                let api = &call.shared.api;
                forward::destination(api, call.hops, role, self.may_register)
            }
            ExecutingNode::Connection | ExecutingNode::Storage => None,
        };
        if let Some(to) = destination {
            let request = self.to_forward(&mut call, &parts.uri, &query, body).await?;
            return forward::forward(&call, to, request).await;
        }
        let token = query_token.as_deref();
        // Before the body is read: a stranger's body costs nothing.
        let is_checked_elsewhere = self.node == ExecutingNode::Storage
            && self.access != OperationAccess::Open
            && call.shared.api.tokens.is_none();
        call.caller = if is_checked_elsewhere {
            match forward::admit(&call).await? {
                NodeAdmission::Admitted(caller) => caller,
                NodeAdmission::Refused(response) => return Ok(response),
            }
        } else {
            self.access.admit(&call, token).await?
        };
        if self.access.acts_for_users() {
            call.check_acting_user().await?;
        }
        let admitted = Instant::now();
        let path = path.map_err(|wrong| wrong_path(&wrong))?;
        let (mut fields, body) = if self.has_body() {
            let content = read_body(&call.headers, body).await?;
            if admitted.elapsed() >= ADMISSION_TTL {
                call.caller = self.access.admit(&call, token).await?;
            }
            (parse_body(&call.headers, &content)?, Body::empty())
        } else {
            (RequestFields::default(), body)
        };
        let given = path
            .iter()
            .chain(query.iter().map(|(name, it)| (&**name, &**it)));
        for (name, text) in given {
            fields.add(name, text)?;
        }
        let audit = AuditLine::begin(AuditedRequest {
            operation: self.id,
            method: &self.method,
            scope: self.access.scope(),
            path: parts.uri.path(),
            caller: &call.caller,
            client: call.client,
            fields: &fields,
        });
        let waits = asks_to_wait(&query);
        let executed = self.execute(call, fields, body, waits, token).await;
        if let Some(audit) = audit {
            audit.end(match &executed {
                Ok(response) => response.status(),
                Err(problem) => problem.status(),
            });
        }
        executed
    }

    /// Executes a request whose caller is checked.
    async fn execute(
        &self,
        call: ApiCall,
        fields: RequestFields,
        body: Body,
        waits: bool,
        token: Option<&str>,
    ) -> Result<Response, ApiProblem> {
        if waits {
            let waiting = call.clone();
            let response = (self.run)(call, fields, body).await?;
            // The token may have been revoked, or have expired, during the wait: what was accepted
            // after that must not be shown. Checked last, because a revocation between this check and
            // the read would let later entries through.
            self.access.admit(&waiting, token).await?;
            return Ok(response);
        }
        if !self.is_cacheable {
            return (self.run)(call, fields, body).await;
        }
        let headers = call.headers.clone();
        let response = (self.run)(call, fields, body).await?;
        Ok(etag::validated(&headers, response).await)
    }

    /// Reads a request that another node answers. That node checks it; what would cost this node
    /// something is checked here as well.
    async fn to_forward(
        &self,
        call: &mut ApiCall,
        uri: &Uri,
        query: &[(String, String)],
        body: Body,
    ) -> Result<ForwardedRequest, ApiProblem> {
        if self.access != OperationAccess::Open && !call.headers.contains_key(header::AUTHORIZATION)
        {
            return Err(unauthorized());
        }
        // Strangers' bodies are read here, so all of them together are bounded.
        let space = Arc::clone(&call.shared.forwarding).try_acquire_owned();
        let space = space.map_err(|_| RequestRefusal::Unavailable)?;
        let body = if self.has_body() {
            read_body(&call.headers, body).await?
        } else {
            Bytes::new()
        };
        let body = if self.may_register && call.shared.api.service.is_some() {
            with_device(call, body).await?
        } else {
            body
        };
        let wait = query.iter().find(|(name, _)| name == WAIT_PARAMETER);
        let wait = wait.and_then(|(_, seconds)| seconds.parse().ok());
        Ok(ForwardedRequest {
            method: self.method.clone(),
            path: uri
                .path_and_query()
                .map(ToString::to_string)
                .unwrap_or_default(),
            headers: self.headers.iter().map(|(name, _)| *name).collect(),
            body,
            wait: Duration::from_secs(wait.unwrap_or(0).min(MAX_WAIT_SECONDS).into()),
            space: Some(space),
        })
    }
}

/// Registers a device and adds it to a body that names none, for a node without the logic role. A body
/// that is wrong is left to that node.
async fn with_device(call: &mut ApiCall, body: Bytes) -> Result<Bytes, ApiProblem> {
    let parsed = if body.is_empty() {
        Ok(Value::Object(serde_json::Map::new()))
    } else {
        parse(&body)
    };
    let Ok(Value::Object(mut fields)) = parsed else {
        return Ok(body);
    };
    if fields.get(DEVICE_FIELD).is_some_and(|it| !it.is_null()) {
        return Ok(body);
    }
    let device = device::register(call).await?;
    fields.insert(DEVICE_FIELD.into(), device.get().to_string().into());
    let json = HeaderValue::from_static("application/json");
    call.headers.insert(header::CONTENT_TYPE, json);
    Ok(Value::Object(fields).to_string().into())
}

/// An input without fields.
pub(crate) mod empty {
    crate::json::object! {
        /// No fields.
        NoFields {}
    }
}
pub(crate) use empty::NoFields;
