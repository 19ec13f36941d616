//! Sizes and bytes of the fields of protobuf, for hand-written encoders.

use bytes::{BufMut, BytesMut};

/// Encoded size of the tag of a field up to 15.
pub(crate) const TAG_LEN: usize = 1;

/// Encoded size of a varint.
pub(crate) const fn varint_len(value: u64) -> usize {
    // Seven bits per byte; zero takes one byte as well.
    (((value | 1).ilog2() as usize) * 9 + 73) / 64
}

pub(crate) fn put_varint(buffer: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        buffer.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8((value & 0x7f) as u8);
}

/// Appends a length prefix.
pub(crate) fn put_len(buffer: &mut BytesMut, length: usize) {
    put_varint(buffer, length as u64);
}

/// Encoded size of an `int64` field with a one-byte tag; the default value is not encoded.
pub(crate) const fn int_len(value: i64) -> usize {
    if value == 0 {
        0
    } else {
        TAG_LEN + varint_len(value.cast_unsigned())
    }
}

pub(crate) fn put_int(buffer: &mut BytesMut, tag: u8, value: i64) {
    if value != 0 {
        buffer.put_u8(tag);
        put_varint(buffer, value.cast_unsigned());
    }
}

/// Encoded size of `length` bytes with their length prefix.
pub(crate) const fn delimited_len(length: usize) -> usize {
    varint_len(length as u64) + length
}
