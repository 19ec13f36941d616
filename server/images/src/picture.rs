//! Reads a picture's dimensions and makes its thumbnail.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{
    DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits, metadata,
};

use crate::bounds::{MAX_DECODED_BYTES, MAX_FILE_BYTES, MAX_PIXELS, MAX_SIDE};

/// Quality of a thumbnail's JPEG, from 1 to 100.
const JPEG_QUALITY: u8 = 80;
/// Largest file that is its own thumbnail, in bytes.
const SMALL_FILE_BYTES: u64 = 64 << 10;

/// A format that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureFormat(ImageFormat);

impl PictureFormat {
    /// Returns the format of a media type; `None` if it is not decoded.
    #[must_use]
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let format = match media_type {
            "image/gif" => ImageFormat::Gif,
            "image/jpeg" => ImageFormat::Jpeg,
            "image/png" => ImageFormat::Png,
            "image/webp" => ImageFormat::WebP,
            _ => return None,
        };
        Some(Self(format))
    }
}

/// Reasons a file is not a picture that can be shown.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Decoding it would cost too much.
    #[error(
        "{width}×{height} pixels in {bytes} bytes are not an image that can be shown; at most 50 \
         million pixels and 64 MiB can"
    )]
    TooLarge {
        /// Width in pixels; 0 if it was not read.
        width: u32,
        /// Height in pixels; 0 if it was not read.
        height: u32,
        /// Bytes of the file.
        bytes: u64,
    },
    /// The content is damaged, or is not of this format.
    #[error("the content is not an image that can be shown: {0}")]
    Undecodable(String),
}

/// A picture that can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedPicture {
    /// Width in pixels, as it is shown.
    pub width: u32,
    /// Height in pixels, as it is shown.
    pub height: u32,
    /// Its thumbnail; `None` if the picture is as small as one.
    pub thumbnail: Option<PictureThumbnail>,
}

/// A thumbnail. It has none of the picture's metadata, such as the place where it was taken.
#[derive(Clone, PartialEq, Eq)]
pub struct PictureThumbnail {
    /// The encoded picture.
    pub content: Vec<u8>,
    /// Its media type: JPEG, or PNG if parts are transparent.
    pub media_type: &'static str,
}

impl std::fmt::Debug for PictureThumbnail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} bytes", self.media_type, self.content.len())
    }
}

/// Decodes the picture in a file, and makes a thumbnail whose sides have at most `side` pixels. Of an
/// animation the first picture counts.
///
/// # Errors
/// The file cannot be read, or is not a picture that can be shown.
pub fn inspect(
    path: &Path,
    format: PictureFormat,
    side: u32,
) -> Result<InspectedPicture, PictureError> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(PictureError::TooLarge {
            width: 0,
            height: 0,
            bytes,
        });
    }
    decode(BufReader::new(file), bytes, format, side)
}

fn decode(
    content: impl BufRead + Seek,
    bytes: u64,
    format: PictureFormat,
    side: u32,
) -> Result<InspectedPicture, PictureError> {
    let mut reader = ImageReader::with_format(content, format.0);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    // Read from the header: nothing was allocated for the pixels yet.
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS || decoder.total_bytes() > MAX_DECODED_BYTES {
        return Err(PictureError::TooLarge {
            width,
            height,
            bytes,
        });
    }
    let orientation = decoder.orientation();
    let orientation = orientation.unwrap_or(metadata::Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    let is_small = width <= side && height <= side;
    if !is_small {
        picture = picture.thumbnail(side, side);
    }
    let upright = |width, height| match orientation {
        metadata::Orientation::Rotate90
        | metadata::Orientation::Rotate270
        | metadata::Orientation::Rotate90FlipH
        | metadata::Orientation::Rotate270FlipH => (height, width),
        _ => (width, height),
    };
    picture.apply_orientation(orientation);
    let (width, height) = upright(width, height);
    // A small picture in a small file is its own thumbnail.
    let thumbnail = if is_small && bytes <= SMALL_FILE_BYTES {
        None
    } else {
        Some(encode(&picture).map_err(undecodable)?)
    };
    Ok(InspectedPicture {
        width,
        height,
        thumbnail,
    })
}

fn encode(picture: &DynamicImage) -> Result<PictureThumbnail, ImageError> {
    let mut content = Vec::new();
    let is_transparent = picture.color().has_alpha()
        && picture
            .to_rgba8()
            .pixels()
            .any(|pixel| pixel.0.last() != Some(&u8::MAX));
    let media_type = if is_transparent {
        let encoder = PngEncoder::new(&mut content);
        picture.to_rgba8().write_with_encoder(encoder)?;
        "image/png"
    } else {
        let encoder = JpegEncoder::new_with_quality(&mut content, JPEG_QUALITY);
        picture.to_rgb8().write_with_encoder(encoder)?;
        "image/jpeg"
    };
    Ok(PictureThumbnail {
        content,
        media_type,
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the end of the error: map_err(undecodable)"
)]
fn undecodable(error: ImageError) -> PictureError {
    PictureError::Undecodable(error.to_string())
}

#[cfg(test)]
mod tests;
