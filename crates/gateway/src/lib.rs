//! Bytes in, bytes out: the data plane.
//!
//! A call passes [`Gateway`]'s phases in order, each of which may end it with a refusal in its own
//! dialect; what is sent upstream is the caller's bytes but for what is named in a response header.

mod altered;
mod attempt;
mod claude_code;
mod continuation;
mod dialect;
mod flying;
mod gateway;
mod headers;
mod hear;
mod hold;
pub mod inlet;
mod opened;
pub mod patience;
mod quota;
mod relay;
pub mod reply;
pub mod server;
pub mod upstream;
mod waiting;
mod whole;

pub use gateway::{Elsewhere, Gateway, Provider, Providers};
pub use opened::Opened;
pub use relay::Relay;
