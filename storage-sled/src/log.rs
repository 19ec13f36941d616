//! Reads sled's log before sled does, to find out how much of it is valid.
//!
//! When sled opens, it stops at the first invalid message, or skips the rest of its segment,
//! without an error. It has to: a killed process leaves such an end behind. But then a flipped bit
//! looks like the end of the log as well: answered changes are gone, and their numbers are given
//! out again. Each commit therefore sets a row ([`key::COMMIT`](crate::key::COMMIT)) with its
//! number, and this file finds the last number before the first invalid message. The caller
//! compares it with the last answered commit (`stamp`).
//!
//! The log is `db`: segments of [`SEGMENT_BYTES`] bytes in any order. The header of a segment holds
//! its position in the order of the log (its LSN). A segment holds messages, each with a checksum
//! and the number of its segment.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::stamp::CommitTag;

/// Bytes of a segment: sled's default.
const SEGMENT_BYTES: usize = 512 << 10;
/// Bytes of a segment's header: a checksum, its LSN, and the stable LSN when it was begun.
const SEGMENT_HEADER_BYTES: usize = 20;
/// Bytes of the longest message header; no message begins closer to the end of its segment.
const MAX_MESSAGE_HEADER_BYTES: usize = 32;
/// Mask that sled applies to its numbers and checksums, so that zeros are never valid.
const NUMBER_MASK: u64 = 0x7FFF_FFFF_FFFF_FFFF;

/// Kinds of messages.
const KIND_CANCELED: u8 = 1;
const KIND_CAP: u8 = 2;
const KIND_BATCH: u8 = 3;
const KIND_NODE: u8 = 8;
const KIND_LINK: u8 = 10;
const KIND_LAST: u8 = 11;

/// Extent of the valid part of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogExtent {
    /// The last whole commit in the part of the log that was read, if there is one.
    pub(crate) commit: Option<u64>,
    /// The byte of `db` where the valid part ends; `None` if the log has no segment from there on.
    pub(crate) end: Option<u64>,
    /// The LSN behind the last whole commit.
    pub(crate) safe: u64,
    /// The LSN up to which sled has relied on the log: space below it may have been reused.
    pub(crate) stable: u64,
}

/// A valid message.
#[derive(Clone, Copy, Debug)]
struct LogMessage<'a> {
    kind: u8,
    segment: u64,
    body: &'a [u8],
    /// Bytes of the message including its header.
    len: usize,
}

/// Reads the log from the segment with this LSN on.
pub(crate) fn extent(db: &Path, from: u64, tag: CommitTag) -> io::Result<LogExtent> {
    let file = match File::open(db) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LogExtent::default()),
        Err(error) => return Err(error),
    };
    let segments = segments(&file)?;
    let stable = segments.values().map(|place| place.stable).max();
    let mut walk = LogScan::new(tag);
    let mut buf = vec![0; SEGMENT_BYTES];
    let mut end = None;
    for (&number, place) in segments.range(from / SEGMENT_BYTES as u64..) {
        end = Some(place.offset);
        // sled would skip this segment, so the valid part ends here even if later segments are
        // whole.
        if place.headless {
            break;
        }
        let len = read_at_most(&file, &mut buf, place.offset)?;
        let data = buf.get(..len).unwrap_or_default();
        let (at, whole) = walk.segment(data, number);
        end = Some(place.offset + at as u64);
        let last = segments.range(number + 1..).next().is_none();
        // An early end is the end of the log, with one exception: sled was killed while it reused
        // this segment's space. Then the log goes on in the next segment.
        if !whole && (last || !is_overwritten(data, at, number)) {
            break;
        }
    }
    Ok(LogExtent {
        commit: walk.seen,
        end,
        safe: walk.safe,
        stable: stable.unwrap_or(0),
    })
}

/// Clears everything behind this LSN, so that sled finds the end of the log there.
pub(crate) fn clear_after(db: &Path, safe: u64) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(db)?;
    let len = file.metadata()?.len();
    let zeros = vec![0; SEGMENT_BYTES];
    for (number, place) in segments(&file)?.range(safe / SEGMENT_BYTES as u64..) {
        let begin = safe.saturating_sub(number * SEGMENT_BYTES as u64);
        let (from, to) = (
            place.offset + begin,
            (place.offset + SEGMENT_BYTES as u64).min(len),
        );
        let bytes = usize::try_from(to.saturating_sub(from)).unwrap_or(SEGMENT_BYTES);
        file.write_all_at(zeros.get(..bytes).unwrap_or(&zeros), from)?;
    }
    file.sync_all()
}

