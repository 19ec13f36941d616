//! Checks verification codes with an external service: `POST {"phone_number", "code"}`, answered by
//! 200 for a correct code and 403 for a wrong one.

use async_trait::async_trait;
use bytes::Bytes;
use gimlet_core::business::CodeVerifier;
use gimlet_core::error::RequestRefusal;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Largest head of an answer. The status alone decides: the body is not read.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Returns whether a verifier can be called at this address.
#[must_use]
pub fn is_address(url: &str) -> bool {
    let address = Uri::try_from(url);
    address.is_ok_and(|address| address.host().is_some_and(|host| !host.is_empty()))
}

/// A verifier that accepts no code.
#[derive(Clone, Copy, Debug)]
pub struct RejectingVerifier;

#[async_trait]
impl CodeVerifier for RejectingVerifier {
    async fn verify(&self, _phone: &str, _code: &str) -> Result<bool, RequestRefusal> {
        Ok(false)
    }
}

/// A verifier behind an HTTP address. Core bounds the time that it may take.
#[derive(Debug)]
pub struct HttpVerifier {
    uri: Uri,
}

/// Any error of a call to the verifier.
type VerifierCallError = Box<dyn std::error::Error + Send + Sync>;

/// The error of an address that is not one of HTTP.
pub type VerifierUrlError = http::uri::InvalidUri;

impl HttpVerifier {
    /// Creates a verifier that calls this address.
    ///
    /// # Errors
    /// The address cannot be parsed.
    pub fn new(url: &str) -> Result<Self, VerifierUrlError> {
        Ok(Self {
            uri: Uri::try_from(url)?,
        })
    }

    async fn ask(&self, phone: &str, code: &str) -> Result<StatusCode, VerifierCallError> {
        let host = self.uri.host().ok_or("the address has no host")?;
        let port = self.uri.port_u16().unwrap_or(80);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, port)).await?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await?;
        let body = serde_json::json!({ "phone_number": phone, "code": code }).to_string();
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(path)
            .header(header::HOST, format!("{host}:{port}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        tokio::select! {
            answer = sender.send_request(request) => Ok(answer?.status()),
            ended = connection => Err(ended.err().map_or("it closed the connection".into(), Into::into)),
        }
    }
}

#[async_trait]
impl CodeVerifier for HttpVerifier {
    async fn verify(&self, phone: &str, code: &str) -> Result<bool, RequestRefusal> {
        match self.ask(phone, code).await {
            Ok(StatusCode::OK) => Ok(true),
            Ok(StatusCode::FORBIDDEN) => Ok(false),
            Ok(status) => {
                gimlet_core::warn_rated!(%status, "the code verifier answered neither 200 nor 403");
                Err(RequestRefusal::Unavailable)
            }
            Err(error) => {
                gimlet_core::warn_rated!(error, "the call to the code verifier failed");
                Err(RequestRefusal::Unavailable)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Json;
    use axum::routing::post;
    use tokio::net::TcpListener;
    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test]
    async fn the_answer_is_the_status() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/check", listener.local_addr().unwrap());
        let check = |Json(asked): Json<serde_json::Value>| async move {
            match asked["code"].as_str() {
                Some("right") if asked["phone_number"] == "138" => StatusCode::OK,
                Some("broken") => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::FORBIDDEN,
            }
        };
        let router = axum::Router::new().route("/check", post(check));
        let (tracker, ends) = (TaskTracker::new(), gimlet_listen::StopTokens::default());
        let admission = gimlet_listen::admission::ConnectionLimiter::new(9, 9);
        let entrance = gimlet_listen::ListenerEntrance::plain(listener, admission);
        let served = crate::listener::serve(entrance, router, tracker.clone(), ends.clone());
        tracker.spawn(served);
        let verifier = HttpVerifier::new(&url).unwrap();
        assert_eq!(verifier.verify("138", "right").await, Ok(true));
        assert_eq!(verifier.verify("138", "wrong").await, Ok(false));
        assert_eq!(
            verifier.verify("138", "broken").await,
            Err(RequestRefusal::Unavailable)
        );
        ends.stop.cancel();
        tracker.close();
        tracker.wait().await;
        assert_eq!(
            verifier.verify("138", "right").await,
            Err(RequestRefusal::Unavailable)
        );
    }
}
