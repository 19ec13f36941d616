//! Decodes the bytes of a terminal into keys. Independent of the line.

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TerminalKey {
    Char(char),
    Enter,
    Backspace,
    Delete,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    End,
    Older,
    Newer,
    KillBefore,
    KillAfter,
    KillWord,
    Clear,
    Interrupt,
    EndOfInput,
}

/// Longest escape sequence of a key; a longer one is skipped.
const MAX_SEQUENCE_BYTES: usize = 16;

/// Decodes bytes into keys; the input may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct KeyDecoder {
    pending: Vec<u8>,
}

/// The first element of some bytes.
enum KeyMatch {
    /// A key of this many bytes.
    Key(TerminalKey, usize),
    /// Bytes that are not a key.
    Skip(usize),
    /// A key whose remaining bytes have not arrived.
    Partial,
}

impl KeyDecoder {
    /// Decodes the new bytes, together with those left over from before.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<TerminalKey> {
        self.pending.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut rest = self.pending.as_slice();
        while !rest.is_empty() {
            let taken = match head(rest) {
                KeyMatch::Key(key, taken) => {
                    keys.push(key);
                    taken
                }
                KeyMatch::Skip(taken) => taken,
                KeyMatch::Partial => break,
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        self.pending = rest.to_vec();
        keys
    }
}

fn head(bytes: &[u8]) -> KeyMatch {
    let Some(first) = bytes.first() else {
        return KeyMatch::Partial;
    };
    match first {
        0x1b => escape(bytes),
        0x00..0x20 | 0x7f => control(*first).map_or(KeyMatch::Skip(1), |key| KeyMatch::Key(key, 1)),
        _ => character(bytes),
    }
}

/// Returns the key of a control character, as in shells.
const fn control(byte: u8) -> Option<TerminalKey> {
    Some(match byte {
        0x01 => TerminalKey::Home,
        0x02 => TerminalKey::Left,
        0x03 => TerminalKey::Interrupt,
        0x04 => TerminalKey::EndOfInput,
        0x05 => TerminalKey::End,
        0x06 => TerminalKey::Right,
        0x08 | 0x7f => TerminalKey::Backspace,
        b'\t' => TerminalKey::Char(' '),
        b'\r' | b'\n' => TerminalKey::Enter,
        0x0b => TerminalKey::KillAfter,
        0x0c => TerminalKey::Clear,
        0x0e => TerminalKey::Newer,
        0x10 => TerminalKey::Older,
        0x15 => TerminalKey::KillBefore,
        0x17 => TerminalKey::KillWord,
        _ => return None,
    })
}

fn character(bytes: &[u8]) -> KeyMatch {
    for len in 1..=bytes.len().min(4) {
        let part = bytes.get(..len).unwrap_or_default();
        if let Some(c) = std::str::from_utf8(part)
            .ok()
            .and_then(|s| s.chars().next())
        {
            // C1 control characters could steer the terminal when the line is drawn.
            return if c.is_control() {
                KeyMatch::Skip(len)
            } else {
                KeyMatch::Key(TerminalKey::Char(c), len)
            };
        }
    }
    let complete = bytes.first().map_or(1, |first| match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    });
    if bytes.len() < complete {
        KeyMatch::Partial
    } else {
        KeyMatch::Skip(1)
    }
}

/// Decodes `ESC [ …`, `ESC O …`, and Alt with a letter.
fn escape(bytes: &[u8]) -> KeyMatch {
    match bytes.get(1) {
        None => KeyMatch::Partial,
        Some(b'[' | b'O') => {
            let body = bytes.get(2..).unwrap_or_default();
            let Some(end) = body.iter().position(|b| (0x40..=0x7e).contains(b)) else {
                return if bytes.len() > MAX_SEQUENCE_BYTES {
                    KeyMatch::Skip(bytes.len())
                } else {
                    KeyMatch::Partial
                };
            };
            let len = end + 3;
            let sequence = body.get(..=end).unwrap_or_default();
            named(sequence).map_or(KeyMatch::Skip(len), |key| KeyMatch::Key(key, len))
        }
        Some(b'b') => KeyMatch::Key(TerminalKey::WordLeft, 2),
        Some(b'f') => KeyMatch::Key(TerminalKey::WordRight, 2),
        Some(0x7f) => KeyMatch::Key(TerminalKey::KillWord, 2),
        // A lone Escape before another key.
        Some(_) => KeyMatch::Skip(1),
    }
}

fn named(sequence: &[u8]) -> Option<TerminalKey> {
    Some(match sequence {
        b"A" => TerminalKey::Older,
        b"B" => TerminalKey::Newer,
        b"C" => TerminalKey::Right,
        b"D" => TerminalKey::Left,
        b"H" | b"1~" | b"7~" => TerminalKey::Home,
        b"F" | b"4~" | b"8~" => TerminalKey::End,
        b"3~" => TerminalKey::Delete,
        b"1;5C" | b"1;3C" => TerminalKey::WordRight,
        b"1;5D" | b"1;3D" => TerminalKey::WordLeft,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_however_they_are_cut() {
        let bytes = "a\u{1b}[D你\u{1b}[3~\u{1b}[1;5C\u{1b}[200~é\u{1b}OF😀\r\u{3}".as_bytes();
        let whole = KeyDecoder::default().read(bytes);
        let expected = [
            TerminalKey::Char('a'),
            TerminalKey::Left,
            TerminalKey::Char('你'),
            TerminalKey::Delete,
            TerminalKey::WordRight,
            TerminalKey::Char('é'),
            TerminalKey::End,
            TerminalKey::Char('😀'),
            TerminalKey::Enter,
            TerminalKey::Interrupt,
        ];
        assert_eq!(whole, expected);
        for at in 0..bytes.len() {
            let mut keys = KeyDecoder::default();
            let (before, after) = bytes.split_at(at);
            let mut read = keys.read(before);
            read.extend(keys.read(after));
            assert_eq!(read, expected, "cut at {at}");
        }
    }

    #[test]
    fn bytes_that_are_no_key_are_skipped_and_nothing_is_kept_for_ever() {
        let mut keys = KeyDecoder::default();
        assert_eq!(
            keys.read(b"\xff\xfe\x80x\xc2\x9by"),
            [TerminalKey::Char('x'), TerminalKey::Char('y')]
        );
        assert!(keys.read(b"\x1b[").is_empty());
        assert!(keys.read(&[b'0'; 40]).is_empty());
        assert!(keys.pending.is_empty());
        assert_eq!(keys.read(b"z"), [TerminalKey::Char('z')]);
    }
}
