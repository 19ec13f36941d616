//! WebSockets on the HTTP listener: the frames and the sessions are those of the WebSocket listener.

use std::sync::Arc;

use gimlet_transport::{ServeLink as _, SessionServer};
use gimlet_transport_ws::{UpgradeRefusal, WsFrameListener};
use gimlet_web::{UpgradedSocket, WebSocketCheck, WebSocketUpgrade};

/// Makes the check of WebSocket requests, which these sessions serve.
pub(crate) fn check(frames: WsFrameListener, sessions: Arc<SessionServer>) -> WebSocketCheck {
    let frames = Arc::new(frames);
    WebSocketCheck(Arc::new(move |peer, request| {
        let answer = frames
            .check(peer, request)
            .map_err(|UpgradeRefusal { status, text }| (status, text))?;
        let (response, client) = (answer.response.clone(), answer.client);
        let (frames, sessions) = (Arc::clone(&frames), Arc::clone(&sessions));
        Ok(WebSocketUpgrade {
            response,
            client,
            serve: Box::new(move |socket| {
                Box::pin(async move {
                    let UpgradedSocket { stream, tail, addr } = socket;
                    match frames.upgraded(stream, answer, tail).await {
                        Ok(opened) => sessions.serve(opened, addr).await,
                        Err(error) => tracing::debug!(%addr, %error, "handshake failed"),
                    }
                })
            }),
        })
    }))
}
