//! Leases: how much of a limit may be committed before its durable owner has heard of it.
//!
//! A reservation is sent as soon as it is in the journal, which a killed process survives and a
//! power cut does not. What a power cut could take is bounded: on each level no more than the
//! node's lease is held by calls that are not durable yet, and the lease itself is durable.

use serde::{Deserialize, Serialize};
use tidegate_types::{NanoUsd, Timestamp};

use crate::{Balance, LevelKey};

/// A lease is at most this part of its limit, or one call.
pub const SHARE_DIVISOR: u64 = 100;

/// A share of a limit that one node may commit on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Of which level.
    pub level: LevelKey,
    /// Who has it: a node, and the start of the machine it runs on.
    pub holder: String,
    /// How much may be committed and not yet durable.
    pub granted: NanoUsd,
    /// How much is.
    pub used: NanoUsd,
    /// After this it counts for nothing, whatever the holder thinks.
    pub expires: Timestamp,
}

/// Whether a lease covers one more call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// It does, and the bound is now in use.
    Covered,
    /// Make what is committed durable, or have the lease enlarged to this; nothing changed.
    NeedsGrant {
        /// What the lease would have to be.
        amount: NanoUsd,
    },
}

impl Lease {
    /// Takes `bound` from what is granted and unused. An expired lease covers nothing but zero.
    #[must_use]
    pub fn cover(&mut self, bound: NanoUsd, now: Timestamp) -> Cover {
        let used = self.used.saturating_add(bound);
        if bound.is_zero() || (used <= self.granted && now < self.expires) {
            self.used = used;
            return Cover::Covered;
        }
        Cover::NeedsGrant { amount: used }
    }

    /// So much of what was in use is durable now, or was released, and can be used again.
    pub fn give_back(&mut self, amount: NanoUsd) {
        self.used = self.used.saturating_sub(amount);
    }

    /// What counts against the limit beside what is settled and held: all of it, since its owner
    /// cannot know how much is used. Nothing once it is expired.
    pub fn outstanding(&self, now: Timestamp) -> NanoUsd {
        if now < self.expires {
            self.granted
        } else {
            NanoUsd::ZERO
        }
    }
}

/// The largest lease on a limit for a node whose next call has this bound: one hundredth of the
/// limit, rounded down, or the call.
#[must_use]
pub fn share(limit: NanoUsd, bound: NanoUsd) -> NanoUsd {
    NanoUsd(limit.0 / SHARE_DIVISOR).max(bound)
}

/// What a node asks a limit's owner for. It replaces the lease that the holder has on the level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseAsk {
    /// On which level.
    pub level: LevelKey,
    /// Who.
    pub holder: String,
    /// The limit in force; `None` where there is none.
    pub limit: Option<NanoUsd>,
    /// How much.
    pub amount: NanoUsd,
    /// Until when.
    pub expires: Timestamp,
}

/// The owner's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The lease as it now is, with nothing used.
    Granted(Lease),
    /// Refused, and nothing changed.
    Short {
        /// What could have been granted.
        left: NanoUsd,
    },
}

/// Decides on a lease. Invariant: all outstanding leases, what is settled and what is held are
/// together within the limit, after every grant.
#[must_use]
pub fn grant(ask: LeaseAsk, balance: Balance, leases: &[Lease], now: Timestamp) -> Grant {
    let others = leases
        .iter()
        .filter(|it| it.level == ask.level && it.holder != ask.holder)
        .map(|it| it.outstanding(now));
    let taken = others
        .sum::<NanoUsd>()
        .saturating_add(balance.spent)
        .saturating_add(balance.held);
    let left = ask.limit.map(|it| it.saturating_sub(taken));
    if let Some(left) = left.filter(|it| ask.amount > *it) {
        return Grant::Short { left };
    }
    Grant::Granted(Lease {
        level: ask.level,
        holder: ask.holder,
        granted: ask.amount,
        used: NanoUsd::ZERO,
        expires: ask.expires,
    })
}

#[cfg(test)]
mod tests;
