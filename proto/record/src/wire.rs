//! Protobuf's encoding of single fields, read and written without a generated type in between.

use crate::error::DecodeError;

/// Bytes of the key of a field up to 15.
const KEY_LEN: usize = 1;

/// Wire types: a varint, and bytes behind their length.
const VARINT: u8 = 0;
const BYTES: u8 = 2;

/// Returns the bytes of a varint.
pub(crate) const fn varint_len(value: u64) -> usize {
    // Seven bits a byte; zero takes one as well.
    (((value | 1).ilog2() as usize) * 9 + 73) / 64
}

/// Returns the bytes of a number's field; a default is not written.
pub(crate) const fn number_len(value: u64) -> usize {
    if value == 0 {
        0
    } else {
        KEY_LEN + varint_len(value)
    }
}

/// Returns the bytes of a field of `length` bytes; an empty one is not written.
pub(crate) const fn bytes_len(length: usize) -> usize {
    if length == 0 {
        0
    } else {
        KEY_LEN + varint_len(length as u64) + length
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Writes a number's field, unless it is the default.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u8, value: u64) {
    if value != 0 {
        out.push((number << 3) | VARINT);
        put_varint(out, value);
    }
}

/// Writes the key and the length of a field of bytes that the caller writes behind them.
pub(crate) fn put_prefix(out: &mut Vec<u8>, number: u8, length: usize) {
    out.push((number << 3) | BYTES);
    put_varint(out, length as u64);
}

/// Writes a field of bytes, unless it is empty.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_prefix(out, number, bytes.len());
        out.extend_from_slice(bytes);
    }
}

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WireValue<'a> {
    /// A number.
    Number(u64),
    /// Bytes, a text, a message, or packed numbers.
    Bytes(&'a [u8]),
    /// A number of four or eight bytes; no field of ours has one.
    Fixed,
}

/// A field of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WireField<'a> {
    pub(crate) number: u32,
    pub(crate) value: WireValue<'a>,
    /// Its key and its value as they are encoded.
    pub(crate) encoded: &'a [u8],
}

/// The fields of a record, in the order in which they were written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WireFields<'a>(&'a [u8]);

impl<'a> WireFields<'a> {
    pub(crate) const fn of(record: &'a [u8]) -> Self {
        Self(record)
    }

    /// Returns whether nothing is left.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the next field, or `None` at the end.
    pub(crate) fn next_field(&mut self) -> Result<Option<WireField<'a>>, DecodeError> {
        if self.is_empty() {
            return Ok(None);
        }
        let start = self.0;
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| DecodeError::Malformed)?;
        if number == 0 || number >= 1 << 29 {
            return Err(DecodeError::Malformed);
        }
        let value = match key & 7 {
            0 => WireValue::Number(self.varint()?),
            1 => self.take(8).map(|_| WireValue::Fixed)?,
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| DecodeError::Truncated)?;
                WireValue::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| WireValue::Fixed)?,
            // Groups, which proto3 does not have.
            _ => return Err(DecodeError::Malformed),
        };
        let (encoded, _) = start.split_at(start.len() - self.0.len());
        Ok(Some(WireField {
            number,
            value,
            encoded,
        }))
    }

    /// Reads one varint: a key, a length, or one of packed numbers.
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                // The tenth byte holds the last of 64 bits.
                let fits = shift < 63 || *byte <= 1;
                return if fits {
                    Ok(value)
                } else {
                    Err(DecodeError::Malformed)
                };
            }
        }
        Err(DecodeError::Malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

impl<'a> WireValue<'a> {
    /// Returns the number that the field `name` holds.
    pub(crate) const fn number(self, name: &'static str) -> Result<u64, DecodeError> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Bytes(_) | Self::Fixed => Err(DecodeError::WrongType(name)),
        }
    }

    /// Returns the bytes that the field `name` holds.
    pub(crate) const fn bytes(self, name: &'static str) -> Result<&'a [u8], DecodeError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) | Self::Fixed => Err(DecodeError::WrongType(name)),
        }
    }

    /// Returns the text that the field `name` holds.
    pub(crate) fn text(self, name: &'static str) -> Result<String, DecodeError> {
        let text = std::str::from_utf8(self.bytes(name)?);
        text.map(str::to_owned)
            .map_err(|_| DecodeError::NotUtf8(name))
    }
}
