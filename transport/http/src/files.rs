//! Files: uploads and downloads. The rules are those of `gimlet-files`.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use gimlet_core::error::RequestRefusal;
use gimlet_core::scope::ApiScope;
use gimlet_core::time::{SystemClock, TimeSource as _, UnixTimestamp};
use gimlet_files::{FileRefusal, StoredName, UploadLimitExceeded, UploadedFile};
use gimlet_json::rfc3339;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::ApiFiles;
use crate::call::ApiCall;
use crate::download::download;
use crate::forward::{UPLOAD_PATH, admit_again};
use crate::json::{SchemaDefinitions, WholeNumber, object};
use crate::operation::{ApiOperation, OperationAccess, OperationAnswer};
use crate::problem::ApiProblem;
use crate::upload::{self, UploadFailure};

/// Callers that may upload.
const UPLOAD_ACCESS: OperationAccess = OperationAccess::User(ApiScope::FilesWrite);
/// Longest name of a file, in bytes.
const MAX_NAME_BYTES: usize = 255;
/// gimlet's codes of refused files; `docs/errors.md` lists them.
const FAILURE_CODE: i32 = 2;
const FORBIDDEN_CODE: i32 = 7;
const EXHAUSTED_CODE: i32 = 8;
const UNAVAILABLE_CODE: i32 = 14;
/// Time after which an upload may find a place.
const UPLOAD_RETRY_MS: i64 = 5_000;

impl ApiFiles {
    fn url(&self, name: &StoredName) -> String {
        format!("{}/v1/files/{name}", self.base)
    }

    /// Describes an uploaded file to its client.
    fn describe(&self, uploaded: &UploadedFile, name: Option<String>) -> FileInfo {
        let picture = uploaded.picture.as_ref();
        FileInfo {
            file_id: uploaded.name.to_string(),
            url: self.url(&uploaded.name),
            name,
            size: WholeNumber(uploaded.length),
            media_type: uploaded.name.kind().mime.to_owned(),
            width: picture.map(|it| it.width),
            height: picture.map(|it| it.height),
            thumbnail_url: picture.map(|it| self.url(&it.thumbnail)),
        }
    }
}

object! {
    /// The name of a file that is sent.
    UploadFile {
        /// The file's name: it decides the kind of a text or an office document, whose content does
        /// not. A form names its file itself.
        name: Option<String>,
    }
}

object! {
    /// A file that is stored.
    FileInfo {
        /// The file's id.
        file_id: String,
        /// Its URL. Anyone who knows it may read the file.
        url: String,
        /// The name that the client gave it.
        name: Option<String>,
        /// Its size in bytes.
        size: WholeNumber,
        /// Its media type, by its content.
        media_type: String,
        /// The width in pixels of a picture that can be shown.
        width: Option<u32>,
        /// The height in pixels of a picture that can be shown.
        height: Option<u32>,
        /// The URL of the picture's thumbnail.
        thumbnail_url: Option<String>,
    }
}

object! {
    /// The file that is requested.
    NamedFile {
        /// The file's id.
        file_id: String,
        /// The name under which a browser saves the file.
        name: Option<String>,
    }
}

object! {
    /// A file that the client sends to the storage itself.
    PresignFile {
        /// Its size in bytes; the storage refuses another.
        size: WholeNumber,
    }
}

object! {
    /// A URL for one file.
    PresignedFile {
        /// The id that completes the upload.
        upload_id: String,
        /// The URL to which the file is sent by `PUT`, without further headers.
        url: String,
        /// The time until which the URL is valid.
        expires_at: String,
        /// The same time in milliseconds.
        expires_at_ms: i64,
    }
}

object! {
    /// A file that was sent to the storage.
    CompleteFile {
        /// The id of the upload.
        upload_id: String,
        /// The file's name: it decides the kind of a text or an office document, whose content does
        /// not.
        name: Option<String>,
    }
}

/// The content of a file.
struct FileContent(Response);

impl OperationAnswer for FileContent {
    const STATUS: StatusCode = StatusCode::OK;
    const MEDIA_TYPE: Option<&'static str> = Some("*/*");

