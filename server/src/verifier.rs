//! Checks verification codes with an external service: `POST {"phone_number", "code"}`, answered by
//! 200 for right and 403 for wrong.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gimlet_core::business::{CodeVerifier, FixedCode};
use gimlet_core::error::RequestRefusal;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config;

/// Largest head of an answer. The status alone decides: the body is not read.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Creates the configured verifier.
pub(crate) fn of(config: &config::CodeVerifier) -> Result<Arc<dyn CodeVerifier>, http::Error> {
    Ok(match config {
        config::CodeVerifier::Development => Arc::new(FixedCode::default()),
        // The check of the configuration refuses this for a process that checks codes.
        config::CodeVerifier::Unset => Arc::new(RejectingVerifier),
        config::CodeVerifier::Fixed(code) => Arc::new(FixedCode::new(code.reveal())),
        config::CodeVerifier::Http(url) => Arc::new(HttpVerifier {
            uri: Uri::try_from(url.as_str())?,
        }),
    })
}

/// A verifier that accepts no code.
#[derive(Debug)]
struct RejectingVerifier;

#[async_trait]
impl CodeVerifier for RejectingVerifier {
    async fn verify(&self, _phone: &str, _code: &str) -> Result<bool, RequestRefusal> {
        Ok(false)
    }
}

/// A verifier behind an HTTP address. Core bounds the time that it may take.
#[derive(Debug)]
struct HttpVerifier {
    uri: Uri,
}

/// Any error of a call to the verifier.
type VerifierCallError = Box<dyn std::error::Error + Send + Sync>;

impl HttpVerifier {
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
        let served = crate::http::serve(entrance, router, tracker.clone(), ends.clone());
        tracker.spawn(served);
        let verifier = of(&config::CodeVerifier::Http(url)).unwrap();
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
