//! Wire formats of the providers: bytes to events and back; usage, limits, prices.
//!
//! Pure functions and state machines over bytes: no sockets, no clocks, no tasks.

pub mod accounting;
pub mod error;
pub mod limits;
pub mod meter;
pub mod prices;
pub mod refusal;
pub mod relay;
pub mod request;

mod decimal;
mod dialect;
mod json;
mod sse;

pub use dialect::Dialect;
pub use error::{ErrorKind, ErrorSignal, error_signal};
pub use meter::{Meter, Metered};
pub use refusal::{Answer, Period, Refusal, refuse};
pub use relay::{RelayOut, StreamRelay, stream_error};
pub use request::{
    CacheWrite, OutputCap, RequestError, RequestFacts, Rewrite, question, rewrite, scan,
};
