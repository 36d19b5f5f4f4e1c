//! What reaches the crate from outside, broken in every way.

mod fuzz;
