//! Files: uploads as a body and as a form, downloads, and refusals.

use super::forward::NodeOfCluster;
use super::*;

/// A picture of these dimensions, as PNG without compression.
fn png(width: u32, height: u32) -> Vec<u8> {
    let row = [&[0][..], &vec![0x7f; width as usize * 3]].concat();
    let pixels: Vec<u8> = (0..height).flat_map(|_| row.clone()).collect();
    let mut zlib = vec![0x78, 0x01];
    let mut chunks = pixels.chunks(0xFFFF).peekable();
    while let Some(chunk) = chunks.next() {
        let length = u16::try_from(chunk.len()).unwrap();
        zlib.push(u8::from(chunks.peek().is_none()));
        zlib.extend(length.to_le_bytes());
        zlib.extend((!length).to_le_bytes());
        zlib.extend(chunk);
    }
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in &pixels {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    zlib.extend(((high << 16) | low).to_be_bytes());
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]);
    let mut content = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header), (b"IDAT", zlib), (b"IEND", Vec::new())] {
        content.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        let checked = [&kind[..], &data].concat();
        let mut crc = u32::MAX;
        for byte in &checked {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
            }
        }
        content.extend(checked);
        content.extend((!crc).to_be_bytes());
    }
    content
}

/// An upload: path with query, bearer, headers and body.
async fn upload(
    api: &TestApi,
    path: &str,
    bearer: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> TestAnswer {
    let mut request = Request::post(path);
    if !bearer.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = api.raw(request.body(body.into()).unwrap()).await;
    TestAnswer::of(response).await
}

/// Returns the path of a URL in an answer.
fn path_of(answer: &Value, field: &str) -> String {
    let url = answer[field].as_str().unwrap();
    let path = url.strip_prefix("http://files.example");
    path.unwrap().to_owned()
}

async fn content(response: Response) -> Vec<u8> {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    bytes.to_vec()
}

#[tokio::test]
async fn an_uploaded_picture_has_dimensions_and_a_thumbnail() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let picture = png(160, 90);
    let headers = [("content-type", "image/jpeg")];
    let stored = upload(
        &api,
        "/v1/files?name=caf%C3%A9.png",
        &alice.token,
        &headers,
        picture.clone(),
    );
    let stored = stored.await.ok();
    // The content decides, not the declared type.
    assert_eq!(stored["media_type"], "image/png");
    assert_eq!(stored["name"], "caf\u{e9}.png");
    assert_eq!(stored["size"], picture.len().to_string());
    assert_eq!(
        (&stored["width"], &stored["height"]),
        (&json!(160), &json!(90))
    );

    let path = path_of(&stored, "url");
    assert_eq!(
        path,
        format!("/v1/files/{}", stored["file_id"].as_str().unwrap())
    );
    let named = format!("{path}?name=caf%C3%A9.png");
    let response = api.respond(Method::GET, &named, "", &[], None).await;
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers().clone();
    assert_eq!(headers["content-type"], "image/png");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(
        headers["content-disposition"],
        "inline; filename*=UTF-8''caf%C3%A9.png"
    );
    assert_eq!(
        headers["content-security-policy"],
        "default-src 'none'; sandbox"
    );
    assert_eq!(content(response).await, picture);

    let thumbnail = path_of(&stored, "thumbnail_url");
    let response = api.respond(Method::GET, &thumbnail, "", &[], None).await;
    assert_eq!(response.headers()["content-type"], "image/jpeg");
    assert!(content(response).await.starts_with(b"\xff\xd8\xff"));
}

#[tokio::test]
async fn a_part_a_known_file_and_a_missing_one_are_answered() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let text = "0123456789";
    let stored = upload(&api, "/v1/files?name=a.txt", &alice.token, &[], text);
    let stored = stored.await.ok();
    assert_eq!(stored.get("width"), None);
    assert_eq!(stored.get("thumbnail_url"), None);
    let path = path_of(&stored, "url");
    let get = |headers: &'static [(&str, &str)]| api.respond(Method::GET, &path, "", headers, None);
    let part = get(&[("Range", "bytes=3-5")]).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 3-5/10");
    assert_eq!(part.headers()["content-disposition"], "attachment");
    let etag = part.headers()["etag"].to_str().unwrap().to_owned();
    assert!(etag.starts_with('"'), "a strong validator");
    assert_eq!(content(part).await, b"345");
    let beyond = get(&[("Range", "bytes=10-")]).await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.headers()["content-range"], "bytes */10");
    assert_eq!(beyond.headers()["content-type"], "application/problem+json");
    let known = [("If-None-Match", etag.as_str())];
    let known = api.respond(Method::GET, &path, "", &known, None).await;
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    let head = api.respond(Method::HEAD, &path, "", &[], None).await;
    assert_eq!(head.headers()["content-length"], "10");
    assert_eq!(content(head).await, b"");
    for missing in ["/v1/files/none.png", "/v1/files/..%2f..%2fetc%2fpasswd"] {
        let answer = api.call(Method::GET, missing, "", None).await;
        answer.refused(404, "there is no such file");
    }
}

