//! The HTTP client under `object_store`.

use std::time::Duration;

use async_trait::async_trait;
use gimlet_listen::pem::PemFile;
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Request};

use crate::settings::S3StartError;

/// Time for lookup, connect and TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence of the store.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// An idle connection is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends the requests of `object_store`.
#[derive(Clone, Debug)]
pub(crate) struct S3Client(Client);

impl S3Client {
    pub(crate) fn new(allow_http: bool, ca: Option<&PemFile>) -> Result<Self, S3StartError> {
        let client = Client::builder()
            .https_only(!allow_http)
            .use_preconfigured_tls(gimlet_outbound::client_tls(ca)?)
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build()?;
        Ok(Self(client))
    }
}

impl HttpConnector for S3Client {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for S3Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse();
        let url =
            url.map_err(|error: url::ParseError| HttpError::new(HttpErrorKind::Unknown, error))?;
        let mut sent = Request::new(parts.method, url);
        *sent.headers_mut() = parts.headers;
        // A body is one piece in memory: this copies nothing.
        let content = body.collect().await?.to_bytes();
        *sent.body_mut() = Some(content.into());
        let answer = self.0.execute(sent).await.map_err(broken)?;
        let answer: http::Response<reqwest::Body> = answer.into();
        let (parts, body) = answer.into_parts();
        let body = HttpResponseBody::new(body.map_err(broken));
        Ok(HttpResponse::from_parts(parts, body))
    }
}

/// Tells `object_store` whether a repeat may help. The address stays out: it may have a signature.
fn broken(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else if error.is_request() || error.is_body() {
        HttpErrorKind::Interrupted
    } else {
        HttpErrorKind::Unknown
    };
    HttpError::new(kind, error.without_url())
}
