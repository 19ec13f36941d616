//! The contract suite that every backend runs.
