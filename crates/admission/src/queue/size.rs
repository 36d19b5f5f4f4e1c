//! Sizes, rounded to classes about a tenth apart: within one, whoever waits longest has the highest
//! response ratio, so that only the first of each class has to be looked at.

/// Binary places after the leading one.
const PLACES: u32 = 3;

/// A class of sizes. Ordered as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SizeClass(u16);

impl SizeClass {
    pub(super) fn of(size: u64) -> Self {
        let size = size.max(1);
        let exponent = size.ilog2();
        let places = if exponent >= PLACES {
            size >> (exponent - PLACES)
        } else {
            size << (PLACES - exponent)
        };
        // `places` is from 8 to 15: its leading one is the exponent's.
        let class = u64::from(exponent) << PLACES | (places & ((1 << PLACES) - 1));
        Self(u16::try_from(class).unwrap_or(u16::MAX))
    }

    /// The smallest size of it.
    pub(super) const fn size(self) -> u64 {
        let exponent = (self.0 >> PLACES) as u32;
        let places = (1 << PLACES) | (self.0 & ((1 << PLACES) - 1)) as u64;
        if exponent >= PLACES {
            places << (exponent - PLACES)
        } else {
            places >> (PLACES - exponent)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_sizes_at_most_an_eighth_apart() {
        let mut last = SizeClass::of(1);
        for size in (1..5_000).chain([1 << 40, (1 << 40) + (1 << 37), u64::MAX]) {
            let class = SizeClass::of(size);
            assert!(class >= last);
            let least = class.size();
            assert!(least <= size && size - least <= least / 8, "{size} {least}");
            last = class;
        }
    }
}
