//! The systems that are compared.

use std::sync::Arc;

use super::Configured;

/// What stands between clients and the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SystemKind {
    /// Nothing, and no limits: what the day would be if nobody ever waited.
    Unlimited,
    /// (a) Nothing; the client's SDK retries twice.
    Retry2,
    /// (b) Nothing; the client retries ten times, as Claude Code does.
    Retry10,
    /// (c) A queue in the order of arrival, before a bucket that counts all input.
    FifoFull,
    /// (d) The same, with a bucket that knows what the prompt cache holds.
    FifoCacheAware,
    /// (g) Tidegate.
    Tidegate,
    /// (h) Who knows everything: the bound for all others.
    Clairvoyant,
    /// (i) The smallest first, `critical` before it, with four pings for each idle prefix.
    Shortest,
}

impl SystemKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Unlimited,
        Self::Retry2,
        Self::Retry10,
        Self::FifoFull,
        Self::FifoCacheAware,
        Self::Tidegate,
        Self::Clairvoyant,
        Self::Shortest,
    ];

    /// The written form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unlimited => "unlimited",
            Self::Retry2 => "retry-2",
            Self::Retry10 => "retry-10",
            Self::FifoFull => "fifo-full",
            Self::FifoCacheAware => "fifo",
            Self::Tidegate => "tidegate",
            Self::Clairvoyant => "clairvoyant",
            Self::Shortest => "shortest",
        }
    }

    /// Retries of the client where it is told 429.
    pub(super) const fn retries(self) -> u32 {
        match self {
            Self::Retry2 => 2,
            _ => 10,
        }
    }
}

/// A system as it is compared: what it is, and what it is called.
#[derive(Clone, Debug)]
pub struct Contender {
    name: Arc<str>,
    kind: SystemKind,
    under: Option<Arc<Configured>>,
}

impl Contender {
    /// Tidegate under a configuration of its own.
    pub fn configured(name: &str, configured: Configured) -> Self {
        Self {
            name: name.into(),
            kind: SystemKind::Tidegate,
            under: Some(Arc::new(configured)),
        }
    }

    /// What it is called in tables.
    pub fn word(&self) -> &str {
        &self.name
    }

    /// What it is.
    pub const fn kind(&self) -> SystemKind {
        self.kind
    }

    /// The configuration it is under, if it is another than the judge's own.
    pub fn under(&self) -> Option<&Configured> {
        self.under.as_deref()
    }
}

impl From<SystemKind> for Contender {
    fn from(kind: SystemKind) -> Self {
        Self {
            name: kind.word().into(),
            kind,
            under: None,
        }
    }
}

impl PartialEq for Contender {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
