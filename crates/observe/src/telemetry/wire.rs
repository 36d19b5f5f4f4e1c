//! A batch as bytes: what a block holds, before it is compressed.

use super::{
    Batch,
    batch::{Texts, Values},
    schema::Kind,
};

/// The most rows of a block that is read: far more than any that is written.
pub const BLOCK_ROWS_MAX: usize = 1 << 20;

/// The form below. Others are refused.
const VERSION: u8 = 1;

/// Bytes that are no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a block of records: {0}")]
pub struct UnreadableBatch(&'static str);

impl UnreadableBatch {
    pub(super) const fn new(why: &'static str) -> Self {
        Self(why)
    }
}

impl Batch {
    /// As bytes, column by column: integers as differences, texts as their lengths and then all of
    /// them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes() + 1024);
        out.extend([VERSION, self.kind().code()]);
        put(&mut out, self.rows() as u64);
        let schema = self.schema();
        put(&mut out, schema.columns.len() as u64);
        for (column, values) in schema.columns.iter().zip(self.columns()) {
            put(&mut out, column.name.len() as u64);
            out.extend_from_slice(column.name.as_bytes());
            match values {
                Values::Integers(them) => {
                    out.push(b'i');
                    let mut before = 0i64;
                    for it in them {
                        put(&mut out, zigzag(it.wrapping_sub(before)));
                        before = *it;
                    }
                }
                Values::Wide(them) => {
                    out.push(b'w');
                    for it in them {
                        out.extend_from_slice(&it.to_be_bytes());
                    }
                }
                Values::Texts(them) => {
                    out.push(b't');
                    let mut before = 0;
                    for end in &them.ends {
                        put(&mut out, u64::from(end - before));
                        before = *end;
                    }
                    out.extend_from_slice(them.bytes.as_bytes());
                }
            }
        }
        out
    }

    /// From bytes. A column that this program does not know is left out, one that they lack is
    /// absent.
    ///
    /// # Errors
    /// Bytes that [`Self::encode`] did not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnreadableBatch> {
        let mut from = Bytes(bytes);
        let [version, kind] = from.take(2)? else {
            return Err(UnreadableBatch("it is too short"));
        };
        if *version != VERSION {
            return Err(UnreadableBatch("it has another version"));
        }
        let kind = Kind::from_code(*kind).ok_or(UnreadableBatch("its kind is unknown"))?;
        let rows = from.length()?;
        if rows > BLOCK_ROWS_MAX {
            return Err(UnreadableBatch("it has too many rows"));
        }
        let schema = kind.schema();
        let absent = schema.columns.iter().map(|it| Values::new(it.holds));
        let mut columns: Vec<Values> = absent.collect();
        for _ in 0..from.length()? {
            let length = from.length()?;
            let name = from.take(length)?;
            let form = from.take(1)?[0];
            let values = from.values(form, rows)?;
            let place = schema
                .columns
                .iter()
                .position(|it| it.name.as_bytes() == name);
            if let Some(place) = place {
                if std::mem::discriminant(&columns[place]) != std::mem::discriminant(&values) {
                    return Err(UnreadableBatch("a column has another type"));
                }
                columns[place] = values;
            }
        }
        Ok(Self::of_columns(kind, rows, columns))
    }
}

/// What is left to read.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], UnreadableBatch> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(UnreadableBatch("it is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn number(&mut self) -> Result<u64, UnreadableBatch> {
        // Most have one byte.
        if let Some((first, rest)) = self.0.split_first()
            && *first < 0x80
        {
            self.0 = rest;
            return Ok(u64::from(*first));
        }
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(UnreadableBatch("a number is too long"))
    }

    pub(super) fn length(&mut self) -> Result<usize, UnreadableBatch> {
        usize::try_from(self.number()?).map_err(|_| UnreadableBatch("a length is too long"))
    }

    fn values(&mut self, form: u8, rows: usize) -> Result<Values, UnreadableBatch> {
        match form {
            b'i' => self.integers(rows),
            b'w' => self.wide(rows),
            b't' => self.texts(rows),
            _ => Err(UnreadableBatch("a column has an unknown form")),
        }
    }

    fn integers(&mut self, rows: usize) -> Result<Values, UnreadableBatch> {
        let mut them = Vec::with_capacity(rows.min(self.0.len()));
        let mut before = 0i64;
        for _ in 0..rows {
            before = before.wrapping_add(unzigzag(self.number()?));
            them.push(before);
        }
        Ok(Values::Integers(them))
    }

    fn wide(&mut self, rows: usize) -> Result<Values, UnreadableBatch> {
        let (wide, _) = self.take(rows * 16)?.as_chunks();
        Ok(Values::Wide(
            wide.iter().map(|it| u128::from_be_bytes(*it)).collect(),
        ))
    }

    fn texts(&mut self, rows: usize) -> Result<Values, UnreadableBatch> {
        let mut ends = Vec::with_capacity(rows.min(self.0.len()));
        let mut end = 0u32;
        for _ in 0..rows {
            let length = u32::try_from(self.number()?);
            end = length
                .ok()
                .and_then(|it| end.checked_add(it))
                .ok_or(UnreadableBatch("its texts are too long"))?;
            ends.push(end);
        }
        let bytes = self.take(usize::try_from(end).unwrap_or(usize::MAX))?;
        let bytes = std::str::from_utf8(bytes);
        let bytes = bytes.map_err(|_| UnreadableBatch("a text is not UTF-8"))?;
        let whole = |it: &u32| usize::try_from(*it).is_ok_and(|it| bytes.is_char_boundary(it));
        if !ends.iter().all(whole) {
            return Err(UnreadableBatch("a text ends inside of a character"));
        }
        let bytes = bytes.to_owned();
        Ok(Values::Texts(Texts { bytes, ends }))
    }
}

#[inline]
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests;
