//! A client of gimlet over TCP or WebSocket: reconnects, resumes from its cursor, sends with ids
