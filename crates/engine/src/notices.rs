//! What somebody is to be told: a port, and what every notice has.

use std::fmt;

use sha2::{Digest as _, Sha256};
use tidegate_observe::{
    notice::{Decides, Notice, NoticeId, Topic},
    record::Fields,
};

use crate::Engine;

/// Takes notices, keeps those that were not delivered, and delivers them. Never blocks a call.
///
/// What it has to keep is written by the engine, together with whatever says that a notice was
/// given, so that after a crash each of them was told, or is told again under the same id.
pub trait NoticeSink: Send + Sync + fmt::Debug {
    /// Takes one. May be called under locks: does not wait, but for a lock held as briefly.
    fn give(&self, notice: Notice);

    /// What has to be kept, if anything has changed since it was last [saved](Self::saved).
    fn unsaved(&self) -> Option<Unsaved>;

    /// Says that this version is kept.
    fn saved(&self, version: u64);
}

/// A value that a [`NoticeSink`] wants to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsaved {
    /// The setting it is kept under.
    pub name: &'static str,
    /// The value.
    pub value: Vec<u8>,
    /// Which version of it.
    pub version: u64,
}

/// Tells nobody.
#[derive(Clone, Copy, Debug)]
pub struct NoNotices;

impl NoticeSink for NoNotices {
    fn give(&self, _notice: Notice) {}

    fn unsaved(&self) -> Option<Unsaved> {
        None
    }

    fn saved(&self, _version: u64) {}
}

/// A notice that is about to be given.
#[derive(Debug)]
pub(crate) struct Telling<'a> {
    pub(crate) topic: Topic,
    /// Of what it is told, so that the same fact always has the same id.
    pub(crate) of: &'a [&'a str],
    pub(crate) text: String,
    pub(crate) fields: Fields,
    pub(crate) decides: Option<Decides>,
    /// The only channel that is told.
    pub(crate) to: Option<&'a str>,
}

impl Engine {
    /// Gives a notice to whoever delivers it, and has it kept.
    pub(crate) fn notify(&self, telling: Telling<'_>) {
        let Telling {
            topic,
            of,
            text,
            fields,
            decides,
            to,
        } = telling;
        self.notices.give(Notice {
            id: id(topic, of),
            at: self.clock.now(),
            topic,
            text: self.tellable(&text).into_owned(),
            fields,
            decides,
            to: to.map(str::to_owned),
        });
        self.writer.save();
    }

    /// Has what a [`NoticeSink`] did be kept soon. Never waits.
    pub fn save_notices(&self) {
        self.writer.save();
    }
}

/// A hash that nobody can aim at: parts of it are names that clients choose.
fn id(topic: Topic, of: &[&str]) -> NoticeId {
    let mut hash = Sha256::new();
    for part in std::iter::once(&topic.word()).chain(of) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let first = digest.iter().take(8);
    NoticeId::from_raw(first.fold(0, |raw, byte| raw << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_has_one_id_and_other_facts_have_others() {
        let of = |parts: &[&str]| id(Topic::LimitReached, parts);
        assert_eq!(
            of(&["task acme/ann/t", "80"]),
            of(&["task acme/ann/t", "80"])
        );
        assert_ne!(
            of(&["task acme/ann/t", "80"]),
            of(&["task acme/ann/t", "90"])
        );
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab"]), id(Topic::LimitForeseen, &["ab"]));
    }
}
