//! Rules of requests that hold before their operation is known to be right: what is given once, what
//! waits, and what has no effect.

use axum::extract::rejection::RawPathParamsRejection;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::credentials::USER_HEADER;
use crate::problem::ApiProblem;

/// Query parameter with a token, for programs that cannot set headers (`EventSource`).
pub(crate) const TOKEN_PARAMETER: &str = "access_token";

/// Query parameter with the seconds to wait for an entry.
pub(crate) const WAIT_PARAMETER: &str = "wait";

/// Takes the token out of the query.
pub(crate) fn take_token(query: &mut Vec<(String, String)>) -> Result<Option<String>, ApiProblem> {
    let mut tokens = query.extract_if(.., |(name, _)| name == TOKEN_PARAMETER);
    match (tokens.next(), tokens.next()) {
        (token, None) => Ok(token.map(|(_, token)| token)),
        _ => Err(ApiProblem::field(
            TOKEN_PARAMETER,
            "access_token is given twice; send one",
        )),
    }
}

/// Refuses a header that is given twice, of the credentials and of the operation: which of the two
/// counts would be a guess.
pub(crate) fn refuse_repeated<'a>(
    headers: &HeaderMap,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), ApiProblem> {
    let all = names.chain([header::AUTHORIZATION.as_str(), USER_HEADER]);
    // Its values are a list, which several lines may make up.
    let mut single = all.filter(|name| *name != header::IF_NONE_MATCH.as_str());
    match single.find(|name| headers.get_all(*name).iter().nth(1).is_some()) {
        Some(name) => {
            let name = shown_header(name);
            let detail = format!("the header {name} is given twice; send it once");
            Err(ApiProblem::field(name, detail))
        }
        None => Ok(()),
    }
}

/// Returns a header's name as documents write it.
fn shown_header(name: &str) -> String {
    let parts = name.split('-').map(|part| {
        if part == "id" {
            return "ID".to_owned();
        }
        let (first, rest) = part.split_at(part.len().min(1));
        first.to_uppercase() + rest
    });
    parts.collect::<Vec<_>>().join("-")
}

/// Returns whether the query asks to wait for an entry.
pub(crate) fn asks_to_wait(query: &[(String, String)]) -> bool {
    let mut waits = query.iter().filter(|(name, _)| name == WAIT_PARAMETER);
    waits.any(|(_, seconds)| seconds.parse() != Ok(0_u32))
}

/// Returns the problem of a path whose percent signs do not make a text.
pub(crate) fn wrong_path(wrong: &RawPathParamsRejection) -> ApiProblem {
    let text = wrong.body_text();
    let field = text.split('`').nth(1).unwrap_or("path");
    let detail = format!("{field} is not UTF-8 after percent-decoding; encode it as UTF-8");
    ApiProblem::field(field, detail)
}

/// Answers HEAD of an event stream: its GET opens a connection, and HEAD must have no effect.
pub(crate) fn no_head() -> Response {
    let detail = "an event stream has no HEAD, because GET opens a connection; call it with GET";
    let problem = ApiProblem::of(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", detail);
    let mut response = problem.into_response();
    let allowed = HeaderValue::from_static("GET");
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}
