//! The services over in-memory storage.
