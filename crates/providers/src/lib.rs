//! Wire formats of the providers: bytes to events and back; usage, limits, prices.

pub mod accounting;
mod decimal;
pub mod limits;
pub mod prices;
