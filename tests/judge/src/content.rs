//! Content of a message in a run: its identity, the time it was sent, and a checksum over all of
//! it.

/// Bytes of a mark; the rest of a content is padding that the checksum covers, too.
pub const MARK: usize = 32;

/// First bytes of every content. They tell our messages from those of other programs.
const OPENING: [u8; 4] = *b"glod";

/// Identity of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageMark {
    /// Run that the message belongs to.
    pub run: u32,
    /// Stream that it belongs to.
    pub stream: u32,
    /// Number of the message in its stream.
    pub number: u32,
    /// Intended send time, nanoseconds of the machine's clock.
    pub at: u64,
}

fn padding(stream: u32, number: u32) -> u8 {
    let [low, ..] = (stream.wrapping_mul(31) ^ number).to_le_bytes();
    low
}

impl MessageMark {
    /// Writes a content of `size` bytes, at least [`MARK`], over the bytes in `out`.
    pub fn write(&self, out: &mut Vec<u8>, size: usize) {
        out.clear();
        out.extend_from_slice(&OPENING);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.run.to_le_bytes());
        out.extend_from_slice(&self.stream.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.at.to_le_bytes());
        out.resize(size.max(MARK), padding(self.stream, self.number));
        let sum = out.get(8..).map_or(0, crc32fast::hash);
        if let Some(place) = out.get_mut(4..8) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
    }

    /// Returns the client's id of the message, which is unique in all runs.
    #[must_use]
    pub fn key(&self) -> [u8; 24] {
        let mut key = [0; 24];
        let digits = [self.run, self.stream, self.number]
            .into_iter()
            .flat_map(|word| (0..8).rev().map(move |nibble| word >> (4 * nibble) & 15))
            .map(|nibble| char::from_digit(nibble, 16).map_or(b'0', |digit| digit as u8));
        for (place, digit) in key.iter_mut().zip(digits) {
            *place = digit;
        }
        key
    }

    /// Reads a content and verifies its checksum.
    ///
    /// # Errors
    /// The content is not one of ours, or was changed.
    pub fn read(content: &[u8]) -> Result<Self, &'static str> {
        let (head, rest) = content
            .split_first_chunk::<MARK>()
            .ok_or("a content shorter than the mark of a message")?;
        let word = |at: usize| {
            let bytes = head.get(at..at + 4).and_then(|b| b.try_into().ok());
            u32::from_le_bytes(bytes.unwrap_or_default())
        };
        if !head.starts_with(&OPENING) {
            return Err("a content that this program did not write");
        }
        let mut sum = crc32fast::Hasher::new();
        sum.update(head.get(8..).unwrap_or_default());
        sum.update(rest);
        if sum.finalize() != word(4) {
            return Err("a content whose checksum is wrong");
        }
        Ok(Self {
            run: word(8),
            stream: word(12),
            number: word(16),
            at: u64::from(word(24)) | u64::from(word(28)) << 32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_and_damage_is_seen() {
        let mark = MessageMark {
            run: 1,
            stream: 2,
            number: 3,
            at: u64::MAX - 5,
        };
        for size in [0, MARK, 100, 4000] {
            let mut content = Vec::new();
            mark.write(&mut content, size);
            assert_eq!(content.len(), size.max(MARK));
            assert_eq!(MessageMark::read(&content), Ok(mark));
            for at in 0..content.len() {
                content[at] ^= 1;
                assert!(MessageMark::read(&content).is_err(), "byte {at} of {size}");
                content[at] ^= 1;
            }
        }
    }

    #[test]
    fn a_key_names_run_stream_and_number() {
        let mark = MessageMark {
            run: 0xdead_beef,
            stream: 1,
            number: 0x10,
            at: 0,
        };
        assert_eq!(&mark.key(), b"deadbeef0000000100000010");
    }
}
