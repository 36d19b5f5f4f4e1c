//! What a pool decided, and what it says about it.

use std::{fmt, time::Duration};

use tidegate_types::{Caller, Priority};

use crate::{BUCKETS_MAX, Need, UserSlot};

/// Notes of one check at most: one per bucket, one for the user's penalty, one for the class's.
pub const NOTES_MAX: usize = BUCKETS_MAX + 2;

/// Which bucket of its pool. Stays the same through reconfiguration, for as long as the bucket is
/// configured; [`crate::Pool::bucket`] tells what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketIndex(pub(crate) u8);

impl BucketIndex {
    /// Position in tables of [`BUCKETS_MAX`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How long until the same call fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Exactly this, from the `now` that was given: a nanosecond earlier it does not fit, then it
    /// does, if meanwhile nobody else spends, settles or starts to wait. More than 584 years are
    /// given as 584.
    For(Duration),
    /// Until a call in flight ends, which no clock knows; the other buckets need this long.
    Freed {
        /// Not before this. Where it is no bucket that is waited for: when to ask again.
        at_least: Duration,
    },
}

impl Wait {
    /// The least that must pass. Exact unless it ends with another call.
    pub const fn at_least(self) -> Duration {
        match self {
            Self::For(wait) | Self::Freed { at_least: wait } => wait,
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(wait) => write!(f, "{wait:?}"),
            Self::Freed {
                at_least: Duration::ZERO,
            } => f.write_str("until a call ends"),
            Self::Freed { at_least } => write!(f, "until a call ends, at least {at_least:?}"),
        }
    }
}

/// Who is held to half speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The user of the call.
    User,
    /// The class of the call.
    Class(Priority),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("this user"),
            Self::Class(class) => write!(f, "priority {class}"),
        }
    }
}

/// Why a call has to wait. Its text is a sentence without the bucket's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Less is left than the call needs.
    Spent,
    /// The call is larger than the bucket, and starts only when the bucket is full.
    Oversize,
    /// What is left is the stock kept for higher priorities; below the threshold, `low` and
    /// `medium` spend only what their share of the refill has earned.
    Threshold,
    /// What is left has been earned by other classes, which are waiting for it.
    Earned,
    /// As many calls are in flight as may be.
    Busy,
    /// The user or the class took more than twice its fair share while others waited.
    Penalty(Subject),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spent => f.write_str("less is left than this call needs"),
            Self::Oversize => f.write_str("this call is so large that it needs a full bucket"),
            Self::Threshold => f.write_str(
                "below the threshold this priority spends only what its share of the refill earns",
            ),
            Self::Earned => f.write_str("what is left was earned by other priorities that wait"),
            Self::Busy => f.write_str("as many calls are in flight as may be"),
            Self::Penalty(subject) => write!(
                f,
                "{subject} took more than twice its fair share while others waited, and refills at half speed"
            ),
        }
    }
}

/// Something a check found that did not hold the call back, but belongs into its `reasons`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A watched limit would have made it wait.
    WouldWait {
        /// Which limit.
        bucket: BucketIndex,
        /// How long, if nobody else spent.
        wait: Wait,
        /// Why.
        reason: Reason,
    },
    /// A watched limit would have refused it for good.
    WouldRefuse {
        /// Which limit.
        bucket: BucketIndex,
    },
    /// It spends what `critical` may overdraw, which has to be paid back before the next time.
    Overdraft {
        /// Which bucket goes below zero.
        bucket: BucketIndex,
    },
    /// It passed, but whoever sent it is held to half speed for this much longer.
    Penalised {
        /// The user or its class.
        subject: Subject,
        /// Until the excess is paid.
        left: Duration,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldWait { wait, reason, .. } => {
                write!(f, "would wait {wait}: {reason}")
            }
            Self::WouldRefuse { .. } => {
                f.write_str("would be refused: this call is larger than the limit itself")
            }
            Self::Overdraft { .. } => {
                f.write_str("critical overdraws the bucket, and pays it back before it may again")
            }
            Self::Penalised { subject, left } => write!(
                f,
                "{subject} took more than twice its fair share while others waited, and refills at half speed for {left:?} more"
            ),
        }
    }
}

/// What a pool says to a call. Nothing has been taken yet.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Check {
    /// It fits every bucket now: commit it, under the same hold of the lock.
    Clear(Cleared),
    /// It doesn't fit now.
    Deferred {
        /// For how long.
        wait: Wait,
        /// The bucket that takes longest.
        bucket: BucketIndex,
        /// Why it has to.
        reason: Reason,
    },
    /// No wait can help: it is larger than a hard limit.
    NeverFits {
        /// Which limit.
        bucket: BucketIndex,
    },
}

/// Check and commit in one, as [`crate::Pool::take`] answers.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
#[expect(
    clippy::large_enum_variant,
    reason = "boxing would allocate on the path that must not"
)]
pub enum Admission {
    /// Taken from every bucket; the call may start.
    Granted(Taken),
    /// As [`Check::Deferred`].
    Deferred {
        /// For how long.
        wait: Wait,
        /// The bucket that takes longest.
        bucket: BucketIndex,
        /// Why it has to.
        reason: Reason,
    },
    /// As [`Check::NeverFits`].
    NeverFits {
        /// Which limit.
        bucket: BucketIndex,
    },
}

/// Leave to take, from the last check of this pool. Worth nothing after the next one.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "nothing is taken until it is committed"]
pub struct Cleared {
    pub(crate) sequence: u64,
    pub(crate) need: Need,
    pub(crate) priority: Priority,
    pub(crate) user: UserSlot,
    pub(crate) caller: Caller,
    pub(crate) queues: bool,
    /// It takes of what nobody has earned, and leaves its class what that has.
    pub(crate) lent: bool,
    /// Every bucket has it plainly: neither time nor another class has a part in what it takes.
    pub(crate) plain: bool,
    /// At most [`NOTES_MAX`]; nothing is allocated where there are none.
    pub(crate) notes: Vec<Note>,
}

impl Cleared {
    /// What the check found without holding the call back; for `reasons`, headers and records.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The same, taken out of it.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}

/// What one call holds of a pool, until it is settled or released: exactly once, since neither
/// can be done with a copy. One that is dropped instead keeps its concurrency slot for ever and
/// its tokens as spent: count that as a defect.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "settle or release it"]
pub struct Taken {
    pub(crate) sequence: u64,
    /// When it was last topped up.
    pub(crate) topped_up: u64,
    pub(crate) priority: Priority,
    pub(crate) user: UserSlot,
    pub(crate) caller: Caller,
    pub(crate) queues: bool,
    pub(crate) flow_nanos: u64,
    pub(crate) charges: [Charge; BUCKETS_MAX],
}

impl Taken {
    /// Of no bucket anything yet.
    #[inline]
    pub(crate) const fn nothing(of: &Cleared) -> Self {
        Self {
            sequence: of.sequence,
            topped_up: of.sequence,
            priority: of.priority,
            user: of.user,
            caller: of.caller,
            queues: of.queues,
            flow_nanos: 0,
            charges: [Charge::NOTHING; BUCKETS_MAX],
        }
    }
}

/// What was taken of one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    /// In the bucket's resource. Less than the need where a watched bucket is at its floor.
    pub tokens: u64,
    /// How many of them came from what the class had earned.
    pub earned: u64,
    /// How many of them can still be given back: the others would have overflowed by the last
    /// top-up.
    pub refundable: u64,
}

impl Charge {
    pub(crate) const NOTHING: Self = Self {
        tokens: 0,
        earned: 0,
        refundable: 0,
    };
}
