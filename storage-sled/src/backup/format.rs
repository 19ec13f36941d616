//! File format of a backup: a first line that names the format, frames, and an end frame with a
//! checksum of everything before it.
//!
//! A frame is a letter, the length of its payload (four bytes, big-endian), and the payload:
//!
//! | letter | payload |
//! |---|---|
//! | `r` | rows: length and key, length and value, repeated |
//! | `c` | a commit: length and key, 1, length and value; or length and key, 0 for a removed row; repeated |
//! | `f` | the name of an uploaded file; its data follows |
//! | `d` | data of the last named file |
//! | `x` | the reason the writer gave up; nothing follows |
//! | `e` | the end: rows, commits and files (eight bytes each), SHA-256 of everything before this frame |
//!
//! A file without its end frame, or with another checksum, is not a backup.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};
use sled::IVec;

use super::BackupError;
use crate::capture::RowChange;

/// The first line.
const MAGIC: &[u8; 16] = b"gimlet backup 1\n";
/// Bytes of the longest payload; a commit of the writer stays far below.
const MAX_PAYLOAD_BYTES: usize = 256 << 20;

/// Contents of a backup, in their order.
#[derive(Debug, PartialEq, Eq)]
pub enum BackupFrame {
    /// Rows and removals, to be applied in this order.
    Rows(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    /// The name of a file that begins.
    File(String),
    /// More data of the file.
    Data(Vec<u8>),
}

/// Counts of a backup's contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BackupCounts {
    pub(crate) rows: u64,
    pub(crate) commits: u64,
    pub(crate) files: u64,
}

/// Writes a backup.
#[derive(Debug)]
pub struct BackupWriter<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
    counts: BackupCounts,
    payload: Vec<u8>,
}

impl<W: Write> BackupWriter<W> {
    /// Begins a backup.
    pub fn new(out: W) -> io::Result<Self> {
        let mut writer = Self {
            out,
            hash: Sha256::new(),
            bytes: 0,
            counts: BackupCounts::default(),
            payload: Vec::new(),
        };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    pub(crate) fn counts(&self) -> BackupCounts {
        self.counts
    }

    /// Returns the bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the files begun so far.
    pub fn files(&self) -> u64 {
        self.counts.files
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn frame(&mut self, letter: u8, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len())
            .ok()
            .filter(|_| payload.len() <= MAX_PAYLOAD_BYTES)
            .ok_or_else(|| io::Error::other("a frame of the backup is too long"))?;
        self.put(&[letter])?;
        self.put(&length.to_be_bytes())?;
        self.put(payload)
    }

    pub(crate) fn rows(&mut self, rows: &[(IVec, IVec)]) -> io::Result<()> {
        self.counts.rows += rows.len() as u64;
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        for (key, value) in rows {
            counted(&mut payload, key);
            counted(&mut payload, value);
        }
        let done = self.frame(b'r', &payload);
        self.payload = payload;
        done
    }

    pub(crate) fn commit(&mut self, changes: &[RowChange]) -> io::Result<()> {
        self.counts.commits += 1;
        let mut payload = Vec::new();
        for (key, value) in changes {
            counted(&mut payload, key);
            payload.push(u8::from(value.is_some()));
            if let Some(value) = value {
                counted(&mut payload, value);
            }
        }
        self.frame(b'c', &payload)
    }

    /// Begins a file.
    pub fn file(&mut self, name: &str) -> io::Result<()> {
        self.counts.files += 1;
        self.frame(b'f', name.as_bytes())
    }

    /// Adds data to the file.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame(b'd', bytes)
    }

    /// Ends the file as a failed backup, with the reason.
    pub fn fail(mut self, why: &str) -> io::Result<()> {
        self.frame(b'x', why.as_bytes())?;
        self.out.flush()
    }

