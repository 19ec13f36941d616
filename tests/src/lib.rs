//! Whole-system tests of gimlet
