//! In-memory storage: the reference every other backend is measured by.
