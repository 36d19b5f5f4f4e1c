//! The judge: real traffic played against an emulated provider, through one system or another, under a
//! clock that costs no time.
//!
//! A [`Plan`] says who asks for what and when, as far as that does not depend on how it is served: clients
//! are closed loops, and go on when they were answered. [`run()`] plays it: the provider is
//! [`World`](crate::world::World), the same rules that the HTTP emulator has; the system between is one of
//! [`SystemKind`]. What happened is a transcript, the same for the same seed to the last byte, and a
//! [`Played`], which [`measure()`] turns into figures.
//!
//! **Nobody sees the future.** What a system may know of a call is [`Announced`]: its bytes, and what headers
//! say. The plan itself is out of its reach; only the clairvoyant bound is built from it.
//!
//! An emulator is not the provider. All systems meet the same one.

mod baselines;
mod clairvoyant;
mod clock;
mod configured;
mod fleet;
mod governed;
pub mod grid;
pub mod measure;
mod plan;
mod recorded;
mod run;
pub mod stats;
mod system;
mod transcript;

pub use configured::Configured;
pub use fleet::{Arrivals, Fleet, FleetError};
pub use governed::GovernedError;
pub use measure::{Measured, measure};
pub use plan::{Call, CallId, Plan, Task};
pub use run::{Played, PlayedCall, run};
pub use system::{Contender, SystemKind};
pub use transcript::Transcript;

use std::{sync::Arc, time::Duration};

use tidegate_types::{Priority, Timestamp, Usage};

use crate::world::Headers;

/// When every day begins: a Monday, midnight UTC.
pub const DAY_BEGINS: Timestamp = Timestamp::from_seconds(1_767_571_200);

/// What a client says of a call when it sends it: all that a system may know of it before it is answered.
#[derive(Clone, Debug)]
pub struct Announced {
    /// Which call it is, for whoever carries it. Says nothing of what follows.
    pub id: CallId,
    /// The user.
    pub tenant: u16,
    /// What its user says it matters.
    pub priority: Priority,
    /// The model.
    pub model: Arc<str>,
    /// The subagent that asks, if it is one.
    pub agent: Option<Arc<str>>,
    /// Bytes of its body.
    pub bytes: u64,
    /// The output cap that Claude Code sends with every call.
    pub max_tokens: u64,
    /// Whether the answer is to be streamed.
    pub streamed: bool,
    /// Whether it hands back what a tool gave, and so goes on with a turn.
    pub goes_on: bool,
}

/// The head of an answer that has begun.
#[derive(Debug)]
pub struct Head<'a> {
    /// Its limit headers.
    pub headers: &'a Headers,
    /// The input that its first event tells.
    pub input: Usage,
}

/// Why the provider did not take a call.
#[derive(Debug)]
pub struct Limited {
    /// What `retry-after` says.
    pub retry_after: Duration,
    /// Its limit headers.
    pub headers: Headers,
}

/// A system between the clients and the provider.
pub(crate) trait System {
    /// A client sends a call, for the first time or again.
    fn asked(&mut self, call: &Announced, host: &mut run::Host<'_>);
    /// The provider begins to answer a call that was sent.
    fn begun(&mut self, call: &Announced, head: &Head<'_>, host: &mut run::Host<'_>);
    /// An answer is whole.
    fn ended(&mut self, call: &Announced, usage: &Usage, host: &mut run::Host<'_>);
    /// A time that was asked for has come.
    fn woke(&mut self, host: &mut run::Host<'_>);
    /// A time that was asked for for a call has come.
    fn timed(&mut self, _call: &Announced, _host: &mut run::Host<'_>) {}
}

#[cfg(test)]
mod tests;