/// A segment of the log.
#[derive(Clone, Copy, Debug)]
struct LogSegment {
    /// Offset of the segment in the file.
    offset: u64,
    /// The stable LSN when the segment was begun.
    stable: u64,
    /// True if the messages are valid and the header is not: sled would skip the segment.
    headless: bool,
}

/// Returns the segments by their numbers.
fn segments(file: &File) -> io::Result<BTreeMap<u64, LogSegment>> {
    let len = file.metadata()?.len();
    let mut found = BTreeMap::new();
    let mut headless = Vec::new();
    let (mut header, mut buf) = ([0; SEGMENT_HEADER_BYTES], Vec::new());
    for offset in (0..len).step_by(SEGMENT_BYTES) {
        let read = read_at_most(file, &mut header, offset)?;
        let data = header.get(..read).unwrap_or_default();
        if let Some((number, stable)) = segment_header(data) {
            let place = LogSegment {
                offset,
                stable,
                headless: false,
            };
            found.insert(number, place);
            continue;
        }
        buf.resize(SEGMENT_BYTES, 0);
        let read = read_at_most(file, &mut buf, offset)?;
        let data = buf.get(..read).unwrap_or_default();
        if let Some(message) = message(data, SEGMENT_HEADER_BYTES) {
            headless.push((message.segment, offset));
        }
    }
    for (number, offset) in headless {
        // A header's stable LSN is at most the segment's own start, so this bound is safe.
        let place = LogSegment {
            offset,
            stable: number * SEGMENT_BYTES as u64,
            headless: true,
        };
        found.entry(number).or_insert(place);
    }
    Ok(found)
}

/// Returns the number of a segment and its stable LSN, if the header is valid.
fn segment_header(data: &[u8]) -> Option<(u64, u64)> {
    let (checksum, rest) = data.split_first_chunk::<4>()?;
    let numbers = rest.get(..SEGMENT_HEADER_BYTES - 4)?;
    if crc32fast::hash(numbers) != u32::from_le_bytes(*checksum) ^ u32::MAX {
        return None;
    }
    let lsn = u64::from_le_bytes(*numbers.first_chunk::<8>()?) ^ NUMBER_MASK;
    let stable = u64::from_le_bytes(*numbers.last_chunk::<8>()?) ^ NUMBER_MASK;
    // sled writes -1 into the first segment.
    let stable = if stable > NUMBER_MASK { 0 } else { stable };
    Some((lsn / SEGMENT_BYTES as u64, stable))
}

/// Returns the message that begins at this byte, if it is valid.
fn message(segment: &[u8], at: usize) -> Option<LogMessage<'_>> {
    if at + MAX_MESSAGE_HEADER_BYTES > SEGMENT_BYTES {
        return None;
    }
    let data = segment.get(at..)?;
    let (checksum, rest) = data.split_first_chunk::<4>()?;
    let (&kind, mut rest) = rest.split_first()?;
    if !(KIND_CANCELED..=KIND_LAST).contains(&kind) {
        return None;
    }
    let len = number(&mut rest)?;
    let segment_number = number(&mut rest)?;
    number(&mut rest)?;
    let header = data.len() - rest.len();
    let body = rest.get(..usize::try_from(len).ok()?)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(data.get(4..header)?);
    (hasher.finalize() ^ u32::MAX == u32::from_le_bytes(*checksum)).then_some(LogMessage {
        kind,
        segment: segment_number,
        body,
        len: header + body.len(),
    })
}

/// Reads a number in sled's encoding: one byte for the smallest, up to nine.
fn number(data: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = data.split_first()?;
    let (value, len) = match first {
        0..=240 => (u64::from(first), 0),
        241..=248 => (
            240 + 256 * (u64::from(first) - 241) + u64::from(*rest.first()?),
            1,
        ),
        249 => (
            2_288 + 256 * u64::from(*rest.first()?) + u64::from(*rest.get(1)?),
            2,
        ),
        _ => {
            let len = usize::from(first) - 247;
            let mut bytes = [0; 8];
            bytes.get_mut(..len)?.copy_from_slice(rest.get(..len)?);
            (u64::from_le_bytes(bytes), len)
        }
    };
    *data = rest.get(len..)?;
    Some(value)
}

