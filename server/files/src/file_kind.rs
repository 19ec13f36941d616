//! Recognises the kind of an uploaded file: by its content, and by its name only where the content
//! does not decide.
//!
//! Images, audio, video and common documents are kept; anything that a browser would run (HTML,
//! SVG, scripts) and anything unknown is not. Pure functions of bytes and a name.

/// A kind of file that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKind {
    /// The extension under which it is stored.
    pub extension: &'static str,
    /// The MIME type with which it is served.
    pub mime: &'static str,
    /// `true` if a browser may show it in place; the rest is a download.
    pub inline: bool,
}

const fn media(extension: &'static str, mime: &'static str) -> FileKind {
    FileKind {
        extension,
        mime,
        inline: true,
    }
}

const fn document(extension: &'static str, mime: &'static str) -> FileKind {
    FileKind {
        extension,
        mime,
        inline: false,
    }
}

/// Every kind that is kept.
const KINDS: &[FileKind] = &[
    media("png", "image/png"),
    media("jpg", "image/jpeg"),
    media("gif", "image/gif"),
    media("webp", "image/webp"),
    media("bmp", "image/bmp"),
    media("heic", "image/heic"),
    media("avif", "image/avif"),
    media("ico", "image/x-icon"),
    document("tif", "image/tiff"),
    media("mp4", "video/mp4"),
    media("mov", "video/quicktime"),
    media("3gp", "video/3gpp"),
    media("avi", "video/x-msvideo"),
    media("webm", "video/webm"),
    media("m4a", "audio/mp4"),
    media("mp3", "audio/mpeg"),
    media("aac", "audio/aac"),
    media("ogg", "audio/ogg"),
    media("wav", "audio/wav"),
    media("flac", "audio/flac"),
    media("amr", "audio/amr"),
    media("silk", "audio/silk"),
    document("pdf", "application/pdf"),
    document("zip", "application/zip"),
    document("7z", "application/x-7z-compressed"),
    document("rar", "application/vnd.rar"),
    document("gz", "application/gzip"),
    document(
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    document(
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    document(
        "pptx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
    document("odt", "application/vnd.oasis.opendocument.text"),
    document("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    document("odp", "application/vnd.oasis.opendocument.presentation"),
    document("epub", "application/epub+zip"),
    document("doc", "application/msword"),
    document("xls", "application/vnd.ms-excel"),
    document("ppt", "application/vnd.ms-powerpoint"),
    document("rtf", "application/rtf"),
    // Served without a charset, because only the reader knows the encoding of a text.
    document("txt", "text/plain"),
    document("log", "text/plain"),
    document("csv", "text/csv"),
    document("md", "text/markdown"),
    document("json", "application/json"),
];

const ZIPPED: &[&str] = &["zip", "docx", "xlsx", "pptx", "odt", "ods", "odp", "epub"];
const OLE: &[&str] = &["doc", "xls", "ppt"];
const TEXT: &[&str] = &["txt", "log", "csv", "md", "json"];

/// Bytes of a file that [`recognise`] needs.
pub(crate) const HEAD_BYTES: usize = 512;

/// Returns the kind of a stored file by its extension.
pub(crate) fn of_extension(extension: &str) -> Option<FileKind> {
    KINDS
        .iter()
        .find(|kind| kind.extension == extension)
        .copied()
}

/// Returns the kind of a media type.
pub(crate) fn of_media_type(media_type: &str) -> Option<FileKind> {
    KINDS.iter().find(|kind| kind.mime == media_type).copied()
}

/// Returns the kind of a file by its first bytes and the name that the client gave it; `None` is
/// not kept.
pub(crate) fn recognise(head: &[u8], name: &str) -> Option<FileKind> {
    let extension = name
        .rsplit_once('.')
        .map(|(_, ext)| ext.to_ascii_lowercase());
    let named = |allowed: &[&str]| {
        extension
            .as_deref()
            .filter(|ext| allowed.contains(ext))
            .and_then(of_extension)
    };
    if head.starts_with(b"PK\x03\x04") {
        return named(ZIPPED);
    }
    if head.starts_with(b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1") {
        return named(OLE);
    }
    if let Some(extension) = by_content(head) {
        return of_extension(extension);
    }
    // Some programs write something before the header of a PDF, and readers skip it.
    if extension.as_deref() == Some("pdf") && head.windows(5).any(|it| it == b"%PDF-") {
        return of_extension("pdf");
    }
    if is_text(head) { named(TEXT) } else { None }
}

fn by_content(head: &[u8]) -> Option<&'static str> {
    let at = |from: usize, to: usize| head.get(from..to).unwrap_or_default();
    match head {
        [0x89, b'P', b'N', b'G', ..] => return Some("png"),
        [0xFF, 0xD8, 0xFF, ..] => return Some("jpg"),
        [b'G', b'I', b'F', b'8', ..] => return Some("gif"),
        // A frame of MPEG 1, 2 or 2.5, layer III, with a checksum or without.
        [b'I', b'D', b'3', ..] | [0xFF, 0xE2 | 0xE3 | 0xF2 | 0xF3 | 0xFA | 0xFB, ..] => {
            return Some("mp3");
        }
        [0xFF, 0xF1 | 0xF9, ..] => return Some("aac"),
        [0x1A, 0x45, 0xDF, 0xA3, ..] => return Some("webm"),
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => return Some("tif"),
        [0, 0, 1, 0, _, 0, ..] => return Some("ico"),
        [b'7', b'z', 0xBC, 0xAF, 0x27, 0x1C, ..] => return Some("7z"),
        [b'R', b'a', b'r', b'!', 0x1A, 0x07, ..] => return Some("rar"),
        [0x1F, 0x8B, 0x08, ..] => return Some("gz"),
        _ => {}
    }
    match (at(0, 4), at(8, 12)) {
        (b"RIFF", b"WEBP") => Some("webp"),
        (b"RIFF", b"WAVE") => Some("wav"),
        (b"RIFF", b"AVI ") => Some("avi"),
        (b"OggS", _) => Some("ogg"),
        (b"fLaC", _) => Some("flac"),
        (b"%PDF", _) => Some("pdf"),
        _ if at(4, 8) == b"ftyp" => Some(brand(at(8, 12))),
        _ if head.starts_with(b"#!AMR") => Some("amr"),
        // Some messengers put a byte before the header.
        _ if head.starts_with(b"#!SILK") || head.starts_with(b"\x02#!SILK") => Some("silk"),
        _ if head.starts_with(b"{\\rtf") => Some("rtf"),
        // The two checks belong together: "BM" alone begins many texts; in a bitmap the bytes 6 to
        // 9 are reserved and 0.
        _ if head.starts_with(b"BM") && at(6, 10) == [0; 4] => Some("bmp"),
        _ => None,
    }
}

/// Returns the extension of an ISO media file by its brand.
fn brand(brand: &[u8]) -> &'static str {
    match brand {
        b"heic" | b"heix" | b"mif1" | b"msf1" => "heic",
        b"avif" | b"avis" => "avif",
        b"qt  " => "mov",
        b"M4A " | b"M4B " => "m4a",
        [b'3', b'g', ..] => "3gp",
        _ => "mp4",
    }
}

/// Returns whether the bytes are text in any encoding. UTF-16 announces itself by its first bytes;
/// all other encodings (UTF-8, GBK, the ISO and Windows ones) have letters from 0x20 up. Executable
/// formats contain control characters. A text is never shown in place, so markup in it is harmless.
fn is_text(head: &[u8]) -> bool {
    match head {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => head.iter().all(|&byte| !is_control(u32::from(byte))),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> bool {
    let (units, _) = bytes.as_chunks::<2>();
    let mut units = units.iter().map(|&it| u32::from(unit(it)));
    !bytes.is_empty() && units.all(|it| !is_control(it))
}

/// Returns whether a character never occurs in text. Line ends, tabs, form feeds, and the escapes
/// of terminal colours do.
const fn is_control(character: u32) -> bool {
    const ESCAPE: u32 = 0x1B;
    matches!(character, 0..=0x1F | 0x7F) && !matches!(character, 0x09 | 0x0A | 0x0C | 0x0D | ESCAPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(head: &[u8], name: &str) -> Option<&'static str> {
        recognise(head, name).map(|kind| kind.extension)
    }

    #[test]
    fn content_decides_whatever_the_name_says() {
        // fim names every picture avatar.png.
        assert_eq!(kept(b"\xFF\xD8\xFF\xE0 jpeg", "avatar.png"), Some("jpg"));
        assert_eq!(kept(b"\x89PNG\r\n\x1a\n", "noname"), Some("png"));
        assert_eq!(kept(b"\0\0\0\x18ftypheic....", "x.jpg"), Some("heic"));
        assert_eq!(kept(b"RIFF....WAVEfmt ", "voice.amr"), Some("wav"));
    }

    #[test]
    fn documents_need_content_and_name_that_fit() {
        assert_eq!(kept(b"PK\x03\x04....", "report.docx"), Some("docx"));
        assert_eq!(kept(b"PK\x03\x04....", "app.apk"), None);
        assert_eq!(kept("naïve text".as_bytes(), "notes.TXT"), Some("txt"));
        assert_eq!(kept(b"%PDF-1.7", "a"), Some("pdf"));
    }

    #[test]
    fn what_a_browser_or_machine_would_run_is_not_kept() {
        assert_eq!(kept(b"<html><script>", "a.html"), None);
        assert_eq!(kept(b"<svg onload=x>", "a.svg"), None);
        assert_eq!(kept(b"\x7fELF", "a.txt"), None);
        assert_eq!(kept(b"MZ\0\0", "a.png"), None);
        assert_eq!(kept(b"", "a.png"), None);
    }

    #[test]
    fn texts_are_kept_in_any_encoding() {
        for text in [
            "中文 text".as_bytes(),
            b"\xef\xbb\xbfwith a byte order mark",
            b"\xd6\xd0\xce\xc4\xb1\xa8\xb8\xe6",
            b"\xff\xfeh\0i\0",
            b"\xfe\xff\0h\0i",
            b"caf\xe9 au lait",
            b"page 1\x0cpage 2\r\n\x1b[31mred\x1b[0m",
        ] {
            assert_eq!(kept(text, "a.txt"), Some("txt"), "{text:?}");
        }
        assert_eq!(kept(b"\xe8\xec\xff;\xf4", "a.csv"), Some("csv"));
        assert_eq!(kept(b"{\"a\":1}", "a.json"), Some("json"));
        assert_eq!(kept(b"a\0b", "a.txt"), None);
        assert_eq!(kept(b"\xff\xfe\x01\0", "a.txt"), None);
        assert_eq!(kept(b"\xff\xfe", "a.txt"), None);
    }

    #[test]
    fn common_media_are_kept() {
        for (head, name, extension) in [
            (&b"\xff\xe3\x18\xc4"[..], "a.mp3", "mp3"),
            (b"\xff\xfa\x90\x64", "a.mp3", "mp3"),
            (b"\0\0\0\x18ftyp3gp4", "a.3gp", "3gp"),
            (b"RIFF\x10\x10\0\0AVI LIST", "a.avi", "avi"),
            (b"II*\0....", "a.tif", "tif"),
            (b"\0\0\x01\0\x01\0", "a.ico", "ico"),
            (b"7z\xbc\xaf\x27\x1c", "a.7z", "7z"),
            (b"Rar!\x1a\x07\x01\0", "a.rar", "rar"),
            (b"\x1f\x8b\x08", "a.tar.gz", "gz"),
            (b"#!SILK_V3", "a.silk", "silk"),
            (b"\n\n%PDF-1.4", "a.pdf", "pdf"),
        ] {
            assert_eq!(kept(head, name), Some(extension), "{name}");
        }
    }

    #[test]
    fn every_name_in_the_lists_is_a_kind() {
        for extension in ZIPPED.iter().chain(OLE).chain(TEXT) {
            assert!(of_extension(extension).is_some(), "{extension}");
        }
    }
}
