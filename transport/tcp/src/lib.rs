//! TCP with gim's two-byte length frames
