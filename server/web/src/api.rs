//! The HTTP/JSON API on the HTTP listener: the address of a request's client, and the pages that may
//! call it. The operations are in `gimlet-http`.

use axum::Router;
use axum::extract::Request;
use axum::http::header;
use axum::middleware::{self, Next};
use gimlet_http::ClientAddr;
use gimlet_listen::forwarded::ForwardedHeaders;
use gimlet_listen::origins::AllowedOrigins;

pub use gimlet_http::{
    ApiFiles, ApiKeys, ApiNodes, ApiReply, ApiRequest, ApiRole, ClusterNode, ForwardError,
    ForwardFuture, ForwardedApi, HttpApi, NodeListFuture, StreamCounter, forwarded,
};

use crate::cors;
use crate::metrics::ServerMetrics;
use crate::peer_addr::PeerAddr;
use crate::request_metrics;

/// The API, and the rules of the listener that it is on.
#[derive(Clone, Debug)]
pub struct ApiListener {
    /// The operations.
    pub api: HttpApi,
    /// Origins whose pages may call it.
    pub origins: AllowedOrigins,
    /// Proxies that may name a request's client.
    pub forwarding: ForwardedHeaders,
    /// Metrics that count its requests.
    pub metrics: ServerMetrics,
}

/// Builds the routes of the API.
pub fn router(listener: ApiListener) -> Router {
    let ApiListener {
        api,
        origins,
        forwarding,
        metrics,
    } = listener;
    let counted =
        move |request: Request, next: Next| request_metrics::count(metrics.clone(), request, next);
    let cors = cors::api_layer(origins.clone());
    // The last layer is the first to see a request: a preflight is answered before the Origin is
    // checked, so that the browser can report the reason to the page. A preflight is not a request to
    // the API, so it is not counted; a request of a refused Origin is.
    checked(gimlet_http::router(api), origins, forwarding)
        .layer(middleware::from_fn(counted))
        .layer(cors)
}

/// Adds the check of a request's origin, and the address of its client.
pub(crate) fn checked(
    routes: Router,
    origins: AllowedOrigins,
    forwarding: ForwardedHeaders,
) -> Router {
    let checked = move |request: Request, next: Next| {
        let text = |name| {
            request
                .headers()
                .get(name)
                .map(|it| it.to_str().unwrap_or(""))
        };
        let is_allowed = origins.allow(text(header::ORIGIN), text(header::HOST));
        async move {
            if is_allowed {
                next.run(request).await
            } else {
                gimlet_http::forbidden_origin()
            }
        }
    };
    let named = move |mut request: Request| {
        let peer = request.extensions().get::<PeerAddr>().copied();
        let client = peer.and_then(|peer| peer.client(&forwarding, request.headers()));
        request.extensions_mut().insert(ClientAddr(client));
        std::future::ready(request)
    };
    routes
        .layer(middleware::map_request(named))
        .layer(middleware::from_fn(checked))
}

#[cfg(test)]
mod tests;
