//! Uploads as multipart forms, and gim's answers to stored and refused ones.

use axum::Json;
use axum::extract::Multipart;
use axum::extract::multipart::MultipartError;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use gimlet_files::{FileRefusal, FileUpload, UploadLimitExceeded};
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
            Self::Refused(refusal) => (status(&refusal), refusal.to_string()),
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

const fn status(refusal: &FileRefusal) -> StatusCode {
    match refusal {
        FileRefusal::SignInRequired => StatusCode::UNAUTHORIZED,
        FileRefusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        FileRefusal::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        FileRefusal::Empty | FileRefusal::TooSlow => StatusCode::BAD_REQUEST,
        FileRefusal::Exceeded(UploadLimitExceeded::Quota { .. }) => StatusCode::TOO_MANY_REQUESTS,
        FileRefusal::Exceeded(UploadLimitExceeded::Disk { .. }) | FileRefusal::DiskFull => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        FileRefusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
        FileRefusal::Failed => StatusCode::INTERNAL_SERVER_ERROR,
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

/// Stores the field `file` of a form and returns the name that the file got.
pub(super) async fn take(
    mut body: Multipart,
    mut upload: FileUpload,
) -> Result<String, UploadRefusal> {
    let max = upload.max();
    let broken = |error: MultipartError| broken(&error, max);
    while let Some(mut field) = upload.within(body.next_field()).await?.map_err(broken)? {
        if field.name() != Some("file") {
            continue;
        }
        upload.name(field.file_name().unwrap_or_default());
        while let Some(chunk) = upload.within(field.chunk()).await?.map_err(broken)? {
            upload.write(&chunk).await?;
        }
        return Ok(upload.finish().await?);
    }
    Err(UploadRefusal::Bad(
        "no field named file in the form; send the file as multipart field file".into(),
    ))
}

fn broken(error: &MultipartError, max: u64) -> UploadRefusal {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        FileRefusal::TooLarge(max).into()
    } else {
        UploadRefusal::Bad(format!("the form could not be read: {}", error.body_text()))
    }
}
