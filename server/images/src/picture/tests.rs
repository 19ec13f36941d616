//! Pictures of every format, damaged ones, and ones that cost too much.

use std::io::Cursor;

use image::{GenericImageView as _, RgbImage, Rgba, RgbaImage};

use super::*;

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut content = Cursor::new(Vec::new());
    picture.write_to(&mut content, format).unwrap();
    content.into_inner()
}

/// A picture whose left half is black and whose right half is white.
fn halves(width: u32, height: u32) -> DynamicImage {
    let picture = RgbImage::from_fn(width, height, |x, _| {
        image::Rgb(if x < width / 2 { [0; 3] } else { [255; 3] })
    });
    picture.into()
}

fn of(media_type: &str) -> PictureFormat {
    PictureFormat::of_media_type(media_type).unwrap()
}

fn decoded(
    content: &[u8],
    format: PictureFormat,
    side: u32,
) -> Result<InspectedPicture, PictureError> {
    decode(Cursor::new(content), content.len() as u64, format, side)
}

#[test]
fn a_picture_has_its_dimensions_and_a_thumbnail_of_the_same_shape() {
    for (media_type, format) in [
        ("image/png", ImageFormat::Png),
        ("image/jpeg", ImageFormat::Jpeg),
        ("image/gif", ImageFormat::Gif),
        ("image/webp", ImageFormat::WebP),
    ] {
        let content = encoded(&halves(400, 200), format);
        let picture = decoded(&content, of(media_type), 100).unwrap();
        assert_eq!((picture.width, picture.height), (400, 200), "{media_type}");
        let thumbnail = picture.thumbnail.unwrap();
        assert_eq!(thumbnail.media_type, "image/jpeg", "{media_type}");
        let shown = image::load_from_memory(&thumbnail.content).unwrap();
        assert_eq!(shown.dimensions(), (100, 50), "{media_type}");
        let (left, right) = (shown.get_pixel(10, 25), shown.get_pixel(90, 25));
        assert!(left.0[0] < 20 && right.0[0] > 235, "{left:?} {right:?}");
    }
}

#[test]
fn a_small_picture_is_its_own_thumbnail() {
    let content = encoded(&halves(100, 40), ImageFormat::Png);
    let picture = decoded(&content, of("image/png"), 100).unwrap();
    assert_eq!((picture.width, picture.height), (100, 40));
    assert_eq!(picture.thumbnail, None);
    // A large file may have few pixels: an animation, or one full of metadata.
    let large = decode(Cursor::new(&content), 1 << 20, of("image/png"), 100).unwrap();
    let thumbnail = large.thumbnail.unwrap();
    let shown = image::load_from_memory(&thumbnail.content).unwrap();
    assert_eq!(shown.dimensions(), (100, 40));
}

#[test]
fn transparent_parts_stay_transparent() {
    let mut picture = RgbaImage::from_pixel(300, 300, Rgba([9, 9, 9, 255]));
    let opaque = encoded(&picture.clone().into(), ImageFormat::Png);
    let thumbnail = decoded(&opaque, of("image/png"), 64).unwrap().thumbnail;
    assert_eq!(thumbnail.unwrap().media_type, "image/jpeg");
    for pixel in picture.pixels_mut().take(300 * 100) {
        *pixel = Rgba([0, 0, 0, 0]);
    }
    let clear = encoded(&picture.into(), ImageFormat::Png);
    let thumbnail = decoded(&clear, of("image/png"), 64).unwrap().thumbnail;
    let thumbnail = thumbnail.unwrap();
    assert_eq!(thumbnail.media_type, "image/png");
    let shown = image::load_from_memory(&thumbnail.content).unwrap();
    assert_eq!(shown.get_pixel(0, 0).0[3], 0);
}

/// An EXIF segment with the orientation, behind the start of a JPEG.
fn turned(content: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(exif.len() + 2).unwrap();
    let mut turned = content[..2].to_vec();
    turned.extend([0xFF, 0xE1]);
    turned.extend(length.to_be_bytes());
    turned.extend(exif);
    turned.extend(&content[2..]);
    turned
}

#[test]
fn a_picture_is_shown_upright() {
    let content = turned(&encoded(&halves(400, 200), ImageFormat::Jpeg), 6);
    let picture = decoded(&content, of("image/jpeg"), 100).unwrap();
    assert_eq!((picture.width, picture.height), (200, 400));
    let thumbnail = picture.thumbnail.unwrap();
    let shown = image::load_from_memory(&thumbnail.content).unwrap();
    assert_eq!(shown.dimensions(), (50, 100));
    // Turned clockwise, the left half is on top.
    assert!(shown.get_pixel(25, 10).0[0] < 20);
    assert!(shown.get_pixel(25, 90).0[0] > 235);
}

#[test]
fn a_damaged_picture_is_refused() {
    for (media_type, format) in [
        ("image/png", ImageFormat::Png),
        ("image/jpeg", ImageFormat::Jpeg),
        ("image/gif", ImageFormat::Gif),
        ("image/webp", ImageFormat::WebP),
    ] {
        let content = encoded(&halves(64, 64), format);
        for length in 0..content.len() {
            // Some decoders show what there is of a cut picture; none may panic.
            let _ = decoded(&content[..length], of(media_type), 16);
        }
        let cut = decoded(&content[..16.min(content.len())], of(media_type), 16);
        assert!(
            matches!(cut, Err(PictureError::Undecodable(_))),
            "{media_type}: {cut:?}"
        );
        let other = decoded(b"\x89PNG\r\n\x1a\nnot a picture", of(media_type), 16);
        assert!(other.is_err(), "{media_type}");
    }
}

/// A PNG of 100 bytes that claims this many pixels: a decompression bomb in its smallest form.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut content = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        content.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        let mut checked = kind.to_vec();
        checked.extend(data);
        content.extend(&checked);
        content.extend(crc32(&checked).to_be_bytes());
    };
    let mut header = width.to_be_bytes().to_vec();
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    chunk(b"IHDR", &header);
    chunk(b"IDAT", &[0x78, 0x9c, 0x03, 0, 0, 0, 0, 1]);
    chunk(b"IEND", &[]);
    content
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[test]
fn a_decompression_bomb_is_refused_by_its_header() {
    for (width, height) in [
        (30_000, 30_000),
        (65_535, 1_000),
        (2_000_000_000, 2),
        (50_001, 1_000),
    ] {
        let refused = decoded(&bomb(width, height), of("image/png"), 100);
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("not an image that can be shown"), "{text}");
    }
    // The same header with an allowed size is refused by its content only.
    let small = decoded(&bomb(100, 100), of("image/png"), 10).unwrap_err();
    assert!(matches!(small, PictureError::Undecodable(_)), "{small}");
}

#[test]
fn a_file_beyond_the_bound_is_not_read() {
    let dir = std::env::temp_dir().join(format!("gimlet-images-{}", std::process::id()));
    let file = File::create(&dir).unwrap();
    file.set_len(MAX_FILE_BYTES + 1).unwrap();
    let refused = inspect(&dir, of("image/jpeg"), 100).unwrap_err();
    std::fs::remove_file(&dir).unwrap();
    assert!(
        matches!(refused, PictureError::TooLarge { .. }),
        "{refused}"
    );
    assert!(inspect(&dir, of("image/jpeg"), 100).is_err());
}

#[test]
fn only_decoded_formats_have_a_format() {
    for media_type in ["image/svg+xml", "image/heic", "image/avif", "video/mp4", ""] {
        assert_eq!(PictureFormat::of_media_type(media_type), None);
    }
}
