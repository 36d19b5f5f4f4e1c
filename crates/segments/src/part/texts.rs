//! Texts of a column, read at once: a page of ours is their lengths and then all of them, as a batch
//! has them.
//!
//! Encodings: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>.

use parquet::{
    basic::Encoding,
    column::page::{Page, PageReader},
    errors::Result,
};

/// All texts of a column one after another, and where that of each row ends.
pub(super) struct Texts {
    pub(super) bytes: String,
    pub(super) ends: Vec<u32>,
}

/// The texts of a column of so many rows; `None` where they are not written as we write them, and
/// whoever reads anything has to read them.
pub(super) fn read(
    pages: &mut dyn PageReader,
    rows: usize,
    optional: bool,
) -> Result<Option<Texts>> {
    let mut all = Texts {
        bytes: String::new(),
        ends: Vec::with_capacity(rows),
    };
    while all.ends.len() < rows {
        let Some(Page::DataPageV2 {
            buf,
            encoding: Encoding::DELTA_LENGTH_BYTE_ARRAY,
            num_values,
            def_levels_byte_len,
            rep_levels_byte_len: 0,
            ..
        }) = pages.get_next_page()?
        else {
            return Ok(None);
        };
        let levels = usize::try_from(def_levels_byte_len).unwrap_or(usize::MAX);
        let many = usize::try_from(num_values).unwrap_or(usize::MAX);
        let fits = (1..=rows - all.ends.len()).contains(&many);
        let parts = buf.split_at_checked(levels).filter(|_| fits);
        let added = parts.and_then(|(levels, values)| {
            let present = optional.then(|| present(levels, many));
            all.add(
                values,
                many,
                match present {
                    Some(known) => Some(known?),
                    None => None,
                },
            )
        });
        if added.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(all))
}

impl Texts {
    /// Adds those of a page of so many rows.
    fn add(&mut self, values: &[u8], rows: usize, present: Option<Vec<bool>>) -> Option<()> {
        let there = match &present {
            Some(present) => present.iter().filter(|it| **it).count(),
            None => rows,
        };
        let mut left = Packed(values);
        let mut lengths = left.numbers(there)?.into_iter();
        self.bytes.push_str(std::str::from_utf8(left.0).ok()?);
        let mut end = self.ends.last().copied().unwrap_or(0);
        for row in 0..rows {
            if present.as_ref().is_none_or(|it| it[row]) {
                end = end.checked_add(u32::try_from(lengths.next()?).ok()?)?;
            }
            self.ends.push(end);
        }
        (usize::try_from(end) == Ok(self.bytes.len())).then_some(())
    }
}

/// Which rows have a value: levels of one bit, in runs and in groups of eight.
fn present(levels: &[u8], rows: usize) -> Option<Vec<bool>> {
    let mut left = Packed(levels);
    let mut present = Vec::with_capacity(rows + 8);
    while present.len() < rows {
        let head = left.varint()?;
        let many = usize::try_from(head >> 1).ok()?;
        if head & 1 == 0 {
            let level = left.take(1)?[0];
            present.resize(
                present.len() + many.min(rows - present.len()),
                level & 1 == 1,
            );
        } else {
            for byte in left.take(many)? {
                present.extend((0..8).map(|bit| byte >> bit & 1 == 1));
            }
        }
    }
    present.truncate(rows);
    Some(present)
}

/// Bytes that are left to read.
struct Packed<'a>(&'a [u8]);

impl<'a> Packed<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    /// So many numbers as differences in blocks (`DELTA_BINARY_PACKED`).
    fn numbers(&mut self, many: usize) -> Option<Vec<i64>> {
        let block = usize::try_from(self.varint()?).ok()?;
        let pieces = usize::try_from(self.varint()?).ok()?;
        let each = block.checked_div(pieces)?;
        let total = usize::try_from(self.varint()?).ok()?;
        let mut last = self.zigzag()?;
        if total != many {
            return None;
        }
        let mut numbers = Vec::with_capacity(many);
        numbers.extend((many > 0).then_some(last));
        while numbers.len() < many {
            let least = self.zigzag()?;
            for width in self.take(pieces)? {
                if numbers.len() == many {
                    break;
                }
                let packed = self.take(each.checked_mul(usize::from(*width))?.div_ceil(8))?;
                let some = each.min(many - numbers.len());
                let mut bits = Bits::of(packed, *width)?;
                for _ in 0..some {
                    last = last.checked_add(least)?.checked_add(bits.next()?)?;
                    numbers.push(last);
                }
            }
        }
        Some(numbers)
    }
}

/// Numbers of so many bits each.
struct Bits<'a> {
    bytes: std::slice::Iter<'a, u8>,
    width: u8,
    /// Bits that were taken from the bytes and not yet given, and how many.
    held: u64,
    left: u8,
}

impl<'a> Bits<'a> {
    /// No difference of lengths has more than 32 bits.
    fn of(bytes: &'a [u8], width: u8) -> Option<Self> {
        (width <= 32).then_some(Self {
            bytes: bytes.iter(),
            width,
            held: 0,
            left: 0,
        })
    }

    #[inline]
    fn next(&mut self) -> Option<i64> {
        while self.left < self.width {
            self.held |= u64::from(*self.bytes.next()?) << self.left;
            self.left += 8;
        }
        let number = self.held & ((1 << self.width) - 1);
        self.held >>= self.width;
        self.left -= self.width;
        Some(number.cast_signed())
    }
}

#[cfg(test)]
mod tests;
