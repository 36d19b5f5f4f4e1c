//! The store as its users see it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test: stopping is the point"
)]

mod agrees;
mod damage;
mod limits;
mod own;
mod retention;
mod world;
