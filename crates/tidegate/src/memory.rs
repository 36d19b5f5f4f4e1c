//! The allocator, and what keeps the process small.

use std::hint::black_box;

/// Gives memory back after a burst, which the system's allocator doesn't.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// So large a piece is none of a thread's own pages.
const PIECE: usize = 4 << 20;

/// From here on takes no huge pages. One of 2 MiB is held for as long as one byte of it is used, and
/// cleared as a whole when it is first touched: a gateway whose calls come and go pays a third of its
/// memory for them.
pub(crate) fn without_huge_pages() {
    // Where a system doesn't know how, the process is only larger.
    #[cfg(target_os = "linux")]
    let _larger = rustix::thread::disable_transparent_huge_pages(true);
}

/// Gives back what was freed more than a second ago. The allocator does that by itself when a large piece
/// is freed; in a gateway that nobody calls, none is, and what sealing a part took would be held for hours.
pub(crate) fn give_back() {
    drop(black_box(Vec::<u8>::with_capacity(PIECE)));
}
