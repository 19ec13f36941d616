//! WebSocket: one binary message is one frame
