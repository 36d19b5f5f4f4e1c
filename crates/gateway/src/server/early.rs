//! What is read of bodies before anybody has asked for the memory.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes that all connections share.
#[derive(Clone, Debug)]
pub(super) struct Early(Arc<AtomicUsize>);

/// Some of them, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    from: Early,
    bytes: usize,
}

impl Early {
    pub(super) fn of(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// So many, or as many as there are.
    pub(super) fn take(&self, wanted: usize) -> Taken {
        let mut bytes = 0;
        let less = |free: usize| {
            bytes = wanted.min(free);
            (bytes > 0).then(|| free - bytes)
        };
        let _none_is_free = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        Taken {
            from: self.clone(),
            bytes,
        }
    }
}

impl Taken {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps only so many.
    pub(super) fn shrink(&mut self, to: usize) {
        let more = self.bytes.saturating_sub(to);
        self.bytes -= more;
        self.from.0.fetch_add(more, Ordering::Relaxed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is_and_all_comes_back() {
        let early = Early::of(100);
        let first = early.take(70);
        let mut second = early.take(70);
        let third = early.take(70);
        assert_eq!((first.bytes(), second.bytes(), third.bytes()), (70, 30, 0));
        second.shrink(10);
        assert_eq!(early.take(70).bytes(), 20);
        drop((first, second, third));
        assert_eq!(early.take(1_000).bytes(), 100);
    }
}
