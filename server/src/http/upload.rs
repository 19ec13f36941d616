//! One upload, from a multipart body to a stored file, and the answers to refused ones.

use axum::Json;
use axum::extract::Multipart;
use axum::extract::multipart::{Field, MultipartError};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::file_kind::{self, FileKind};
use super::quota::{UploadLimitExceeded, UploadUsage};
use super::upload_folder::{UnfinishedFile, UploadFolder};

/// Reasons an upload or download is refused.
#[derive(Debug)]
pub(super) enum FileRefusal {
    /// 400.
    Bad(String),
    /// 401.
    Unauthorized(String),
    /// 403.
    Forbidden(String),
    /// 413.
    TooLarge(u64),
    /// 415.
    Unsupported,
    /// 429 or 507.
    Exceeded(UploadLimitExceeded),
    /// 503.
    Busy(String),
    /// 500 or 507.
    Failed(std::io::Error),
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

impl IntoResponse for FileRefusal {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::Bad(text) => (StatusCode::BAD_REQUEST, text),
            Self::Unauthorized(text) => (StatusCode::UNAUTHORIZED, text),
            Self::Forbidden(text) => (StatusCode::FORBIDDEN, text),
            Self::TooLarge(max) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the file is larger than {max} bytes; send a smaller one"),
            ),
            Self::Unsupported => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "this kind of file is not accepted; send an image, audio, video or a common document"
                    .into(),
            ),
            Self::Exceeded(UploadLimitExceeded::Quota { each, wait }) => (
                StatusCode::TOO_MANY_REQUESTS,
                format!(
                    "you may upload {each} bytes a day; try again in {} minutes",
                    wait.as_secs().div_ceil(60)
                ),
            ),
            Self::Exceeded(UploadLimitExceeded::Disk { free, needed }) => {
                tracing::debug!(
                    free,
                    needed,
                    "upload refused, disk has too little free space"
                );
                (
                    StatusCode::INSUFFICIENT_STORAGE,
                    format!(
                        "the server's disk has {free} bytes free and keeps {needed} for messages; \
                         uploads are taken again when there is room"
                    ),
                )
            }
            Self::Busy(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
            Self::Failed(error) => {
                gimlet_core::error_rated!(%error, "file storage failed");
                if error.kind() == std::io::ErrorKind::StorageFull {
                    (StatusCode::INSUFFICIENT_STORAGE, "the disk is full".into())
                } else {
                    (
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "the file could not be stored".into(),
                    )
                }
            }
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

/// Stores the field `file` in the folder and returns its new name.
pub(super) async fn take(
    mut body: Multipart,
    folder: &UploadFolder,
    max: u64,
    room: UploadUsage,
) -> Result<String, FileRefusal> {
    while let Some(field) = body.next_field().await.map_err(|e| broken(&e, max))? {
        if field.name() == Some("file") {
            return keep(field, folder, max, room).await;
        }
    }
    Err(FileRefusal::Bad(
        "no field named file in the form; send the file as multipart field file".into(),
    ))
}

async fn keep(
    mut field: Field<'_>,
    folder: &UploadFolder,
    max: u64,
    mut room: UploadUsage,
) -> Result<String, FileRefusal> {
    let name = field.file_name().unwrap_or_default().to_owned();
    let mut head = Vec::new();
    let mut file: Option<(UnfinishedFile, FileKind)> = None;
    let mut total = 0_u64;
    let path = folder.path().await.map_err(FileRefusal::Failed)?;
    while let Some(chunk) = field.chunk().await.map_err(|e| broken(&e, max))? {
        total += chunk.len() as u64;
        if total > max {
            return Err(FileRefusal::TooLarge(max));
        }
        room.take(path, chunk.len() as u64)
            .await
            .map_err(FileRefusal::Exceeded)?;
        if let Some((draft, _)) = &mut file {
            draft.write(&chunk).await.map_err(FileRefusal::Failed)?;
            continue;
        }
        head.extend_from_slice(&chunk);
        if head.len() >= file_kind::HEAD_BYTES {
            file = Some(begin(&head, &name, folder).await?);
        }
    }
    // A file shorter than `file_kind::HEAD_BYTES` is recognised at its end.
    let (draft, kind) = match file {
        Some(file) => file,
        None if head.is_empty() => {
            return Err(FileRefusal::Bad(
                "the file is empty; send one with content".into(),
            ));
        }
        None => begin(&head, &name, folder).await?,
    };
    let name = draft
        .keep(kind.extension)
        .await
        .map_err(FileRefusal::Failed)?;
    room.keep();
    Ok(name)
}

async fn begin(
    head: &[u8],
    name: &str,
    folder: &UploadFolder,
) -> Result<(UnfinishedFile, FileKind), FileRefusal> {
    let seen = head.get(..file_kind::HEAD_BYTES).unwrap_or(head);
    let kind = file_kind::recognise(seen, name).ok_or(FileRefusal::Unsupported)?;
    let mut draft = folder.begin().await.map_err(FileRefusal::Failed)?;
    draft.write(head).await.map_err(FileRefusal::Failed)?;
    Ok((draft, kind))
}

fn broken(error: &MultipartError, max: u64) -> FileRefusal {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        FileRefusal::TooLarge(max)
    } else {
        FileRefusal::Bad(format!("the form could not be read: {}", error.body_text()))
    }
}
