//! The gateway over a scripted logic role.
