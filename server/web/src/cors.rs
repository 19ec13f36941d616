//! Cross-origin requests of web pages (CORS): answers preflights, and lets a page read an answer.
//!
//! A browser asks with `OPTIONS` before it sends an upload with sign-in headers to another origin.
//! Pages of the origins in `http.origins` are allowed; other pages get no
//! `Access-Control-Allow-Origin`, so that their browser refuses.

use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, header};
use gimlet_listen::origins::AllowedOrigins;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Time for which a browser may keep the answer to a preflight: Chromium's own maximum.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_hours(2);

/// Headers that an upload may carry beside the usual ones; see `check` in `files.rs`.
const SIGN_IN_HEADERS: [&str; 5] = ["user-id", "device-id", "token", "user_id", "device_id"];

/// Allows the pages of these origins to upload and to read files.
pub(super) fn layer(origins: AllowedOrigins) -> CorsLayer {
    let sign_in = SIGN_IN_HEADERS.map(HeaderName::from_static);
    let others = [header::CONTENT_TYPE, header::RANGE];
    of_origins(origins)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(sign_in.into_iter().chain(others).collect::<Vec<_>>())
        .expose_headers([header::CONTENT_RANGE, header::ETAG])
}

/// Allows the pages of these origins to call the API.
pub(super) fn api_layer(origins: AllowedOrigins) -> CorsLayer {
    let names = gimlet_http::request_headers().into_iter();
    let names = names.map(HeaderName::from_static);
    of_origins(origins)
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers(names.chain([header::CONTENT_TYPE]).collect::<Vec<_>>())
        .expose_headers([header::RETRY_AFTER, header::ETAG])
}

fn of_origins(origins: AllowedOrigins) -> CorsLayer {
    let is_allowed = move |origin: &HeaderValue, request: &Parts| {
        let host = request.headers.get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok());
        let origin = origin.to_str().unwrap_or_default();
        origins.allow(Some(origin), host)
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_allowed))
        .max_age(PREFLIGHT_MAX_AGE)
}
