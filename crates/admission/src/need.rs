//! What a call would take, and who asks for it.

use tidegate_types::{Caller, Priority};

use crate::{Resource, UserSlot};

/// What one call takes of each resource. Zero means that it takes none, and that no bucket of that
/// resource can hold it back.
///
/// Concurrency has no field: every call takes exactly one slot, from check to settlement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Abstract units of the platform.
    pub units: u64,
    /// Requests: 1 for an ordinary call.
    pub requests: u64,
    /// Input tokens as the provider counts them towards its input limit.
    pub input_tokens: u64,
    /// Output tokens as the provider counts them towards its output limit.
    pub output_tokens: u64,
    /// Input and output tokens together, for limits on their sum.
    pub tokens: u64,
    /// Money, in billionths of a dollar.
    pub nano_usd: u64,
}

impl Need {
    /// How much of `resource` this is; one for [`Resource::Concurrency`].
    pub const fn of(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Units => self.units,
            Resource::Requests => self.requests,
            Resource::InputTokens => self.input_tokens,
            Resource::OutputTokens => self.output_tokens,
            Resource::Tokens => self.tokens,
            Resource::NanoUsd => self.nano_usd,
            Resource::Concurrency => 1,
        }
    }

    /// The same for all of them, by [`Resource::place`]; nothing in the [last](Resource::NOWHERE).
    #[inline]
    pub(crate) const fn by_place(&self) -> [u64; Resource::PLACES] {
        [
            self.units,
            self.requests,
            self.input_tokens,
            self.output_tokens,
            self.tokens,
            self.nano_usd,
            1,
            0,
        ]
    }
}

/// One call that wants to start.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// What it takes, by estimate.
    pub need: Need,
    /// Its class: which share of the flow it draws on.
    pub priority: Priority,
    /// Its user, from [`crate::Pool::user`]; [`UserSlot::NONE`] where there is none to tell apart.
    pub user: UserSlot,
    /// Whether limits nobody named bind it.
    pub caller: Caller,
    /// Where it doesn't fit it waits in a [`crate::Queue`], which serves everybody fairly: it earns nobody
    /// a penalty, its own user and class included.
    pub queues: bool,
}
