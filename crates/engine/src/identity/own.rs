//! The credentials that callers bring of their own, told by their form.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use tidegate_ledger::keys::is_ours;
use tidegate_providers::accounting::Family;

/// The kind of the caller's own credential, which selects the platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credential {
    /// None but perhaps a key of ours.
    #[default]
    None,
    /// A claude.ai login.
    Subscription,
    /// An API key of this family, by its form.
    KeyOf(Family),
    /// Any other key or token.
    Key,
    /// Several, of which one could pay for what another is taken for: which of them pays is the
    /// provider's choice.
    Mixed,
}

/// What credentials begin with whose owner can be told by that.
const FORMS: [(&str, Credential); 5] = [
    ("sk-ant-oat", Credential::Subscription),
    ("sk-ant-", Credential::KeyOf(Family::Anthropic)),
    ("sk-proj-", Credential::KeyOf(Family::OpenAi)),
    ("sk-svcacct-", Credential::KeyOf(Family::OpenAi)),
    ("sk-admin-", Credential::KeyOf(Family::OpenAi)),
];

impl Credential {
    /// The kind of a credential that is not ours, where it has a form that says it.
    fn known(secret: &[u8]) -> Option<Self> {
        let known = FORMS
            .iter()
            .find(|(form, _)| secret.starts_with(form.as_bytes()));
        known.map(|(_, kind)| *kind)
    }

    /// The kind of a credential that is not ours.
    pub fn of(secret: &str) -> Self {
        Self::known(secret.as_bytes()).unwrap_or(Self::Key)
    }

    /// Whether it is good for a provider of this family, and pays there as its platform says: a
    /// login for its subscription and nothing else, and nothing else for that.
    pub fn pays(self, family: Family, subscription: bool) -> bool {
        match self {
            Self::None | Self::Mixed => false,
            Self::Subscription => subscription && family == Family::Anthropic,
            Self::KeyOf(own) => !subscription && family == own,
            Self::Key => !subscription,
        }
    }

    /// The kind of both together: they go upstream together.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, it)
            | (it, Self::None)
            | (Self::Key, it @ Self::KeyOf(_))
            | (it @ Self::KeyOf(_), Self::Key) => it,
            (one, another) if one == another => one,
            _ => Self::Mixed,
        }
    }
}

/// Credentials are told apart by a number, the same in every run.
const MARKS: FixedState = FixedState::with_seed(11);

/// All credentials of its own that a request carries, in whichever header and line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// What all of them are together.
    pub(super) kind: Credential,
    /// Tells them from others. Too short to tell a credential by it.
    pub(super) mark: u32,
}

impl Own {
    /// Those of these header values.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut own = Self::default();
        for value in values {
            own.show(value.as_bytes());
        }
        own
    }

    /// Takes in the value of one more header by which callers show who they are, with its scheme if
    /// it has one. One with a secret of ours is none of their own.
    pub fn show(&mut self, value: &[u8]) {
        let words = || {
            let words = value.split(|it| it.is_ascii_whitespace() || *it == b',');
            words.filter(|it| !it.is_empty())
        };
        if words().next().is_none() || words().any(is_ours) {
            return;
        }
        let kind = words().find_map(Credential::known);
        self.kind = self.kind.with(kind.unwrap_or(Credential::Key));
        let [a, b, c, d, ..] = MARKS.hash_one(value).to_le_bytes();
        self.mark = self.mark.wrapping_add(u32::from_le_bytes([a, b, c, d]));
    }
}
