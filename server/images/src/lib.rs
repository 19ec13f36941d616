//! Pictures: their dimensions, and thumbnails of them.
//!
//! Pure functions of bytes. A picture comes from a stranger, so everything that decoding costs is
//! bounded before it begins: the bytes that are read, the pixels, and the memory. A picture beyond a
//! bound is [refused](PictureError), which says nothing about keeping its file. The calls compute for up
//! to a second and belong on a thread for such work.

mod bounds;
mod picture;

pub use picture::{InspectedPicture, PictureError, PictureFormat, PictureThumbnail, inspect};