    fn schema(_: &mut SchemaDefinitions) -> Value {
        json!({"description": "The content of the file."})
    }

    fn respond(self) -> Response {
        self.0
    }
}

impl From<FileRefusal> for ApiProblem {
    fn from(refusal: FileRefusal) -> Self {
        let detail = refusal.to_string();
        let status = file_status(&refusal);
        match refusal {
            FileRefusal::SignInRequired => {
                RequestRefusal::Unauthorized("uploads need a sign-in").into()
            }
            FileRefusal::TooLarge(_) => Self::of(status, "file-too-large", detail),
            FileRefusal::Unsupported => Self::of(status, "unsupported-file", detail),
            FileRefusal::Empty => Self::of(status, "empty-file", detail),
            FileRefusal::OtherLength { .. } => Self::of(status, "other-length", detail),
            FileRefusal::TooSlow => Self::of(status, "upload-too-slow", detail),
            FileRefusal::Exceeded(UploadLimitExceeded::Quota { wait, .. }) => {
                let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
                Self::of_code(status, "upload-quota", EXHAUSTED_CODE, detail, wait)
            }
            FileRefusal::Exceeded(UploadLimitExceeded::Disk { .. }) | FileRefusal::DiskFull => {
                Self::of_code(status, "no-space", EXHAUSTED_CODE, detail, 0)
            }
            FileRefusal::Busy => Self::of_code(
                status,
                "too-many-uploads",
                EXHAUSTED_CODE,
                detail,
                UPLOAD_RETRY_MS,
            ),
            FileRefusal::Rejected(_) => {
                Self::of_code(status, "file-rejected", FORBIDDEN_CODE, detail, 0)
            }
            FileRefusal::Unscanned => Self::of_code(
                status,
                "file-not-checked",
                UNAVAILABLE_CODE,
                detail,
                UPLOAD_RETRY_MS,
            ),
            FileRefusal::NoDirectUploads => RequestRefusal::Unsupported(
                "this server takes files itself; send the file to POST /v1/files",
            )
            .into(),
            FileRefusal::Failed => Self::of_code(status, "storage-failed", FAILURE_CODE, detail, 0),
        }
    }
}

impl From<UploadFailure> for ApiProblem {
    fn from(failure: UploadFailure) -> Self {
        match failure {
            UploadFailure::Malformed(text) => Self::bad(text),
            UploadFailure::Refused(refusal) => refusal.into(),
        }
    }
}

/// Returns the status of a refused upload or download.
#[must_use]
pub const fn file_status(refusal: &FileRefusal) -> StatusCode {
    match refusal {
        FileRefusal::SignInRequired => StatusCode::UNAUTHORIZED,
        FileRefusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        FileRefusal::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        FileRefusal::Empty | FileRefusal::OtherLength { .. } | FileRefusal::TooSlow => {
            StatusCode::BAD_REQUEST
        }
        FileRefusal::Exceeded(UploadLimitExceeded::Quota { .. }) => StatusCode::TOO_MANY_REQUESTS,
        FileRefusal::Exceeded(UploadLimitExceeded::Disk { .. }) | FileRefusal::DiskFull => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        FileRefusal::Rejected(_) => StatusCode::FORBIDDEN,
        FileRefusal::NoDirectUploads => StatusCode::NOT_IMPLEMENTED,
        FileRefusal::Busy | FileRefusal::Unscanned => StatusCode::SERVICE_UNAVAILABLE,
        FileRefusal::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Checks the name that a client gives a file.
fn checked_name(name: Option<&str>) -> Result<(), ApiProblem> {
    let Some(name) = name else {
        return Ok(());
    };
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        let text = format!(
            "name is not a file's name; it must be 1 to {MAX_NAME_BYTES} bytes without control \
             characters"
        );
        return Err(ApiProblem::field("name", text));
    }
    Ok(())
}

async fn upload_file(call: ApiCall, input: UploadFile, body: Body) -> Result<FileInfo, ApiProblem> {
    let user = call.user()?;
    let files = call.files()?;
    checked_name(input.name.as_deref())?;
    let begun = files.store.begin(Some(user))?;
    let taken = upload::take(&call.headers, body, input.name.as_deref(), begun).await;
    let (complete, form_name) = taken?;
    let may_upload = admit_again(&call, UPLOAD_ACCESS);
    let uploaded = complete.store(may_upload).await?;
    Ok(files.describe(&uploaded, input.name.or(form_name)))
}

async fn get_file(call: ApiCall, input: NamedFile) -> Result<FileContent, ApiProblem> {
    let files = call.files()?;
    checked_name(input.name.as_deref())?;
    let name = input.name.as_deref();
    let found = download(&files.store, &input.file_id, &call.headers, name).await?;
    let response = found.ok_or_else(|| {
        let text = "there is no such file; it has never existed, or was removed";
        ApiProblem::of(StatusCode::NOT_FOUND, "no-such-file", text)
    })?;
    if response.status() != StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok(FileContent(response));
    }
    let text = "range begins behind the end of the file; the header content-range names its length";
    let problem = ApiProblem::of(response.status(), "no-such-range", text);
    let mut refused = problem.into_response();
    refused
        .headers_mut()
        .extend(response.into_parts().0.headers);
    Ok(FileContent(refused))
}

