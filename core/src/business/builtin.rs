//! The built-in business service.
