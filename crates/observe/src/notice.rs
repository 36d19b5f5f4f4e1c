//! The notice: what Tidegate tells somebody by itself, and is sure to have told.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tidegate_types::{ApprovalId, Id, IdKind, Timestamp, UnknownWord};

use crate::record::Fields;

/// Kind of [`NoticeId`].
#[derive(Debug)]
pub enum NoticeKind {}

impl IdKind for NoticeKind {
    const PREFIX: &'static str = "ntc";
}

/// Identifies one notice. The same fact has the same id whenever it is told, also after a restart,
/// so that whoever gets it twice can tell.
pub type NoticeId = Id<NoticeKind>;

macro_rules! topics {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)+) => {
        /// What a notice is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Topic { $($(#[$doc])* $name,)+ }

        impl Topic {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
            /// Their written forms, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The written form.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

topics! {
    /// Somebody has to approve before a soft limit is passed.
    ApprovalAsked = "approval_asked",
    /// Somebody has decided on such a request.
    ApprovalDecided = "approval_decided",
    /// Nobody has decided in time.
    ApprovalExpired = "approval_expired",
    /// A budget has reached 50, 80, 90 or 100 % of its limit.
    LimitReached = "limit_reached",
    /// At its present pace a budget will pass its limit before its window ends.
    LimitForeseen = "limit_foreseen",
    /// A call or a task cost far more than was expected.
    Overspent = "overspent",
    /// A request for leave that waited is decided. Told to whom the request named, and to nobody else.
    AdmissionDecided = "admission_decided",
    /// Somebody wants to know whether notices arrive.
    Test = "test",
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Topic {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.iter().find(|it| it.word() == text);
        known.copied().ok_or_else(|| UnknownWord {
            word: text.chars().take(40).collect(),
            known: Self::WORDS,
        })
    }
}

/// One notice. Holds no secret and no text of a prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Which.
    pub id: NoticeId,
    /// When it became true.
    pub at: Timestamp,
    /// What it is about.
    pub topic: Topic,
    /// The whole of it in a sentence or two, for people.
    pub text: String,
    /// The values, for programs. Their names differ from those of the fields here.
    pub fields: Fields,
    /// The request that its reader may decide on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decides: Option<Decides>,
    /// The only channel that is told, whatever it is told of otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// A request for approval that a notice asks its reader to decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decides {
    /// Which.
    pub approval: ApprovalId,
    /// Until when it is open.
    pub until: Timestamp,
}

#[cfg(test)]
mod tests;