/// Returns true if the rest of a segment belongs to a later segment. sled reuses the space of a
/// segment whose pages have all moved, and may have been killed before it wrote the new header. The
/// old segment's remaining messages are not needed.
fn is_overwritten(segment: &[u8], at: usize, number: u64) -> bool {
    let next = (at + 1..segment.len()).find_map(|at| message(segment, at));
    next.is_some_and(|message| message.segment > number)
}

/// Fills the buffer, as far as the file reaches.
fn read_at_most(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut len = 0;
    while let Some(rest) = buf.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// State of one pass over the log.
#[derive(Debug)]
struct LogScan {
    tag: CommitTag,
    /// The last commit whose batch is complete.
    seen: Option<u64>,
    /// The last commit that was found; its batch may not be complete yet.
    pending: Option<u64>,
    /// The last byte of the current batch, as an LSN.
    batch_end: u64,
    /// The LSN behind the last complete batch.
    safe: u64,
}

impl LogScan {
    const fn new(tag: CommitTag) -> Self {
        Self {
            tag,
            seen: None,
            pending: None,
            batch_end: 0,
            safe: 0,
        }
    }

    /// Reads a segment to its end, or to the first invalid message. Returns that position, and
    /// whether it was the end.
    fn segment(&mut self, data: &[u8], number: u64) -> (usize, bool) {
        let mut at = SEGMENT_HEADER_BYTES;
        loop {
            self.advance_to(number * SEGMENT_BYTES as u64 + at as u64);
            if at + MAX_MESSAGE_HEADER_BYTES > SEGMENT_BYTES {
                return (at, true);
            }
            let Some(message) = message(data, at).filter(|it| it.segment == number) else {
                return (at, false);
            };
            match message.kind {
                KIND_CAP => {
                    self.advance_to((number + 1) * SEGMENT_BYTES as u64);
                    return (at, true);
                }
                KIND_BATCH => {
                    let end = message
                        .body
                        .first_chunk::<8>()
                        .map(|it| u64::from_le_bytes(*it));
                    self.batch_end = end.unwrap_or(u64::MAX);
                }
                KIND_NODE | KIND_LINK => {
                    self.pending = self.tag.find(message.body).or(self.pending);
                }
                _ => {}
            }
            at += message.len;
        }
    }

    /// Records that everything before this LSN is valid.
    fn advance_to(&mut self, lsn: u64) {
        // Only beyond the end of its batch: an incomplete batch must not count as a commit.
        if lsn > self.batch_end {
            self.seen = self.seen.max(self.pending);
            self.safe = lsn;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: fn() -> CommitTag = CommitTag::draw;

    fn small(value: u64) -> u8 {
        u8::try_from(value).unwrap()
    }

    /// Builds a message of a segment below 241, with a body below 241 bytes.
    fn written(kind: u8, segment: u64, body: &[u8]) -> Vec<u8> {
        let mut rest = vec![kind, small(body.len() as u64), small(segment), 9];
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(body);
        hasher.update(&rest);
        let mut message = (hasher.finalize() ^ u32::MAX).to_le_bytes().to_vec();
        message.append(&mut rest);
        message.extend_from_slice(body);
        message
    }

    /// Builds a segment with these messages, padded with zeros.
    fn segment(number: u64, messages: &[Vec<u8>]) -> Vec<u8> {
        let mut numbers = ((number * SEGMENT_BYTES as u64) ^ NUMBER_MASK)
            .to_le_bytes()
            .to_vec();
        numbers.extend_from_slice(&NUMBER_MASK.to_le_bytes());
        let checksum = crc32fast::hash(&numbers) ^ u32::MAX;
        let mut segment = checksum.to_le_bytes().to_vec();
        segment.append(&mut numbers);
        segment.extend(messages.iter().flatten());
        segment.resize(SEGMENT_BYTES, 0);
        segment
    }

    fn read(segments: &[Vec<u8>], tag: CommitTag) -> LogExtent {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("db");
        std::fs::write(&db, segments.concat()).unwrap();
        extent(&db, 0, tag).unwrap()
    }

    fn commit(tag: CommitTag, segment: u64, number: u64) -> Vec<u8> {
        written(KIND_LINK, segment, &tag.row(number))
    }

    #[test]
    fn the_last_commit_before_the_end_counts_wherever_its_segment_lies() {
        let tag = TAG();
        let first = segment(0, &[commit(tag, 0, 1), written(KIND_CAP, 0, b"")]);
        let second = segment(1, &[commit(tag, 1, 2), commit(tag, 1, 3)]);
        let end = (SEGMENT_HEADER_BYTES + 2 * commit(tag, 1, 2).len()) as u64;
        let extent = read(&[second, first], tag);
        assert_eq!((extent.commit, extent.end), (Some(3), Some(end)));
        assert_eq!(
            (extent.safe, extent.stable),
            (SEGMENT_BYTES as u64 + end, 0)
        );
        assert_eq!(read(&[], tag), LogExtent::default());
    }

    #[test]
    fn nothing_counts_behind_what_makes_no_sense() {
        let tag = TAG();
        let mut torn = commit(tag, 0, 2);
        torn[12] ^= 1;
        let first = segment(0, &[commit(tag, 0, 1), torn, written(KIND_CAP, 0, b"")]);
        let second = segment(1, &[commit(tag, 1, 3)]);
        assert_eq!(read(&[first, second], tag).commit, Some(1));
    }

    #[test]
    fn nothing_counts_behind_a_segment_that_has_lost_its_header() {
        let tag = TAG();
        let first = segment(0, &[commit(tag, 0, 1), written(KIND_CAP, 0, b"")]);
        let mut second = segment(1, &[commit(tag, 1, 2), written(KIND_CAP, 1, b"")]);
        let third = segment(2, &[commit(tag, 2, 3)]);
        second[5] ^= 1;
        assert_eq!(read(&[first, second, third], tag).commit, Some(1));
    }

    #[test]
    fn a_reused_segment_ends_where_a_later_one_begins() {
        let tag = TAG();
        let mut old = segment(0, &[commit(tag, 0, 1)]);
        let later = commit(tag, 7, 9);
        old[1_000..1_000 + later.len()].copy_from_slice(&later);
        let next = segment(1, &[commit(tag, 1, 2)]);
        assert_eq!(read(&[old, next], tag).commit, Some(2));
    }

    #[test]
    fn a_batch_counts_when_it_is_whole() {
        let tag = TAG();
        let row = commit(tag, 0, 2);
        let manifest = |end: u64| written(KIND_BATCH, 0, &end.to_le_bytes());
        let begin = SEGMENT_HEADER_BYTES + commit(tag, 0, 1).len() + manifest(0).len();
        let end = (begin + row.len()) as u64;
        for (last, commits) in [(end - 1, Some(2)), (end, Some(1))] {
            let log = segment(0, &[commit(tag, 0, 1), manifest(last), row.clone()]);
            assert_eq!(read(&[log], tag).commit, commits);
        }
    }

    #[test]
    fn numbers_are_read_as_sled_writes_them() {
        for (bytes, value) in [
            (&[0][..], 0),
            (&[240], 240),
            (&[241, 0], 240),
            (&[248, 255], 2_287),
            (&[249, 255, 255], 67_823),
            (&[250, 1, 2, 3], 0x0003_0201),
            (&[255, 1, 0, 0, 0, 0, 0, 0, 0x80], 0x8000_0000_0000_0001),
        ] {
            let mut data = bytes;
            assert_eq!(number(&mut data), Some(value));
            assert!(data.is_empty());
        }
    }

    #[test]
    fn a_cleared_log_ends_at_the_cleared_byte() {
        let tag = TAG();
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("db");
        let first = segment(
            0,
            &[
                commit(tag, 0, 1),
                commit(tag, 0, 2),
                written(KIND_CAP, 0, b""),
            ],
        );
        let second = segment(1, &[commit(tag, 1, 3)]);
        std::fs::write(&db, [second, first].concat()).unwrap();
        let safe = (SEGMENT_HEADER_BYTES + commit(tag, 0, 1).len()) as u64;
        clear_after(&db, safe).unwrap();
        let extent = extent(&db, 0, tag).unwrap();
        assert_eq!((extent.commit, extent.safe), (Some(1), safe));
        assert_eq!(extent.end, Some(SEGMENT_BYTES as u64 + safe));
    }
}
