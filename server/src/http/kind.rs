//! What an uploaded file is: its content decides, its name only where content cannot.
//!
//! Images, audio, video and common documents are kept; anything a browser would run (HTML, SVG,
//! scripts) and anything unknown is not. Pure functions of bytes and a name.

/// A kind of file that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// The extension it is stored under.
    pub(super) extension: &'static str,
    /// The type it is served as.
    pub(super) mime: &'static str,
    /// Whether a browser may show it in place; the rest is a download.
    pub(super) inline: bool,
}

const fn media(extension: &'static str, mime: &'static str) -> Kind {
    Kind {
        extension,
        mime,
        inline: true,
    }
}

const fn document(extension: &'static str, mime: &'static str) -> Kind {
    Kind {
        extension,
        mime,
        inline: false,
    }
}

/// Every kind that is kept.
const KINDS: &[Kind] = &[
    media("png", "image/png"),
    media("jpg", "image/jpeg"),
    media("gif", "image/gif"),
    media("webp", "image/webp"),
    media("bmp", "image/bmp"),
    media("heic", "image/heic"),
    media("avif", "image/avif"),
    media("mp4", "video/mp4"),
    media("mov", "video/quicktime"),
    media("webm", "video/webm"),
    media("m4a", "audio/mp4"),
    media("mp3", "audio/mpeg"),
    media("aac", "audio/aac"),
    media("ogg", "audio/ogg"),
    media("wav", "audio/wav"),
    media("flac", "audio/flac"),
    media("amr", "audio/amr"),
    document("pdf", "application/pdf"),
    document("zip", "application/zip"),
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
    document("txt", "text/plain; charset=utf-8"),
    document("csv", "text/plain; charset=utf-8"),
    document("md", "text/plain; charset=utf-8"),
];

const ZIPPED: &[&str] = &["zip", "docx", "xlsx", "pptx", "odt", "ods", "odp", "epub"];
const OLE: &[&str] = &["doc", "xls", "ppt"];
const TEXT: &[&str] = &["txt", "csv", "md"];

/// How many bytes of a file [`recognise`] wants to see.
pub(super) const HEAD: usize = 512;

/// The kind of a stored file by its extension.
pub(super) fn of_extension(extension: &str) -> Option<Kind> {
    KINDS
        .iter()
        .find(|kind| kind.extension == extension)
        .copied()
}

/// The kind of a file by its first bytes and the name the client gave it; `None` is not kept.
pub(super) fn recognise(head: &[u8], name: &str) -> Option<Kind> {
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
    if is_text(head) { named(TEXT) } else { None }
}

fn by_content(head: &[u8]) -> Option<&'static str> {
    let at = |from: usize, to: usize| head.get(from..to).unwrap_or_default();
    match head {
        [0x89, b'P', b'N', b'G', ..] => return Some("png"),
        [0xFF, 0xD8, 0xFF, ..] => return Some("jpg"),
        [b'G', b'I', b'F', b'8', ..] => return Some("gif"),
        [b'I', b'D', b'3', ..] | [0xFF, 0xFB | 0xF3 | 0xF2, ..] => return Some("mp3"),
        [0xFF, 0xF1 | 0xF9, ..] => return Some("aac"),
        [0x1A, 0x45, 0xDF, 0xA3, ..] => return Some("webm"),
        _ => {}
    }
    match (at(0, 4), at(8, 12)) {
        (b"RIFF", b"WEBP") => Some("webp"),
        (b"RIFF", b"WAVE") => Some("wav"),
        (b"OggS", _) => Some("ogg"),
        (b"fLaC", _) => Some("flac"),
        (b"%PDF", _) => Some("pdf"),
        _ if at(4, 8) == b"ftyp" => Some(brand(at(8, 12))),
        _ if head.starts_with(b"#!AMR") => Some("amr"),
        _ if head.starts_with(b"{\\rtf") => Some("rtf"),
        // Its header says twice how long it is; "BM" alone begins many a text.
        _ if head.starts_with(b"BM") && at(6, 10) == [0; 4] => Some("bmp"),
        _ => None,
    }
}

/// The extension of an ISO media file, by its brand.
fn brand(brand: &[u8]) -> &'static str {
    match brand {
        b"heic" | b"heix" | b"mif1" | b"msf1" => "heic",
        b"avif" | b"avis" => "avif",
        b"qt  " => "mov",
        b"M4A " | b"M4B " => "m4a",
        _ => "mp4",
    }
}

/// Whether it is UTF-8 (perhaps cut off) without control characters, and no markup a browser runs.
fn is_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            let whole = head.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(whole).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(head: &[u8], name: &str) -> Option<&'static str> {
        recognise(head, name).map(|kind| kind.extension)
    }

    #[test]
    fn content_decides_whatever_the_name_says() {
        // fim calls every picture avatar.png
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
    fn every_name_in_the_lists_is_a_kind() {
        for extension in ZIPPED.iter().chain(OLE).chain(TEXT) {
            assert!(of_extension(extension).is_some(), "{extension}");
        }
    }
}
