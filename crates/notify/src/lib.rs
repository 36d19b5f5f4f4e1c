//! What Tidegate tells by itself, delivered: webhooks for programs and for people's channels.
//!
//! The engine hands notices to a [`Courier`] and goes on. They stand in an [outbox], which
//! the engine's writer keeps, until their channel has taken them, or has not for a day.

pub mod channel;
mod courier;
mod form;
pub mod outbox;
mod post;
pub mod signature;

pub use channel::{Channel, Format, Target, TargetError};
pub use courier::{ChannelState, Courier, Tested, Untested};
