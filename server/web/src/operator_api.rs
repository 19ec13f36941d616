//! The HTTP/JSON API on the ops listener: the operations that only backends call, for the console.

use std::net::IpAddr;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use gimlet_listen::forwarded::ForwardedHeaders;
use gimlet_listen::origins::AllowedOrigins;

use crate::api::{self, HttpApi};
use crate::peer_addr::PeerAddr;

/// Builds the routes. No page of another origin may call them. Unless `is_encrypted`, a key is taken from
/// this machine only, so that no network sees it.
pub fn router(api: HttpApi, forwarding: ForwardedHeaders, is_encrypted: bool) -> Router {
    guarded(gimlet_http::backend_router(api), forwarding, is_encrypted)
}

fn guarded(routes: Router, forwarding: ForwardedHeaders, is_encrypted: bool) -> Router {
    let guard = move |request: Request, next: Next| {
        let peer = request.extensions().get::<PeerAddr>().copied();
        let is_private = is_encrypted || peer.is_some_and(|PeerAddr(peer)| is_loopback(peer.ip()));
        async move {
            if is_private {
                next.run(request).await
            } else {
                gimlet_http::unencrypted_operator()
            }
        }
    };
    let own = AllowedOrigins::new(&["same".to_owned()], false);
    api::checked(routes, own, forwarding).layer(middleware::from_fn(guard))
}

/// Returns whether an address is this machine's, also as IPv6 spells those of IPv4.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{StatusCode, header};
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    /// Returns the answer to a request from this address, of a page of this origin.
    async fn status(is_encrypted: bool, peer: &str, origin: Option<&str>) -> StatusCode {
        let mut request = Request::get("/v1/nodes").header(header::HOST, "ops.example:8086");
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        let mut request = request.body(Body::empty()).unwrap();
        let peer = PeerAddr(peer.parse().unwrap());
        request.extensions_mut().insert(peer);
        let routes = Router::new().route("/v1/nodes", get(|| async { "nodes" }));
        let guarded_routes = guarded(routes, ForwardedHeaders::default(), is_encrypted);
        guarded_routes.oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_key_is_not_taken_in_the_clear_and_not_from_other_pages() {
        let (served, refused) = (StatusCode::OK, StatusCode::FORBIDDEN);
        for (is_encrypted, peer, expected) in [
            (false, "127.0.0.1:4711", served),
            (false, "[::1]:4711", served),
            (false, "[::ffff:127.0.0.1]:4711", served),
            (false, "192.0.2.1:4711", refused),
            (false, "[::ffff:192.0.2.1]:4711", refused),
            (true, "192.0.2.1:4711", served),
        ] {
            assert_eq!(status(is_encrypted, peer, None).await, expected, "{peer}");
        }
        for (origin, expected) in [
            ("http://ops.example:8086", served),
            ("https://chat.example", refused),
            ("http://localhost:8086", refused),
            ("null", refused),
        ] {
            let answer = status(true, "127.0.0.1:4711", Some(origin)).await;
            assert_eq!(answer, expected, "{origin}");
        }
    }
}
