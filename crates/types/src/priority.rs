//! How much a call matters, what kind it is, how hard its task is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A word that is none of those a field can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownWord {
    /// What was written, shortened.
    pub word: String,
    /// What could have been.
    pub known: &'static [&'static str],
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is none of {}", self.word, self.known.join(", "))
    }
}

impl std::error::Error for UnknownWord {}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$inner])* $variant),+ }

        impl $name {
            /// All of them, in ascending order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// Their written forms, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The written form.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { word: text.chars().take(40).collect(), known: Self::WORDS }),
                }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// How much a call matters. Ordered: `Low < Critical`.
    Priority {
        /// May wait for hours.
        Low = "low",
        /// Somebody will look at the result today.
        Medium = "medium",
        /// Somebody is waiting.
        High = "high",
        /// Must not fail.
        Critical = "critical",
    }
}

words! {
    /// What a coding assistant says a request is for.
    RequestClass {
        /// The conversation with the user.
        Main = "main",
        /// A subagent's conversation.
        Subagent = "subagent",
        /// A scripted run of agents.
        Workflow = "workflow",
        /// Shortening a conversation that grew too long.
        Compaction = "compaction",
        /// Titles, summaries and other small work beside the conversation.
        Auxiliary = "auxiliary",
        /// An answer beside the conversation.
        SideReply = "side_reply",
        /// Not said, or a word that is not known.
        Unknown = "unknown",
    }
}

words! {
    /// How hard a task is.
    Complexity {
        /// One step.
        Simple = "simple",
        /// A few steps.
        Moderate = "moderate",
        /// Many steps.
        Complex = "complex",
        /// Needs the best there is.
        Expert = "expert",
    }
}

impl RequestClass {
    /// Position in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// What a call of this class gets when nothing says otherwise.
    pub const fn default_priority(self) -> Priority {
        match self {
            Self::Main | Self::SideReply | Self::Compaction | Self::Unknown => Priority::High,
            Self::Subagent | Self::Workflow => Priority::Medium,
            Self::Auxiliary => Priority::Low,
        }
    }
}

impl Complexity {
    /// Units of a platform's bucket that one call of such a task weighs.
    pub const fn units(self) -> u64 {
        match self {
            Self::Simple => 1,
            Self::Moderate => 2,
            Self::Complex => 5,
            Self::Expert => 10,
        }
    }
}

impl Priority {
    /// Position in tables of four, `Low` first.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Guaranteed share of a bucket's refill, in percent (T3).
    pub const fn share_percent(self) -> u64 {
        match self {
            Self::Low => 10,
            Self::Medium => 20,
            Self::High => 30,
            Self::Critical => 40,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_the_whole() {
        let sum: u64 = Priority::ALL.iter().map(|it| it.share_percent()).sum();
        assert_eq!(sum, 100);
    }

    #[test]
    fn an_unknown_word_is_named_with_the_known_ones() {
        let error = "urgent".parse::<Priority>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`urgent` is none of low, medium, high, critical"
        );
    }
}
