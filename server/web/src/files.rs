//! The file service, in gim's shape: `POST /upload` and `GET /file/<name>`.
//!
//! It checks callers through the business seam, and knows no message.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::multipart::MultipartRejection;
use axum::extract::{DefaultBodyLimit, Multipart, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use gimlet_core::auth::TokenChecker;
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_http::FORM_OVERHEAD_BYTES;
use gimlet_listen::forwarded::ForwardedHeaders;
use gimlet_listen::origins::AllowedOrigins;

pub use gimlet_files::{FileParts, FileRules, FileStorage, FileStore, UploadBounds, UploadFolder};
pub use gimlet_s3::{S3Settings, S3Storage};

use crate::cors;
use crate::peer_addr::PeerAddr;
use crate::upload::{self, UploadRefusal};

/// Parts of the file service.
#[derive(Clone, Debug)]
pub struct FileService {
    /// The files, and the rules for them.
    pub store: FileStore,
    /// Checks whether a caller is signed in.
    pub tokens: TokenChecker,
    /// Prefix of files' addresses, without a slash at the end.
    pub base: String,
    /// Origins whose pages may upload.
    pub origins: AllowedOrigins,
    /// Proxies that may name a request's client.
    pub forwarding: ForwardedHeaders,
}

/// Builds the routes of the file service.
pub fn router(files: FileService) -> Router {
    let body = files.store.rules().max.saturating_add(FORM_OVERHEAD_BYTES);
    let body = usize::try_from(body).unwrap_or(usize::MAX);
    let cors = cors::layer(files.origins.clone());
    Router::new()
        .route("/upload", post(upload).layer(DefaultBodyLimit::max(body)))
        .route("/file/{name}", get(download))
        .layer(cors)
        .with_state(Arc::new(files))
}

async fn upload(
    State(files): State<Arc<FileService>>,
    peer: Option<Extension<PeerAddr>>,
    headers: HeaderMap,
    body: Result<Multipart, MultipartRejection>,
) -> Result<Response, UploadRefusal> {
    let text = |name| headers.get(name).map(|it| it.to_str().unwrap_or(""));
    if !files
        .origins
        .allow(text(header::ORIGIN), text(header::HOST))
    {
        let why = "pages of this Origin may not upload; add it to http.origins of the server";
        return Err(UploadRefusal::Forbidden(why.into()));
    }
    let client = peer.and_then(|Extension(peer)| peer.client(&files.forwarding, &headers));
    let checked = || uploader(&files, client, &headers);
    let user = checked().await?;
    // Begun after the sign-in check, so that strangers cannot use up the concurrent uploads.
    let begun = files.store.begin(user)?;
    let body = body.map_err(|error| {
        UploadRefusal::Bad(format!(
            "{}; send multipart/form-data with a field file",
            error.body_text()
        ))
    })?;
    let (complete, _) = gimlet_http::take_form(body, begun).await?;
    let may_upload = async { checked().await.map(|_| ()) };
    let uploaded = complete.store(may_upload).await?;
    let url = format!("{}/file/{}", files.base, uploaded.name);
    Ok(upload::stored(url))
}

/// Returns the user that uploads; `None` where uploads need no sign-in.
async fn uploader(
    files: &FileService,
    client: Option<SocketAddr>,
    headers: &HeaderMap,
) -> Result<Option<UserId>, UploadRefusal> {
    if files.store.rules().anonymous {
        return Ok(None);
    }
    check(client, headers, &files.tokens).await.map(Some)
}

/// Checks gim's triple in the headers: `user_id`, `device_id`, `token`, or with hyphens, which
/// proxies let through.
async fn check(
    client: Option<SocketAddr>,
    headers: &HeaderMap,
    tokens: &TokenChecker,
) -> Result<UserId, UploadRefusal> {
    let field = |name: &str| {
        headers
            .get(name)
            .or_else(|| headers.get(name.replace('_', "-")))
            .and_then(|value| value.to_str().ok())
    };
    let number = |name| field(name).and_then(|text| text.parse::<i64>().ok());
    let user = number("user_id").and_then(UserId::from_wire);
    let device = number("device_id").and_then(DeviceId::from_wire);
    let (Some(user), Some(device), Some(token)) = (user, device, field("token")) else {
        return Err(UploadRefusal::Unauthorized(
            "uploads need a sign-in; send the headers user-id, device-id and token".into(),
        ));
    };
    match tokens.check(client, user, device, token).await {
        Ok(()) => Ok(user),
        Err(refusal @ RequestRefusal::Unauthorized(_)) => {
            Err(UploadRefusal::Unauthorized(refusal.to_string()))
        }
        Err(refusal) => Err(UploadRefusal::Busy(refusal.to_string())),
    }
}

async fn download(
    State(files): State<Arc<FileService>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, UploadRefusal> {
    let found = gimlet_http::download(&files.store, &name, &headers, None).await?;
    let missing = || (StatusCode::NOT_FOUND, "no such file\n").into_response();
    Ok(found.unwrap_or_else(missing))
}

#[cfg(test)]
mod tests;
