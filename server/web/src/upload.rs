//! gim's answers to stored and refused uploads.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use gimlet_files::FileRefusal;
use gimlet_http::{UploadFailure, file_status};
use serde::Serialize;

/// Reasons an upload or download is refused.
#[derive(Debug)]
pub(super) enum UploadRefusal {
    /// 400.
    Bad(String),
    /// 401.
    Unauthorized(String),
    /// 403.
    Forbidden(String),
    /// 503.
    Busy(String),
    /// The status follows from the reason.
    Refused(FileRefusal),
}

impl From<FileRefusal> for UploadRefusal {
    fn from(refusal: FileRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<UploadFailure> for UploadRefusal {
    fn from(failure: UploadFailure) -> Self {
        match failure {
            UploadFailure::Malformed(text) => Self::Bad(text),
            UploadFailure::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

/// The body of gim's answer.
#[derive(Serialize)]
struct UploadAnswer {
    code: i32,
    message: String,
    data: Option<StoredFile>,
}

#[derive(Serialize)]
struct StoredFile {
    url: String,
}

/// gim's code of every failed upload.
const UPLOAD_FAILED_CODE: i32 = 1001;

impl IntoResponse for UploadRefusal {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::Bad(text) => (StatusCode::BAD_REQUEST, text),
            Self::Unauthorized(text) => (StatusCode::UNAUTHORIZED, text),
            Self::Forbidden(text) => (StatusCode::FORBIDDEN, text),
            Self::Busy(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
            Self::Refused(refusal) => (file_status(&refusal), refusal.to_string()),
        };
        (
            status,
            Json(UploadAnswer {
                code: UPLOAD_FAILED_CODE,
                message,
                data: None,
            }),
        )
            .into_response()
    }
}

/// Returns gim's answer to a stored file.
pub(super) fn stored(url: String) -> Response {
    Json(UploadAnswer {
        code: 0,
        message: "success".into(),
        data: Some(StoredFile { url }),
    })
    .into_response()
}
