//! Bounds of what decoding a picture may cost.

/// Largest file that is decoded, in bytes: some decoders read it into memory as a whole.
pub(crate) const MAX_FILE_BYTES: u64 = 64 << 20;
/// Pixels of the largest picture that is decoded: cameras of phones make up to 50 million.
pub(crate) const MAX_PIXELS: u64 = 50_000_000;
/// Memory of the decoded pixels, in bytes: 50 million with four channels of a byte each, or half of them
/// with 16-bit channels.
pub(crate) const MAX_DECODED_BYTES: u64 = 200_000_000;
/// Longest side of a picture, in pixels: the most that JPEG can have.
pub(crate) const MAX_SIDE: u32 = 65_535;