    /// Ends the backup; without this call the file is not a backup.
    pub fn finish(mut self) -> io::Result<W> {
        let mut payload = Vec::with_capacity(56);
        let BackupCounts {
            rows,
            commits,
            files,
        } = self.counts;
        for count in [rows, commits, files] {
            payload.extend_from_slice(&count.to_be_bytes());
        }
        payload.extend_from_slice(&self.hash.clone().finalize());
        self.frame(b'e', &payload)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn counted(payload: &mut Vec<u8>, bytes: &[u8]) {
    // A row has a few KiB at most.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    payload.extend_from_slice(&length.to_be_bytes());
    payload.extend_from_slice(bytes);
}

/// Reads a backup. Discard the frames if the end is not reached: the checksum is verified there.
#[derive(Debug)]
pub struct BackupReader<R> {
    input: R,
    hash: Sha256,
    bytes: u64,
    counts: BackupCounts,
}

impl<R: Read> BackupReader<R> {
    /// Begins to read.
    pub fn new(input: R) -> Result<Self, BackupError> {
        let mut reader = Self {
            input,
            hash: Sha256::new(),
            bytes: 0,
            counts: BackupCounts::default(),
        };
        let mut magic = [0; MAGIC.len()];
        reader.take(&mut magic)?;
        if magic != *MAGIC {
            return Err(BackupError::Damaged(
                "it does not begin with \"gimlet backup 1\"".into(),
            ));
        }
        Ok(reader)
    }

    /// Returns the bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn take(&mut self, into: &mut [u8]) -> Result<(), BackupError> {
        self.input.read_exact(into).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                BackupError::Damaged(format!("it ends in the middle, after {} bytes", self.bytes))
            } else {
                BackupError::Io(error)
            }
        })?;
        self.hash.update(&*into);
        self.bytes += into.len() as u64;
        Ok(())
    }

    /// Returns the next frame; `None` at the end, after the checksum was verified.
    pub fn next_frame(&mut self) -> Result<Option<BackupFrame>, BackupError> {
        let before = self.hash.clone();
        let (mut letter, mut length) = ([0; 1], [0; 4]);
        self.take(&mut letter)?;
        self.take(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_PAYLOAD_BYTES {
            return Err(BackupError::Damaged("a frame is too long".into()));
        }
        // Read in steps, so that a wrong length cannot allocate memory for bytes that are not
        // there.
        let mut payload = Vec::new();
        while payload.len() < length {
            let from = payload.len();
            payload.resize(length.min(from + (1 << 20)), 0);
            let part = payload.get_mut(from..).unwrap_or_default();
            self.take(part)?;
        }
        let [letter] = letter;
        match letter {
            b'r' | b'c' => {
                let rows = rows(&payload, letter == b'c');
                let rows = rows.ok_or_else(|| BackupError::Damaged("a row is cut off".into()))?;
                if letter == b'r' {
                    self.counts.rows += rows.len() as u64;
                } else {
                    self.counts.commits += 1;
                }
                Ok(Some(BackupFrame::Rows(rows)))
            }
            b'f' => {
                self.counts.files += 1;
                let name = String::from_utf8(payload);
                let name =
                    name.map_err(|_| BackupError::Damaged("a file name is not UTF-8".into()))?;
                Ok(Some(BackupFrame::File(name)))
            }
            b'x' => Err(BackupError::GivenUp(
                String::from_utf8_lossy(&payload).into_owned(),
            )),
            b'd' => Ok(Some(BackupFrame::Data(payload))),
            b'e' => self.check_end(&payload, before).map(|()| None),
            _ => Err(BackupError::Damaged("a frame of an unknown kind".into())),
        }
    }

    fn check_end(&mut self, payload: &[u8], before: Sha256) -> Result<(), BackupError> {
        let BackupCounts {
            rows,
            commits,
            files,
        } = self.counts;
        let counts = [rows, commits, files].map(u64::to_be_bytes).concat();
        let hash = before.finalize();
        if payload != [counts.as_slice(), hash.as_slice()].concat() {
            return Err(BackupError::Damaged(
                "its counts or its checksum do not match its content".into(),
            ));
        }
        if self.input.read(&mut [0])? != 0 {
            return Err(BackupError::Damaged("something follows its end".into()));
        }
        Ok(())
    }
}

type RowList = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn rows(mut payload: &[u8], commit: bool) -> Option<RowList> {
    fn counted<'a>(payload: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (length, rest) = payload.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        *payload = rest;
        Some(bytes)
    }
    let mut rows = Vec::new();
    while !payload.is_empty() {
        let key = counted(&mut payload)?.to_vec();
        let there = if commit {
            let (flag, rest) = payload.split_first()?;
            payload = rest;
            *flag == 1
        } else {
            true
        };
        let value = if there {
            Some(counted(&mut payload)?.to_vec())
        } else {
            None
        };
        rows.push((key, value));
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut writer = BackupWriter::new(Vec::new()).unwrap();
        let row = |key: &[u8], value: &[u8]| (IVec::from(key), IVec::from(value));
        writer.rows(&[row(b"a", b"1"), row(b"b", b"")]).unwrap();
        let removed = (IVec::from(b"b".as_slice()), None);
        writer.commit(&[removed]).unwrap();
        writer.file("picture.png").unwrap();
        writer.data(b"bytes").unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<BackupFrame>, BackupError> {
        let mut reader = BackupReader::new(bytes)?;
        let mut frames = Vec::new();
        while let Some(frame) = reader.next_frame()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn what_is_written_is_read() {
        let frames = read(&written()).unwrap();
        let some = |bytes: &[u8]| Some(bytes.to_vec());
        assert_eq!(
            frames,
            [
                BackupFrame::Rows(vec![
                    (b"a".to_vec(), some(b"1")),
                    (b"b".to_vec(), some(b""))
                ]),
                BackupFrame::Rows(vec![(b"b".to_vec(), None)]),
                BackupFrame::File("picture.png".into()),
                BackupFrame::Data(b"bytes".to_vec()),
            ]
        );
    }

    #[test]
    fn a_cut_or_changed_file_is_not_a_backup() {
        let whole = written();
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "cut at {length}");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                assert!(read(&flipped).is_err(), "bit {bit} of byte {at}");
            }
        }
        let longer = [whole.as_slice(), b"x"].concat();
        assert!(read(&longer).is_err());
    }
}
