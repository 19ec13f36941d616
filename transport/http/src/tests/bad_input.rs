//! Wrong requests: each has an answer that says what would be right.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_wrong_field_is_refused_by_name() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let content = json!({"type": "text", "text": "hi"});
    let huge = "x".repeat(61 * 1024);
    for (body, status, words) in [
        (
            json!({"content": content}),
            400,
            "to_user and to_group are missing",
        ),
        (
            json!({"to_user": bob.id}),
            400,
            "content is missing; it must be an object",
        ),
        (
            json!({"to_user": bob.id, "to_group": "1", "content": content}),
            400,
            "a message has one receiver",
        ),
        (
            json!({"to_usr": bob.id, "content": content}),
            400,
            "did you mean to_user?",
        ),
        (
            json!({"to_user": "0", "content": content}),
            400,
            "to_user is \"0\"",
        ),
        (
            json!({"to_user": -1, "content": content}),
            400,
            "to_user is -1",
        ),
        (
            json!({"to_user": 9_007_199_254_740_993_u64, "content": content}),
            400,
            "send it as a string",
        ),
        (
            json!({"to_user": true, "content": content}),
            400,
            "to_user is true",
        ),
        (
            json!({"to_user": "999", "content": content}),
            404,
            "no user u:999",
        ),
        (
            json!({"to_group": "999", "content": content}),
            404,
            "no group g:999",
        ),
        (
            json!({"to_user": bob.id, "content": {"type": "txt"}}),
            400,
            "content.type is \"txt\"; it must be one of text",
        ),
        (
            json!({"to_user": bob.id, "content": {"type": "text", "text": huge}}),
            400,
            "content",
        ),
        (
            json!({"to_user": bob.id, "content": content, "mentions": ["1", "x"]}),
            400,
            "mentions[1] is \"x\"",
        ),
        (
            json!({"to_user": bob.id, "content": content, "store": "yes"}),
            400,
            "store is \"yes\"; it must be true or false",
        ),
        (
            json!({"to_user": bob.id, "content": content, "sender": "system"}),
            400,
            "sender is for a backend",
        ),
        (
            json!([]),
            400,
            "the body is an array; it must be a JSON object",
        ),
        (
            json!("x"),
            400,
            "the body is \"x\"; it must be a JSON object",
        ),
    ] {
        let refused = api.call(Method::POST, "/v1/messages", &alice.token, Some(&body));
        refused.await.refused(status, words);
    }
    let inbox = api.get("/v1/inbox", &bob.token).await;
    assert_eq!(inbox["entries"], json!([]), "nothing was stored");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_query_or_path_is_refused_by_name() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    for (path, status, words) in [
        (
            "/v1/inbox?after=-1",
            400,
            "after is \"-1\"; it must be a seq",
        ),
        (
            "/v1/inbox?limit=0",
            400,
            "limit is 0; it must be at least 1",
        ),
        (
            "/v1/inbox?limit=x",
            400,
            "limit is \"x\"; it must be an integer",
        ),
        (
            "/v1/inbox?wait=31",
            400,
            "wait is \"31\"; it must be an integer from 0 to 30",
        ),
        ("/v1/inbox?afer=1", 400, "did you mean after?"),
        ("/v1/inbox?after=1&after=2", 400, "after is given twice"),
        ("/v1/groups/x", 400, "group_id is \"x\"; it must be an id"),
        ("/v1/groups/%ff", 400, ""),
        ("/v1/groups/1?group_id=2", 400, "group_id is given twice"),
        (
            "/v1/friends?limit=0",
            400,
            "limit is 0; it must be from 1 to 500",
        ),
        ("/v1/users?key=", 400, "key is empty"),
        ("/v1/users", 400, "key is missing"),
        ("/v1/nothing", 404, "there is no /nothing below /v1"),
        ("/v1", 404, "below /v1"),
        ("/v1/messages", 405, "the header Allow lists its methods"),
    ] {
        let refused = api.call(Method::GET, path, &alice.token, None);
        refused.await.refused(status, words);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_body_is_refused_with_its_reason() {
    let api = TestApi::start();
    let alice = api.sign_in("100").await;
    let request = |body: Vec<u8>, kind: &str| {
        Request::post("/v1/messages")
            .header(header::AUTHORIZATION, format!("Bearer {}", alice.token))
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body))
            .unwrap()
    };
    let json = "application/json";
    for (body, kind, status, words) in [
        (b"{".to_vec(), json, 400, "the body is not JSON"),
        (b"{\"a\":1,\"a\":2}".to_vec(), json, 400, "a is given twice"),
        (b"\xff\xfe".to_vec(), json, 400, "the body is not JSON"),
        (
            b"{\"to_user\":\"\xff\"}".to_vec(),
            json,
            400,
            "the body is not JSON",
        ),
        (vec![b'['; 10_000], json, 400, "recursion limit"),
        (
            b"{}".to_vec(),
            "text/plain",
            415,
            "Content-Type: application/json",
        ),
        (
            b"a=b".to_vec(),
            "application/x-www-form-urlencoded",
            415,
            "--json",
        ),
        (vec![b' '; 300_000], json, 413, "longer than 262144 bytes"),
        (Vec::new(), json, 400, "content is missing"),
    ] {
        let response = api.raw(request(body, kind)).await;
        TestAnswer::of(response).await.refused(status, words);
    }
    // The length is not declared: it is counted.
    let chunks =
        futures_util::stream::iter((0..300).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1_000])));
    let mut streamed = request(Vec::new(), json);
    *streamed.body_mut() = Body::from_stream(chunks);
    let response = api.raw(streamed).await;
    TestAnswer::of(response)
        .await
        .refused(413, "longer than 262144 bytes");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_sign_in_is_refused() {
    let api = TestApi::start();
    for (body, status, words) in [
        (
            json!({"phone_number": "100", "code": "1"}),
            403,
            "the verification code is wrong",
        ),
        (
            json!({"phone_number": "x", "code": "000000"}),
            400,
            "phone_number must be",
        ),
        (json!({"code": "000000"}), 400, "phone_number is missing"),
        (
            json!({"phone_number": "100", "code": "000000", "device_id": "5"}),
            404,
            "no device d:5",
        ),
    ] {
        let refused = api.call(Method::POST, "/v1/sign-in", "", Some(&body));
        refused.await.refused(status, words);
    }
    let wrong = json!({"type": 0});
    let refused = api.call(Method::POST, "/v1/devices", "", Some(&wrong));
    refused.await.refused(400, "type is 0");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_of_a_send_is_refused() {
    let api = TestApi::start();
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let body = json!({"to_user": bob.id, "content": {"type": "text", "text": "hi"}});
    let long = "k".repeat(65);
    for (key, words) in [
        ("", "is empty or not ASCII"),
        (&long, "Idempotency-Key is 65 bytes"),
    ] {
        let headers = [("Idempotency-Key", key)];
        let sent = api.respond(
            Method::POST,
            "/v1/messages",
            &alice.token,
            &headers,
            Some(&body),
        );
        TestAnswer::of(sent.await).await.refused(400, words);
    }
}
