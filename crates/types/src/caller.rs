//! Who asks, and whether a limit binds them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::priority::{UnknownWord, words};

words! {
    /// What a limit does to a call that would pass it.
    Mode {
        /// Computed, charged, shown and recorded; nothing is refused, delayed or altered.
        Watch = "watch",
        /// Refused, or made to wait.
        Enforce = "enforce",
    }
}

words! {
    /// What a key may do. Ordered: each role may do all that the earlier ones may, but for
    /// `Viewer`, which may not call.
    Role {
        /// Sends calls and admissions for its own user, and sees its own.
        Caller = "caller",
        /// Sees everything, changes nothing, sends nothing.
        Viewer = "viewer",
        /// Decides on approvals.
        Approver = "approver",
        /// Changes limits, reloads, settles what is unknown.
        Operator = "operator",
        /// Also makes and revokes keys.
        Admin = "admin",
    }
}

/// How a call reached us, as far as the mode of built-in limits depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A gateway call of the local user that carries no Tidegate key: built-in limits watch.
    Keyless,
    /// A call with a Tidegate key, an admission request, or the library: they asked, so built-in
    /// limits are enforced.
    Asking,
}

/// Whether a limit was named by someone, and with which mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Enforcement {
    /// A default nobody named: binds those who ask, and only watches those who don't.
    BuiltIn,
    /// Named by a configuration file, an API call or a command line.
    Named(Mode),
}

impl Enforcement {
    /// What the limit does to this caller.
    pub const fn mode(self, caller: Caller) -> Mode {
        match (self, caller) {
            (Self::Named(mode), _) => mode,
            (Self::BuiltIn, Caller::Keyless) => Mode::Watch,
            (Self::BuiltIn, Caller::Asking) => Mode::Enforce,
        }
    }
}
