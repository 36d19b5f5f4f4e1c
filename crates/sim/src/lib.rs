//! A fake world with a seed: emulated providers and replayed traffic.
//!
//! [`world`] has the rules of an emulated provider, pure and under any clock; [`serve`] and
//! [`EmulatedProvider`] put them behind HTTP; [`trace`] reads recorded sessions and builds the requests that
//! replay them. What a prompt or header can ask of the emulator is in [`directive`].

mod answer;
mod ask;
pub mod directive;
pub mod fault;
mod http;
pub mod limits;
pub mod replay;
mod rng;
pub mod spec;
pub mod trace;
mod wire_log;
pub mod world;

pub use self::http::{EmulatedProvider, serve};
pub use fault::{Fault, FaultKind, ParseFaultError};
pub use rng::Seeded;
pub use spec::{ProviderSpec, SpecError};
pub use wire_log::{WireRecord, body_fingerprint};
