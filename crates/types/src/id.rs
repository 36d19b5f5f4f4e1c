//! Identifiers that cannot be passed where another kind is wanted.

use std::{
    fmt,
    marker::PhantomData,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Timestamp;

/// Marks what an [`Id`] identifies.
pub trait IdKind {
    /// The prefix of the printed form, e.g. `resv` in `resv_19aa0c7f3d2e0001`.
    const PREFIX: &'static str;
}

/// An identifier of one kind, printed as its prefix and 16 hexadecimal digits.
pub struct Id<K>(u64, PhantomData<fn() -> K>);

impl<K> Id<K> {
    /// Wraps a raw value that an [`IdSource`] or a store allocated.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw, PhantomData)
    }

    /// The raw value, for stores.
    pub const fn raw(self) -> u64 {
        self.0
    }
}

/// Room for the longest written form.
const WRITTEN_MAX: usize = 24;

impl<K: IdKind> Id<K> {
    /// The written form, in `room`. Ids stand in every row and record that is written, and the
    /// formatting machinery costs several times what the digits do.
    fn written(self, room: &mut [u8; WRITTEN_MAX]) -> &str {
        const { assert!(K::PREFIX.len() + 17 <= WRITTEN_MAX, "a short prefix") };
        let digits = K::PREFIX.len() + 1;
        room[..digits - 1].copy_from_slice(K::PREFIX.as_bytes());
        room[digits - 1] = b'_';
        for (place, digit) in room[digits..digits + 16].iter_mut().enumerate() {
            let nibble = (self.0 >> (60 - 4 * place)) & 0xf;
            *digit = b"0123456789abcdef"[nibble as usize];
        }
        std::str::from_utf8(&room[..digits + 16]).unwrap_or_default()
    }
}

// By hand: `derive` would demand `K: Copy + Eq + ...`, and kinds are empty enums.
impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> std::hash::Hash for Id<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<K: IdKind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.written(&mut [0; WRITTEN_MAX]))
    }
}
impl<K: IdKind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an identifier of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseIdError {
    text: String,
    prefix: &'static str,
}

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, prefix } = self;
        write!(
            f,
            "`{text}` is not an id of the form {prefix}_ and 16 hexadecimal digits"
        )
    }
}

impl std::error::Error for ParseIdError {}

impl<K: IdKind> FromStr for Id<K> {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digits = text
            .strip_prefix(K::PREFIX)
            .and_then(|it| it.strip_prefix('_'))
            .filter(|it| it.len() == 16 && it.bytes().all(|it| it.is_ascii_hexdigit()));
        let raw = digits.and_then(|it| u64::from_str_radix(it, 16).ok());
        raw.map(Self::from_raw).ok_or_else(|| ParseIdError {
            text: text.chars().take(40).collect(),
            prefix: K::PREFIX,
        })
    }
}

impl<K: IdKind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.written(&mut [0; WRITTEN_MAX]))
    }
}

impl<'de, K: IdKind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Allocates raw ids that rise with time and are never given twice, also across restarts.
///
/// The upper 44 bits are milliseconds since the epoch (until the year 2527), the lower 20 a count:
/// a million ids in one millisecond run ahead of the clock instead of repeating.
#[derive(Debug, Default)]
pub struct IdSource(AtomicU64);

impl IdSource {
    /// A source that has given nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A source whose ids are larger than this raw one, whatever the clock says.
    #[must_use]
    pub const fn after(raw: u64) -> Self {
        Self(AtomicU64::new(raw))
    }

    /// The raw id that was given last, or that the source began after: every later one is larger.
    pub fn last(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The smallest raw id that is given at a time.
    pub const fn first_at(now: Timestamp) -> u64 {
        (now.0 / 1_000_000) << 20
    }

    /// When a raw id was given, to the millisecond; later where a million were given before it in one.
    pub const fn time_of(raw: u64) -> Timestamp {
        Timestamp((raw >> 20) * 1_000_000)
    }

    /// The next id. Larger than every earlier one, and than any id of an earlier `now`.
    pub fn next<K>(&self, now: Timestamp) -> Id<K> {
        let at_least = Self::first_at(now);
        let mut given = at_least;
        // `update` cannot fail: the closure always answers.
        let _before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                given = at_least.max(last.saturating_add(1));
                Some(given)
            });
        Id::from_raw(given)
    }

    /// The first of so many ids that follow each other and every earlier one, whatever the time is.
    pub fn run<K>(&self, many: u64) -> Id<K> {
        let before = self.0.fetch_add(many, Ordering::Relaxed);
        Id::from_raw(before.saturating_add(1))
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $id:ident = $prefix:literal;)+) => {
        $(
            #[doc = concat!("Kind of [`", stringify!($id), "`].")]
            #[derive(Debug)]
            pub enum $kind {}
            impl IdKind for $kind {
                const PREFIX: &'static str = $prefix;
            }
            $(#[$doc])*
            pub type $id = Id<$kind>;
        )+
    };
}

kinds! {
    /// Identifies one LLM request or admission, in every record of it.
    CallKind, CallId = "call";
    /// Identifies a key, not its secret.
    KeyKind, KeyId = "key";
    /// Identifies one hold on quota and budget, from check to settlement.
    ReservationKind, ReservationId = "resv";
    /// Identifies one request for leave that waits.
    AdmissionKind, AdmissionId = "adm";
    /// Identifies one request for approval.
    ApprovalKind, ApprovalId = "appr";
    /// Identifies one task, also among those of the same name.
    TaskKind, TaskId = "task";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_ids_follows_all_that_were_given_and_is_followed_by_all_that_are() {
        let source = IdSource::after(7);
        assert_eq!(source.run::<CallKind>(3).raw(), 8);
        assert_eq!(source.run::<CallKind>(1).raw(), 11);
        let later = source.next::<CallKind>(Timestamp(0)).raw();
        assert_eq!((later, source.last()), (12, 12));
    }

    #[test]
    fn ids_rise_and_never_repeat_when_the_clock_steps_back() {
        let source = IdSource::new();
        let at = |ms: u64| source.next::<CallKind>(Timestamp(ms * 1_000_000));
        let ids = [at(5), at(5), at(3), at(6)];
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    }

    #[test]
    fn a_source_goes_on_behind_what_an_earlier_run_gave() {
        let last = IdSource::new().next::<CallKind>(Timestamp(9_000_000));
        let source = IdSource::after(last.raw());
        assert_eq!(source.last(), last.raw());
        assert!(source.next::<CallKind>(Timestamp(3_000_000)) > last);
        assert_eq!(source.last(), last.raw() + 1);
        assert!(source.next::<CallKind>(Timestamp(10_000_000)).raw() == 10 << 20);
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let id = ReservationId::from_raw(7);
        assert_eq!(id.to_string(), "resv_0000000000000007");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().parse::<CallId>().is_err());
        assert!("resv_7".parse::<ReservationId>().is_err());
    }
}
