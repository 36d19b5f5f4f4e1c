//! Bodies of calls that wait, compressed for as long as they do.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::{Held, Inlet, InletError, PERMIT_BYTES, permits};

/// How long a call waits before its body is packed: most waits are over sooner, and then packing
/// would only cost time.
const PACKED_AFTER: Duration = Duration::from_secs(1);

/// Bodies of less are left as they are: they lie in their connection's first buffer, beside the
/// headers, which stays in memory anyway.
const PACKED_BYTES_MIN: usize = 8 * 1024;

/// A body that keeps more than 7 of 8 parts is left as it is: it is of pictures, or encrypted.
const WORTH_EIGHTHS: usize = 7;

/// Bodies up to this are unpacked where they are needed: in a tenth of a millisecond, which is no
/// more than handing them to another thread and back.
const UNPACKED_HERE_BYTES_MAX: usize = 128 * 1024;

/// A body in LZ4's block format: a quarter to a half of a chat's size, at some 400 MB a second. What
/// would pack closer (deflate, Zstandard) costs ten times as much time of the processor, for bodies that
/// mostly wait for seconds.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    block: Arc<[u8]>,
    whole_bytes: usize,
}

impl Packed {
    fn of(bytes: &[u8]) -> Option<Self> {
        let block = lz4_flex::block::compress(bytes);
        let worth = block.len() <= bytes.len() / 8 * WORTH_EIGHTHS;
        worth.then(|| Self {
            // A copy, which has no room to spare.
            block: block.into(),
            whole_bytes: bytes.len(),
        })
    }

    fn unpack(&self) -> Bytes {
        let Ok(bytes) = lz4_flex::block::decompress(&self.block, self.whole_bytes) else {
            unreachable!("nothing changes what was packed")
        };
        bytes.into()
    }
}

impl Held {
    pub(super) const fn new(bytes: Bytes, memory: OwnedSemaphorePermit) -> Self {
        Self {
            bytes,
            packed: None,
            memory,
        }
    }

    /// Whether its bytes have to be [unpacked](Self::unpack) before they are used.
    pub(crate) const fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// Packs the body once it has waited for a while, and gives back the memory that it needs no more.
    /// Never ends: to be dropped when the wait is over.
    pub(crate) async fn packed(&mut self, inlet: &Inlet) -> Infallible {
        tokio::time::sleep(PACKED_AFTER).await;
        if self.bytes.len() >= PACKED_BYTES_MIN && !self.is_packed() {
            // One at a time: it takes one thread at most, and the memory of one more body.
            let turn = Arc::clone(&inlet.packer).acquire_owned().await;
            let bytes = self.bytes.clone();
            let packing = tokio::task::spawn_blocking(move || {
                let packed = Packed::of(&bytes);
                drop((bytes, turn));
                packed
            });
            if let Ok(Some(packed)) = packing.await {
                self.put(packed);
            }
        }
        pending().await
    }

    fn put(&mut self, packed: Packed) {
        let needed = permits(packed.block.len() as u64) as usize;
        self.bytes = Bytes::new();
        self.packed = Some(packed);
        let spare = self.memory.num_permits().saturating_sub(needed);
        drop(self.memory.split(spare));
    }

    /// Has the body as it was read, in as much memory as it then needs. Where that is short,
    /// `make_room` is told for how many bytes.
    pub(crate) async fn unpack(
        &mut self,
        inlet: &Inlet,
        make_room: impl Fn(u64),
    ) -> Result<(), InletError> {
        let Some(packed) = self.packed.clone() else {
            return Ok(());
        };
        let held = self.memory.num_permits() as u64 * PERMIT_BYTES;
        let more = (packed.whole_bytes as u64).saturating_sub(held);
        if more > 0 {
            self.memory.merge(inlet.memory(more, &make_room).await?);
        }
        self.bytes = if packed.whole_bytes <= UNPACKED_HERE_BYTES_MAX {
            packed.unpack()
        } else {
            match tokio::task::spawn_blocking(move || packed.unpack()).await {
                Ok(bytes) => bytes,
                Err(panicked) => std::panic::resume_unwind(Box::new(panicked)),
            }
        };
        self.packed = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
