//! The allocator, and what keeps the process small.

/// Gives memory back after a burst, which the system's allocator doesn't. It is set up in
/// `.cargo/config.toml`, which it is built with.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// From here on takes no huge pages. One of 2 MiB is held for as long as one byte of it is used, and
/// cleared as a whole when it is first touched: a gateway whose calls come and go pays a third of its
/// memory for them.
pub(crate) fn without_huge_pages() {
    // Where a system doesn't know how, the process is only larger.
    #[cfg(target_os = "linux")]
    let _larger = rustix::thread::disable_transparent_huge_pages(true);
}
