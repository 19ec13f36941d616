//! Answers of a business server, right and wrong.

use super::*;
use bytes::Bytes;

fn answer(status: u16, body: &str) -> OutboundResponse {
    OutboundResponse {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

#[test]
fn a_token_is_accepted_or_refused_and_everything_else_is_a_failure() {
    let read = |status, body| read_auth(&answer(status, body)).map_err(|it| it.to_string());
    let accepted = |left| Ok(TokenAnswer::Accepted { left });
    assert_eq!(read(200, r#"{"accepted":true}"#), accepted(None));
    let limited = accepted(Some(Duration::from_mins(1)));
    assert_eq!(read(200, r#"{"accepted":true,"expires_in":60}"#), limited);
    assert_eq!(read(200, r#"{"accepted":false}"#), Ok(TokenAnswer::Refused));
    assert_eq!(read(401, ""), Ok(TokenAnswer::Refused));
    assert_eq!(read(403, "<html>"), Ok(TokenAnswer::Refused));
    for (status, body, why) in [
        (200, "", "JSON"),
        (200, "<html>", "JSON"),
        (200, "[]", "JSON"),
        (200, "{}", "accepted"),
        (200, r#"{"accepted":"yes"}"#, "accepted"),
        (200, r#"{"accepted":1}"#, "accepted"),
        (200, r#"{"accepted":true,"expires_in":-1}"#, "expires_in"),
        (200, r#"{"accepted":true,"expires_in":"60"}"#, "expires_in"),
        (201, r#"{"accepted":true}"#, "201"),
        (302, "", "302"),
        (404, "", "404"),
        (500, r#"{"accepted":true}"#, "500"),
    ] {
        let error = read(status, body).unwrap_err();
        assert!(error.contains(why), "{status} {body}: {error}");
    }
}

#[test]
fn users_are_those_that_were_asked_for() {
    let asked = HashSet::from([1, 2].map(|id| UserId::new(id).unwrap()));
    let read = |body: &str| {
        let users = read_users(&answer(200, body), &asked);
        users.map_err(|error| error.to_string())
    };
    let body =
        r#"{"users":[{"user_id":"1","nickname":"ann","sex":2,"created_at":5},{"user_id":2}]}"#;
    let users = read(body).unwrap();
    assert_eq!(users[0].profile.nickname, "ann");
    assert_eq!(
        (users[0].sex, users[0].created_at),
        (2, UnixTimestamp(5_000))
    );
    assert_eq!(users[1].user.get(), 2);
    assert_eq!(read(r#"{"users":[]}"#), Ok(vec![]));
    for (body, why) in [
        ("{}", "users"),
        (r#"{"users":{}}"#, "users"),
        (r#"{"users":[1]}"#, "user_id"),
        (r#"{"users":[{"nickname":"ann"}]}"#, "user_id"),
        (r#"{"users":[{"user_id":"0"}]}"#, "user_id"),
        (
            r#"{"users":[{"user_id":"3"}]}"#,
            "user 3, which was not requested",
        ),
        (
            r#"{"users":[{"user_id":"1"},{"user_id":1}]}"#,
            "user 1 twice",
        ),
        (r#"{"users":[{"user_id":"1","nickname":5}]}"#, "nickname"),
        (
            r#"{"users":[{"user_id":"1","created_at":"now"}]}"#,
            "created_at",
        ),
    ] {
        let error = read(body).unwrap_err();
        assert!(error.contains(why), "{body}: {error}");
    }
}
