//! Calls of the HTTP API.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use gimlet_listen::TrustedNetwork;
use gimlet_listen::pem::PemFile;
use gimlet_outbound::{
    OutboundClient, OutboundError, OutboundPolicy, OutboundResponse, OutboundUrl,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::{Map, Value, json};
use url::Url;

use crate::error::{CommandError, ServerRefusal};
use crate::target::ServerTarget;

/// Time for a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer, in bytes.
const ANSWER_MAX_BYTES: usize = 16 << 20;
/// Networks that are reached without TLS: addresses of one machine or one private network.
const PRIVATE_NETWORKS: &[&str] = &[
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1",
    "fc00::/7",
    "fe80::/10",
];

/// A call of the API.
#[derive(Debug)]
pub(crate) struct ApiRequest<'a> {
    method: Method,
    /// Parts of the path below `/v1`.
    path: &'a [&'a str],
    query: Vec<(&'a str, String)>,
    headers: HeaderMap,
    body: Option<Value>,
}

impl<'a> ApiRequest<'a> {
    /// Makes a call of this path below `/v1`.
    pub(crate) fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: None,
        }
    }

    /// Adds a parameter to the address.
    pub(crate) fn query(mut self, name: &'a str, value: &impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the body.
    pub(crate) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    fn address(&self, base: &Url) -> Result<OutboundUrl, CommandError> {
        let mut url = base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(self.path);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        let wrong =
            |error| CommandError::Usage(format!("{base} is not an address to call: {error}"));
        url.as_str().parse().map_err(wrong)
    }
}

/// Makes a client that calls servers of this machine and of private networks, and others by TLS. `ca`
/// is a file with an authority to trust besides the public ones.
pub(crate) fn http_client(
    ca: Option<PathBuf>,
    timeout: Duration,
) -> Result<OutboundClient, CommandError> {
    let allowed = PRIVATE_NETWORKS.iter().map(|it| it.parse());
    let allowed: Result<Vec<TrustedNetwork>, String> = allowed.collect();
    let policy = OutboundPolicy {
        allowed: allowed.map_err(CommandError::Usage)?,
        ca: ca.map(|path| PemFile {
            setting: "--ca",
            path,
        }),
        exchange_timeout: timeout,
        max_response_bytes: ANSWER_MAX_BYTES,
        ..OutboundPolicy::default()
    };
    OutboundClient::new(&policy).map_err(|error| CommandError::Usage(error.to_string()))
}

/// A client of the API of one server.
#[derive(Debug)]
pub(crate) struct ApiClient {
    http: OutboundClient,
    target: ServerTarget,
}

impl ApiClient {
    /// Makes a client. `ca` is a file with an authority to trust besides the public ones.
    pub(crate) fn new(target: ServerTarget, ca: Option<PathBuf>) -> Result<Self, CommandError> {
        let http = http_client(ca, CALL_TIMEOUT)?;
        Ok(Self { http, target })
    }

    /// Requests an object.
    pub(crate) async fn get(&self, path: &[&str]) -> Result<Value, CommandError> {
        self.call(ApiRequest::new(Method::GET, path)).await
    }

    /// Posts an object.
    pub(crate) async fn post(&self, path: &[&str], body: Value) -> Result<Value, CommandError> {
        self.call(ApiRequest::new(Method::POST, path).body(body))
            .await
    }

    /// Makes a call, and returns the answer: an empty object if it has no content.
    pub(crate) async fn call(&self, request: ApiRequest<'_>) -> Result<Value, CommandError> {
        let url = request.address(&self.target.url)?;
        let mut headers = request.headers;
        headers.insert(header::AUTHORIZATION, self.target.authorization.clone());
        let mut body = Bytes::new();
        if let Some(json) = request.body {
            let kind = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, kind);
            body = json.to_string().into();
        }
        let answer = self.http.request(request.method, &url, headers, body).await;
        read(
            &answer.map_err(|error| failed(&error, &self.target.url))?,
            &url,
        )
    }
}

fn failed(error: &OutboundError, base: &Url) -> CommandError {
    match error {
        OutboundError::Unencrypted { host, address } => CommandError::Usage(format!(
            "{host} is the public address {address}, and http:// would show the API key on the way: \
             use https://, or a tunnel to the server's machine"
        )),
        OutboundError::RefusedAddress { host, address } => CommandError::Usage(format!(
            "{host} is the address {address}, which is not one of a server: check --url"
        )),
        OutboundError::Timeout { .. } => CommandError::Unreachable(format!(
            "{error}: whether it was done is not known; check that the server at {base} is well"
        )),
        _ => CommandError::Unreachable(format!(
            "{error}: start the server, or give the address of its HTTP API by --url or GIMLET_URL"
        )),
    }
}

fn read(answer: &OutboundResponse, url: &OutboundUrl) -> Result<Value, CommandError> {
    let status = answer.status;
    let json = if answer.body.is_empty() && status.is_success() {
        Some(json!({}))
    } else {
        serde_json::from_slice(&answer.body).ok()
    };
    let json: Option<Map<String, Value>> = match json {
        Some(Value::Object(json)) => Some(json),
        _ => None,
    };
    if let Some(json) = &json
        && status.is_success()
    {
        return Ok(Value::Object(json.clone()));
    }
    let number = |name: &str| json.as_ref()?.get(name)?.as_i64();
    let text = |name: &str| Some(json.as_ref()?.get(name)?.as_str()?.to_owned());
    match (
        text("detail"),
        status.is_client_error() || status.is_server_error(),
    ) {
        (Some(detail), true) => Err(CommandError::Refused(ServerRefusal {
            detail,
            status: status.as_u16(),
            code: number("code"),
            field: text("field"),
            retry_after_ms: number("retry_after_ms"),
        })),
        _ => Err(CommandError::Unreachable(format!(
            "{url} answered with status {} and not as gimlet's HTTP API does: check --url",
            status.as_u16()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn answer(status: u16, body: &str) -> Result<Value, CommandError> {
        let answer = OutboundResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        read(&answer, &"http://127.0.0.1:8085/v1/users".parse().unwrap())
    }

    #[test]
    fn an_answer_is_an_object_a_refusal_or_not_gimlets() {
        assert_eq!(answer(200, "{\"a\": 1}"), Ok(json!({"a": 1})));
        assert_eq!(answer(204, ""), Ok(json!({})));
        let problem =
            "{\"detail\": \"no\", \"code\": 7, \"field\": \"to_user\", \"retry_after_ms\": 5}";
        let refused = answer(403, problem).unwrap_err();
        let want = json!({"error": "no", "status": 403, "code": 7, "field": "to_user", "retry_after_ms": 5});
        assert_eq!(refused.json(), want);
        for (status, body) in [
            (200, "<html>"),
            (200, "[]"),
            (302, ""),
            (404, "not found"),
            (502, ""),
        ] {
            let other = answer(status, body).unwrap_err();
            assert_eq!(other.exit_code(), 3, "{status} {body}");
            assert!(other.to_string().contains("check --url"), "{other}");
        }
    }

    #[test]
    fn a_path_is_below_the_address_and_its_parts_are_escaped() {
        for base in ["https://a/im", "https://a/im/"] {
            let request = ApiRequest::new(Method::GET, &["webhooks", "a/b?c", "test"]);
            let request = request.query("after", &5);
            let url = request.address(&base.parse().unwrap()).unwrap();
            assert_eq!(
                url.as_str(),
                "https://a/im/v1/webhooks/a%2Fb%3Fc/test?after=5"
            );
        }
    }
}
