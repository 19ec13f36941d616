//! Uploads and downloads through the router, in gim's shape.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::Request;
use gimlet_core::auth::SignInFailures;
use gimlet_core::business::{BusinessBackend, UserInfo};
use gimlet_listen::forwarded::ForwardedHeaders;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;

/// Accepts user 1 on device 2 with the token "t".
#[derive(Debug)]
struct OneUser;

#[async_trait::async_trait]
impl BusinessBackend for OneUser {
    async fn auth(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<(), RequestRefusal> {
        if (user.get(), device.get(), token) == (1, 2, "t") {
            return Ok(());
        }
        Err(RequestRefusal::Unauthorized("the token is wrong"))
    }

    async fn users(&self, _users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
        Ok(Vec::new())
    }
}

fn service(anonymous: bool) -> Router {
    router(files(anonymous))
}

fn files(anonymous: bool) -> FileService {
    FileService {
        forwarding: ForwardedHeaders::default(),
        store: store(anonymous, 0, 0),
        tokens: TokenChecker::new(Arc::new(OneUser), Arc::new(SignInFailures::new(10))),
        base: "http://files.example".into(),
        origins: AllowedOrigins::new(&["same".to_owned()], false),
    }
}

fn store(anonymous: bool, min_free: u64, each: u64) -> FileStore {
    let rules = FileRules {
        max: 1_000,
        anonymous,
        bounds: UploadBounds { min_free, each },
        thumbnail_side: 320,
    };
    FileStore::new(UploadFolder::temporary(), rules)
}

fn form(field: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let mut body = format!(
        "--B\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n--B--\r\n");
    body
}

async fn post(
    router: &Router,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> (StatusCode, serde_json::Value) {
    let mut request =
        Request::post("/upload").header("content-type", "multipart/form-data; boundary=B");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router
        .clone()
        .oneshot(request.body(Body::from(body)).unwrap())
        .await
        .unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

fn png(length: usize) -> Vec<u8> {
    let mut content = b"\x89PNG\r\n\x1a\n".to_vec();
    content.resize(length, 7);
    content
}

#[tokio::test]
async fn a_picture_comes_back_as_it_was_sent() {
    let router = service(true);
    let (status, answer) = post(&router, &[], form("file", "avatar.png", &png(900))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        (&answer["code"], &answer["message"]),
        (&0.into(), &"success".into())
    );
    let url = answer["data"]["url"].as_str().unwrap();
    let path = url.strip_prefix("http://files.example").unwrap();
    let got = router
        .clone()
        .oneshot(Request::get(path).body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(got.headers()["content-type"], "image/png");
    assert_eq!(got.headers()["x-content-type-options"], "nosniff");
    assert_eq!(
        got.into_body().collect().await.unwrap().to_bytes(),
        png(900)
    );
}

#[tokio::test]
async fn a_document_is_a_download() {
    let router = service(true);
    let (_, answer) = post(&router, &[], form("file", "a.pdf", b"%PDF-1.7")).await;
    let path = answer["data"]["url"]
        .as_str()
        .unwrap()
        .replace("http://files.example", "");
    let got = router
        .oneshot(Request::get(path).body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(got.headers()["content-disposition"], "attachment");
}

#[tokio::test]
async fn what_is_wrong_with_an_upload_is_said_in_gims_shape() {
    let router = service(true);
    let cases = [
        (
            form("file", "big.png", &png(1_001)),
            StatusCode::PAYLOAD_TOO_LARGE,
            "1000 bytes",
        ),
        (
            form("file", "huge.png", &png(100_000)),
            StatusCode::PAYLOAD_TOO_LARGE,
            "1000 bytes",
        ),
        (
            form("file", "a.html", b"<html>"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "image",
        ),
        (
            form("other", "a.png", &png(9)),
            StatusCode::BAD_REQUEST,
            "field file",
        ),
        (form("file", "a.png", b""), StatusCode::BAD_REQUEST, "empty"),
        (b"--B\r\nnonsense".to_vec(), StatusCode::BAD_REQUEST, "form"),
    ];
    for (body, expected, word) in cases {
        let (status, answer) = post(&router, &[], body).await;
        assert_eq!(status, expected, "{answer}");
        assert_eq!(
            (&answer["code"], &answer["data"]),
            (&1001.into(), &serde_json::Value::Null)
        );
        assert!(
            answer["message"].as_str().unwrap().contains(word),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn outside_development_an_upload_needs_a_sign_in() {
    let router = service(false);
    let body = || form("file", "a.png", &png(9));
    let (status, answer) = post(&router, &[], body()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
    let wrong = [("user_id", "1"), ("device_id", "2"), ("token", "x")];
    assert_eq!(
        post(&router, &wrong, body()).await.0,
        StatusCode::UNAUTHORIZED
    );
    let right = [("user_id", "1"), ("device-id", "2"), ("token", "t")];
    assert_eq!(post(&router, &right, body()).await.0, StatusCode::OK);
}

/// Accepts the first token that it is asked about.
#[derive(Debug, Default)]
struct FirstTokenBusiness(AtomicBool);

#[async_trait::async_trait]
impl BusinessBackend for FirstTokenBusiness {
    async fn auth(&self, _: UserId, _: DeviceId, _: &str) -> Result<(), RequestRefusal> {
        if self.0.swap(true, Ordering::Relaxed) {
            return Err(RequestRefusal::Unauthorized("the token is wrong"));
        }
        Ok(())
    }

    async fn users(&self, _users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_token_that_ends_while_the_file_is_sent_stores_nothing() {
    let business = Arc::new(FirstTokenBusiness::default());
    let files = FileService {
        tokens: TokenChecker::new(business, Arc::new(SignInFailures::new(10))),
        ..files(false)
    };
    let store = files.store.clone();
    let headers = [("user_id", "1"), ("device-id", "2"), ("token", "t")];
    let upload = form("file", "a.png", &png(9));
    let (status, answer) = post(&router(files), &headers, upload).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
    assert_eq!((store.counts().stored, store.counts().refused), (0, 1));
}

#[tokio::test]
async fn a_page_of_another_origin_may_not_upload() {
    let router = service(true);
    let body = || form("file", "a.png", &png(9));
    let host = ("host", "files.example");
    let other = [host, ("origin", "https://evil.example")];
    let (status, answer) = post(&router, &other, body()).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    let same = [host, ("origin", "https://files.example")];
    assert_eq!(post(&router, &same, body()).await.0, StatusCode::OK);
    assert_eq!(post(&router, &[host], body()).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_name_that_the_server_did_not_make_is_not_found() {
    let router = service(true);
    for path in ["/file/x.png", "/file/..%2f..%2fetc%2fpasswd", "/file/%00"] {
        let got = router
            .clone()
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(got.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

/// Sends GET for a file with these headers.
async fn get(router: &Router, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

async fn body(response: Response) -> Vec<u8> {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    bytes.to_vec()
}

#[tokio::test]
async fn a_part_of_a_file_is_sent() {
    let router = service(true);
    let content: Vec<u8> = png(8).into_iter().chain(0..=255).collect();
    let (_, answer) = post(&router, &[], form("file", "a.png", &content)).await;
    let url = answer["data"]["url"].as_str().unwrap();
    let path = url.strip_prefix("http://files.example").unwrap();

    let whole = get(&router, path, &[]).await;
    assert_eq!(whole.status(), StatusCode::OK);
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let etag = whole.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(body(whole).await, content);

    let part = get(&router, path, &[("range", "bytes=10-19")]).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 10-19/264");
    assert_eq!(part.headers()["content-length"], "10");
    assert_eq!(body(part).await, content[10..20]);
    let rest = get(
        &router,
        path,
        &[("range", "bytes=200-"), ("if-range", &etag)],
    )
    .await;
    assert_eq!(body(rest).await, content[200..]);
    let other = get(
        &router,
        path,
        &[("range", "bytes=200-"), ("if-range", "\"x\"")],
    )
    .await;
    assert_eq!(body(other).await, content);

    let beyond = get(&router, path, &[("range", "bytes=264-")]).await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.headers()["content-range"], "bytes */264");
    let known = get(&router, path, &[("if-none-match", &etag)]).await;
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(body(known).await, b"");

    let head = Request::head(path).body(Body::empty()).unwrap();
    let head = router.oneshot(head).await.unwrap();
    assert_eq!(head.headers()["content-length"], "264");
    assert_eq!(body(head).await, b"");
}

#[tokio::test]
async fn what_has_no_room_is_refused_with_words() {
    let each = |min_free, each| {
        let mut files = files(true);
        files.store = store(true, min_free, each);
        router(files)
    };
    let full = each(u64::MAX / 2, 0);
    let (status, answer) = post(&full, &[], form("file", "a.png", &png(9))).await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{answer}");
    assert!(
        answer["message"].as_str().unwrap().contains("free"),
        "{answer}"
    );

    let quota = each(0, 20);
    let upload = || form("file", "a.png", &png(15));
    assert_eq!(post(&quota, &[], upload()).await.0, StatusCode::OK);
    let (status, answer) = post(&quota, &[], upload()).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{answer}");
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("20 bytes a day"),
        "{answer}"
    );
}

async fn preflight(origin: &str) -> Response {
    let request = Request::options("/upload")
        .header("host", "files.example")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "token,user-id,device-id")
        .body(Body::empty());
    service(false).oneshot(request.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_browser_may_upload_from_an_allowed_page_only() {
    let allowed = preflight("https://files.example").await;
    assert_eq!(allowed.status(), StatusCode::OK);
    let header = |name: &str| allowed.headers().get(name).map(|it| it.to_str().unwrap());
    let origin = header("access-control-allow-origin");
    assert_eq!(origin, Some("https://files.example"));
    let headers = header("access-control-allow-headers").unwrap();
    for name in ["token", "user-id", "device-id", "content-type"] {
        assert!(headers.split(',').any(|it| it == name), "{headers}");
    }
    let refused = preflight("https://evil.example").await;
    let origin = refused.headers().get("access-control-allow-origin");
    assert_eq!(origin, None);
}
