//! In which order rows stand.

use super::{AT, Batch, ID, Values};
use crate::telemetry::{pages::PAGE_ROWS, schema::Search};

impl Batch {
    /// The places of its rows, oldest first; those of one time by their ids.
    pub fn by_time(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..u32::try_from(self.rows).unwrap_or(u32::MAX)).collect();
        self.sort_by_time(&mut order);
        order
    }

    /// The places of its rows, so that those whose texts begin with the same letters share a page, and those of
    /// a page are in the order of their times.
    ///
    /// What is written again and again with other numbers is found in few pages then, and takes
    /// less room, though each page is packed by itself.
    pub fn by_page(&self) -> Vec<u32> {
        let mut order = self.by_time();
        if self.rows <= PAGE_ROWS {
            return order;
        }
        let alike = self.alike();
        order.sort_by_key(|it| usize::try_from(*it).ok().and_then(|it| alike.get(it)));
        for page in order.chunks_mut(PAGE_ROWS) {
            self.sort_by_time(page);
        }
        order
    }

    fn sort_by_time(&self, places: &mut [u32]) {
        let (times, ids) = (self.integers(AT), self.integers(ID));
        places.sort_by_key(|it| {
            let row = usize::try_from(*it).unwrap_or(0);
            (times.get(row), ids.get(row))
        });
    }

    /// For each row the first letters of the first text that it has: what else there is changes.
    fn alike(&self) -> Vec<[u8; ALIKE_BYTES]> {
        let mut alike = vec![[0; ALIKE_BYTES]; self.rows];
        let columns = self.columns.iter().zip(self.schema.columns);
        let texts = columns.filter_map(|(values, column)| match values {
            Values::Texts(texts) if column.search == Search::Words => Some(texts),
            _ => None,
        });
        for texts in texts {
            for (row, begins) in alike.iter_mut().enumerate() {
                let text = texts
                    .get(row)
                    .filter(|_| begins[0] == 0)
                    .unwrap_or_default();
                let letters = text.bytes().filter(u8::is_ascii_alphabetic);
                for (to, from) in begins.iter_mut().zip(letters) {
                    *to = from;
                }
            }
        }
        alike
    }
}

/// How many letters are compared: more hardly make the texts smaller.
const ALIKE_BYTES: usize = 16;
