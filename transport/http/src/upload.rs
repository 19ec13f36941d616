//! Reads uploads: a body that is the file, or a form with the field `file`.

use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest as _, Multipart, Request};
use gimlet_files::{CompleteUpload, FileRefusal, FileUpload};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;

/// Bytes that a form may have around the file.
pub const FORM_OVERHEAD_BYTES: u64 = 64 * 1024;

/// Reasons an upload failed.
#[derive(Debug)]
pub enum UploadFailure {
    /// The request has another form; the text says which one is right.
    Malformed(String),
    /// The file was refused.
    Refused(FileRefusal),
}

impl From<FileRefusal> for UploadFailure {
    fn from(refusal: FileRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Receives the field `file` of a form; also returns the name that the form gives it.
///
/// # Errors
/// The form has no such field, or the file is refused.
pub async fn take_form(
    mut form: Multipart,
    mut upload: FileUpload,
) -> Result<(CompleteUpload, Option<String>), UploadFailure> {
    let max = upload.max();
    let broken = |error: MultipartError| broken(&error, max);
    while let Some(mut field) = upload.within(form.next_field()).await?.map_err(broken)? {
        if field.name() != Some("file") {
            continue;
        }
        let name = field.file_name().map(ToOwned::to_owned);
        upload.name(name.as_deref().unwrap_or_default());
        while let Some(chunk) = upload.within(field.chunk()).await?.map_err(broken)? {
            upload.write(&chunk).await?;
        }
        return Ok((upload.finish().await?, name));
    }
    Err(UploadFailure::Malformed(
        "no field named file in the form; send the file as multipart field file".into(),
    ))
}

fn broken(error: &MultipartError, max: u64) -> UploadFailure {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return FileRefusal::TooLarge(max).into();
    }
    UploadFailure::Malformed(format!("the form could not be read: {}", error.body_text()))
}

/// Receives the file of a request; also returns its name, if a form gives one. `name` decides over that of
/// a form.
pub(crate) async fn take(
    headers: &HeaderMap,
    body: Body,
    name: Option<&str>,
    upload: FileUpload,
) -> Result<(CompleteUpload, Option<String>), UploadFailure> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|it| it.to_str().ok()).unwrap_or_default();
    if !kind.trim_start().starts_with("multipart/") {
        return Ok((take_body(headers, body, name, upload).await?, None));
    }
    let limit = upload.max().saturating_add(FORM_OVERHEAD_BYTES);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut request = Request::new(body);
    request.headers_mut().clone_from(headers);
    DefaultBodyLimit::max(limit).apply(&mut request);
    let form = Multipart::from_request(request, &()).await;
    let form = form.map_err(|error| {
        UploadFailure::Malformed(format!(
            "{}; send the file as the body, or multipart/form-data with a field file",
            error.body_text()
        ))
    })?;
    take_form(form, upload).await
}

async fn take_body(
    headers: &HeaderMap,
    mut body: Body,
    name: Option<&str>,
    mut upload: FileUpload,
) -> Result<CompleteUpload, UploadFailure> {
    // A file of a declared length is refused before it is sent.
    let declared = headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > upload.max()) {
        return Err(FileRefusal::TooLarge(upload.max()).into());
    }
    upload.name(name.unwrap_or_default());
    while let Some(frame) = upload.within(body.frame()).await? {
        let frame = frame.map_err(|error| {
            UploadFailure::Malformed(format!("the body could not be read: {error}"))
        })?;
        if let Ok(chunk) = frame.into_data() {
            upload.write(&chunk).await?;
        }
    }
    Ok(upload.finish().await?)
}
