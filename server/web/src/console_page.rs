//! The console at `/` of the ops listener: the files that are built from `web/console`, embedded in the
//! program.
//!
//! Without a key it shows what `/metrics` and `/readyz` show. With an API key of the operator it calls
//! `/v1` of the same listener.

use axum::Router;

use crate::page_files::{self, PageFile};

/// Content security policy of the page: its own files and this listener only, and no inline script or
/// style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The files of the page.
const FILES: [PageFile; 4] = [
    PageFile {
        path: "/",
        media_type: "text/html; charset=utf-8",
        content: include_bytes!("../assets/console/index.html"),
    },
    PageFile {
        path: "/app.js",
        media_type: "text/javascript; charset=utf-8",
        content: include_bytes!("../assets/console/app.js"),
    },
    PageFile {
        path: "/app.css",
        media_type: "text/css; charset=utf-8",
        content: include_bytes!("../assets/console/app.css"),
    },
    PageFile {
        path: "/icon.svg",
        media_type: "image/svg+xml",
        content: include_bytes!("../assets/console/icon.svg"),
    },
];

/// Builds the routes of the page.
pub fn router() -> Router {
    page_files::router(FILES, POLICY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_page_names_no_other_host_and_no_inline_code() {
        page_files::tests::check_page(&router(), POLICY).await;
    }
}
