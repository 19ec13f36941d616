//! The batcher under load, under a store that hangs, and at shutdown.
