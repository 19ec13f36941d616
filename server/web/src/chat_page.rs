//! The web chat at `/`: the files that are built from `web/chat`, embedded in the program.
//!
//! It is a client like any other: it calls `/v1` with the token of its user.

use axum::Router;

use crate::page_files::{self, PageFile};

/// Content security policy of the page: its own files and this server only, and no inline script or
/// style. `blob:` is for pictures that are shown before they are uploaded.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' blob: data:; connect-src 'self'; worker-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files of the page.
const FILES: [PageFile; 5] = [
    PageFile {
        path: "/",
        media_type: "text/html; charset=utf-8",
        content: include_bytes!("../assets/chat/index.html"),
    },
    PageFile {
        path: "/app.js",
        media_type: "text/javascript; charset=utf-8",
        content: include_bytes!("../assets/chat/app.js"),
    },
    PageFile {
        path: "/app.css",
        media_type: "text/css; charset=utf-8",
        content: include_bytes!("../assets/chat/app.css"),
    },
    PageFile {
        path: "/service_worker.js",
        media_type: "text/javascript; charset=utf-8",
        content: include_bytes!("../assets/chat/service_worker.js"),
    },
    PageFile {
        path: "/icon.svg",
        media_type: "image/svg+xml",
        content: include_bytes!("../assets/chat/icon.svg"),
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