async fn presign_file(call: ApiCall, input: PresignFile) -> Result<PresignedFile, ApiProblem> {
    let user = call.user()?;
    let presigned = call.files()?.store.presign(user, input.size.0).await?;
    let lifetime = i64::try_from(presigned.lifetime.as_millis()).unwrap_or(i64::MAX);
    let expires = UnixTimestamp(SystemClock.now().0.saturating_add(lifetime));
    Ok(PresignedFile {
        upload_id: presigned.id,
        url: presigned.url,
        expires_at: rfc3339(expires),
        expires_at_ms: expires.0,
    })
}

async fn complete_file(call: ApiCall, input: CompleteFile) -> Result<FileInfo, ApiProblem> {
    let user = call.user()?;
    let files = call.files()?;
    checked_name(input.name.as_deref())?;
    let name = input.name.as_deref().unwrap_or_default();
    let completed = files.store.complete(user, &input.upload_id, name).await?;
    let complete = completed.ok_or_else(|| {
        let text =
            "nothing was sent under this upload_id; send the file to the URL first, within an hour";
        ApiProblem::of(StatusCode::NOT_FOUND, "no-such-upload", text)
    })?;
    // The storage may have taken minutes to give the content back.
    let may_upload = admit_again(&call, UPLOAD_ACCESS);
    let uploaded = complete.store(may_upload).await?;
    Ok(files.describe(&uploaded, input.name))
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![
        ApiOperation::upload(
            UPLOAD_PATH,
            UPLOAD_ACCESS,
            "uploadFile",
            "Stores the file that is the body, or the field `file` of a form. A picture gets its \
             dimensions and a thumbnail.",
            upload_file,
        ),
        ApiOperation::new(
            Method::POST,
            "/files/presigned",
            UPLOAD_ACCESS,
            "presignFile",
            "Returns a URL to which the client sends one file itself, on a server that stores files in \
             S3. The file is stored when the upload is completed.",
            presign_file,
        )
        .by_storing_node(),
        ApiOperation::new(
            Method::POST,
            "/files/presigned/{upload_id}/complete",
            UPLOAD_ACCESS,
            "completeFile",
            "Checks the content that was sent to the URL, and stores it as a file.",
            complete_file,
        )
        .by_storing_node(),
        ApiOperation::new(
            Method::GET,
            "/files/{file_id}",
            OperationAccess::Open,
            "getFile",
            "Returns the content of a file, or a part of it.",
            get_file,
        )
        .by_storing_node()
        .answers(
            StatusCode::PARTIAL_CONTENT,
            "The part that the range names.",
        )
        .answers(
            StatusCode::NOT_MODIFIED,
            "The client has the file: If-None-Match names it.",
        )
        .header(
            "range",
            "The part of the file that is requested, as `bytes=FIRST-LAST`.",
        )
        .header(
            "if-range",
            "The ETag of the file whose part is requested; of another file the whole is sent.",
        )
        .header(
            "if-none-match",
            "The ETag of a file that the client has: the answer is 304.",
        ),
    ]
}