#[tokio::test]
async fn a_form_is_an_upload_too() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let form = |field: &str| {
        format!(
            "--B\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"a.txt\"\r\n\r\n\
             hello\r\n--B--\r\n"
        )
    };
    let headers = [("content-type", "multipart/form-data; boundary=B")];
    let send = |body| upload(&api, "/v1/files", &alice.token, &headers, body);
    let stored = send(form("file")).await.ok();
    assert_eq!(
        (&stored["name"], &stored["size"]),
        (&json!("a.txt"), &json!("5"))
    );
    let wrong = send(form("picture")).await;
    wrong.refused(400, "send the file as multipart field file");
    send("--B\r\nnonsense".into()).await.refused(400, "form");
    let no_boundary = [("content-type", "multipart/form-data")];
    let wrong = upload(&api, "/v1/files", &alice.token, &no_boundary, form("file"));
    wrong.await.refused(400, "send the file as the body");
    // More than axum's own bound for forms, and less than the largest file.
    let long = form("file").replace("hello", &"x".repeat(99_000));
    assert_eq!(send(long).await.ok()["size"], "99000");
}

#[tokio::test]
async fn what_the_rules_forbid_is_refused_with_the_same_words() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let send = |query: &str, body: Vec<u8>| {
        let path = format!("/v1/files{query}");
        let (api, token) = (&api, &alice.token);
        async move { upload(api, &path, token, &[], body).await }
    };
    let stranger = upload(&api, "/v1/files", "", &[], png(9, 9)).await;
    stranger.refused(401, "the header Authorization is missing");
    let large = vec![b'x'; 100_001];
    for (query, body, status, words) in [
        (
            "?name=a.html",
            b"<html>".to_vec(),
            415,
            "this kind of file is not accepted",
        ),
        ("?name=a.txt", Vec::new(), 400, "the file is empty"),
        (
            "?name=a.txt",
            large.clone(),
            413,
            "larger than 100000 bytes",
        ),
        ("?name=", b"x".to_vec(), 400, "name is not a file's name"),
        (
            "?name=a%0a.txt",
            b"x".to_vec(),
            400,
            "without control characters",
        ),
        ("?nam=a.txt", b"x".to_vec(), 400, "did you mean name?"),
    ] {
        send(query, body).await.refused(status, words);
    }
    // A length that is not declared is counted, and a declared one is refused before the body.
    let chunks = large
        .chunks(1_000)
        .map(|it| Ok::<_, std::io::Error>(it.to_vec()));
    let chunks: Vec<_> = chunks.collect();
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    let path = "/v1/files?name=a.txt";
    let refused = upload(&api, path, &alice.token, &[], body).await;
    refused.refused(413, "larger than 100000 bytes");
    let endless = Body::from_stream(futures_util::stream::pending::<
        Result<Vec<u8>, std::io::Error>,
    >());
    let declared = [("content-length", "100001")];
    let refused = upload(&api, path, &alice.token, &declared, endless).await;
    refused.refused(413, "larger than 100000 bytes");
}

#[tokio::test]
async fn a_user_has_a_quota_also_if_a_backend_uploads() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let acting = [("Gimlet-User", alice.id.as_str())];
    let send = |bearer: String, headers: Vec<(&'static str, String)>| {
        let api = &api;
        async move {
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, it)| (*name, it.as_str()))
                .collect();
            let body = vec![b'x'; 100_000];
            upload(api, "/v1/files?name=a.txt", &bearer, &headers, body).await
        }
    };
    let for_alice = vec![("Gimlet-User", acting[0].1.to_owned())];
    send(KEY.into(), for_alice.clone()).await.ok();
    send(alice.token.clone(), Vec::new()).await.ok();
    send(KEY.into(), for_alice.clone()).await.ok();
    let refused = send(alice.token.clone(), Vec::new()).await;
    assert!(refused.json["retry_after_ms"].as_i64().unwrap() > 0);
    refused.refused(429, "you may upload 300000 bytes a day");
    let bob = api.sign_in("200").await;
    send(bob.token, Vec::new()).await.ok();
    let refused = send(KEY.into(), Vec::new()).await;
    refused.refused(400, "Gimlet-User");
}

#[tokio::test]
async fn a_folder_takes_no_files_from_clients() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let body = json!({"size": "9"});
    let path = "/v1/files/presigned";
    let refused = api.call(Method::POST, path, "", Some(&body)).await;
    refused.refused(401, "the header Authorization is missing");
    let refused = api.call(Method::POST, path, &alice.token, Some(&body));
    refused
        .await
        .refused(501, "send the file to POST /v1/files");
}

/// The credentials come first, and then what this node lacks.
#[tokio::test]
async fn a_node_without_files_checks_the_token_and_says_who_has_them() {
    for node in [NodeOfCluster::Connect, NodeOfCluster::Logic] {
        let api = TestApi::of_cluster(node);
        let alice = api.sign_in("100").await;
        let wrong = format!("{}.{}.wrong", alice.id, alice.device);
        let send = |bearer: &str| {
            let (api, bearer) = (&api, bearer.to_owned());
            async move { upload(api, "/v1/files", &bearer, &[], png(9, 9)).await }
        };
        send("")
            .await
            .refused(401, "the header Authorization is missing");
        send("nonsense")
            .await
            .refused(401, "neither a user's token");
        send(&wrong).await.refused(401, "");
        let refused = send(&alice.token).await;
        refused.refused(501, "a node with the business role");
    }
}
