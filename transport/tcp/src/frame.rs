//! gim's framing: a two-byte big-endian length, then that many bytes.
//!
//! Pure functions over buffers, tested with every split of the input; `link` has the socket.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use gimlet_transport::LinkError;

/// Size of the length prefix in bytes.
pub(crate) const PREFIX_LEN: usize = 2;

/// The largest length that two bytes can declare.
pub(crate) const MAX_FRAME_LEN: usize = u16::MAX as usize;

/// Takes the next whole frame off the front of `buffer`; returns `None` if more bytes are needed.
///
/// The declared length is checked as soon as it is complete, before memory is reserved for it. When
/// the last byte is taken, the buffer releases its memory, which the frames share.
pub(crate) fn take(buffer: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, LinkError> {
    let Some(prefix) = buffer.first_chunk::<PREFIX_LEN>() else {
        return Ok(None);
    };
    let declared = usize::from(u16::from_be_bytes(*prefix));
    if declared > limit {
        return Err(LinkError::TooLarge { declared, limit });
    }
    if buffer.len() < PREFIX_LEN + declared {
        return Ok(None);
    }
    buffer.advance(PREFIX_LEN);
    let frame = buffer.split_to(declared).freeze();
    if buffer.is_empty() {
        *buffer = BytesMut::new();
    }
    Ok(Some(frame))
}

/// Appends a frame to `buffer`.
pub(crate) fn put(buffer: &mut BytesMut, frame: &[u8]) -> Result<(), LinkError> {
    let Ok(length) = u16::try_from(frame.len()) else {
        return Err(LinkError::TooLarge {
            declared: frame.len(),
            limit: MAX_FRAME_LEN,
        });
    };
    buffer.reserve(PREFIX_LEN + frame.len());
    buffer.put_u16(length);
    buffer.put_slice(frame);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(frames: &[&[u8]]) -> BytesMut {
        let mut buffer = BytesMut::new();
        for frame in frames {
            put(&mut buffer, frame).unwrap();
        }
        buffer
    }

    #[test]
    fn frames_come_out_whole_wherever_the_stream_is_cut() {
        let frames: [&[u8]; 4] = [b"first", b"", &[7; 300], b"x"];
        let bytes = stream(&frames);
        for cut in 0..=bytes.len() {
            let mut buffer = BytesMut::new();
            let mut taken = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                buffer.extend_from_slice(part);
                while let Some(frame) = take(&mut buffer, MAX_FRAME_LEN).unwrap() {
                    taken.push(frame);
                }
            }
            assert_eq!(taken, frames, "cut at {cut}");
            assert_eq!(buffer.capacity(), 0, "an empty buffer keeps nothing");
        }
    }

    #[test]
    fn frames_come_out_whole_byte_by_byte() {
        let mut buffer = BytesMut::new();
        let mut taken = Vec::new();
        for byte in stream(&[b"ab", b"", b"c"]) {
            buffer.put_u8(byte);
            taken.extend(take(&mut buffer, MAX_FRAME_LEN).unwrap());
        }
        assert_eq!(taken, [&b"ab"[..], b"", b"c"]);
    }

    #[test]
    fn a_declared_length_over_the_limit_is_refused_before_its_bytes_come() {
        let mut buffer = BytesMut::from(&[0x01, 0x01][..]);
        let error = take(&mut buffer, 256).unwrap_err();
        assert!(matches!(
            error,
            LinkError::TooLarge {
                declared: 257,
                limit: 256
            }
        ));
    }

    #[test]
    fn the_length_is_big_endian_and_does_not_count_itself() {
        assert_eq!(&stream(&[&[9; 258]])[..3], [1, 2, 9]);
        assert_eq!(&stream(&[b""])[..], [0, 0]);
    }

    #[test]
    fn the_widest_frame_fits_and_one_more_byte_does_not() {
        let mut buffer = BytesMut::new();
        put(&mut buffer, &vec![1; MAX_FRAME_LEN]).unwrap();
        assert_eq!(
            take(&mut buffer, MAX_FRAME_LEN).unwrap().unwrap().len(),
            MAX_FRAME_LEN
        );
        assert!(put(&mut buffer, &vec![1; MAX_FRAME_LEN + 1]).is_err());
    }
}
