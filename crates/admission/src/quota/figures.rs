//! Which quotas there are, and how far each goes, for whom.

use std::{collections::BTreeMap, fmt, num::NonZeroU64, time::Duration};

use tidegate_types::Enforcement;

/// What a quota counts (Q1 to Q4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaKind {
    /// Root tasks begun in a minute: a continuous rate, a minute of which may begin at once.
    TaskRate,
    /// Calls to language models in a minute, in the same way. Each try on another platform is a call.
    CallRate,
    /// Tool invocations in a minute, in the same way.
    ToolRate,
    /// Root tasks at the same time.
    TasksAtOnce,
    /// Calls to language models at the same time.
    CallsAtOnce,
    /// Root tasks begun in a calendar day.
    TasksPerDay,
    /// Quota tokens in a calendar month: input that no cache served, and output.
    TokensPerMonth,
    /// Seconds that a task spends in calls and tools.
    TaskTime,
    /// Tokens of input that one call may have.
    Context,
    /// Bytes of text that one answer may have.
    Output,
}

impl QuotaKind {
    /// All of them, in the order of their check.
    pub const ALL: [Self; QUOTA_KINDS] = [
        Self::TaskRate,
        Self::CallRate,
        Self::ToolRate,
        Self::TasksAtOnce,
        Self::CallsAtOnce,
        Self::TasksPerDay,
        Self::TokensPerMonth,
        Self::TaskTime,
        Self::Context,
        Self::Output,
    ];

    /// The written form, which is also its key in a configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::TaskRate => "tasks_per_minute",
            Self::CallRate => "calls_per_minute",
            Self::ToolRate => "tools_per_minute",
            Self::TasksAtOnce => "tasks_at_once",
            Self::CallsAtOnce => "calls_at_once",
            Self::TasksPerDay => "tasks_per_day",
            Self::TokensPerMonth => "tokens_per_month",
            Self::TaskTime => "task_seconds",
            Self::Context => "context_tokens",
            Self::Output => "output_bytes",
        }
    }

    /// What a user has where nobody said anything.
    pub const fn built_in(self) -> u64 {
        match self {
            Self::TaskRate | Self::CallsAtOnce => 10,
            Self::CallRate => 100,
            Self::ToolRate => 50,
            Self::TasksAtOnce => 5,
            Self::TasksPerDay => 1_000,
            Self::TokensPerMonth => 10_000_000,
            Self::TaskTime => 600,
            Self::Context => 200_000,
            Self::Output => 100_000,
        }
    }

    /// The largest figure that can be configured: what arithmetic and memory hold.
    pub const fn largest(self) -> u64 {
        match self {
            // A slot costs the memory of a task, of which so many are remembered.
            Self::TasksAtOnce => TASKS_MAX as u64 / 2,
            Self::TaskRate
            | Self::CallRate
            | Self::ToolRate
            | Self::CallsAtOnce
            | Self::TasksPerDay => 1_000_000_000,
            Self::TokensPerMonth | Self::TaskTime | Self::Context | Self::Output => {
                1_000_000_000_000_000
            }
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for QuotaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Kinds of quotas.
pub const QUOTA_KINDS: usize = 10;

/// Root tasks that one organisation's quotas remember; beyond it those are forgotten that were not
/// used for longest, and count anew when they come again. About 10 MiB.
pub const TASKS_MAX: usize = 65_536;

/// Whose quota it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaScope {
    /// All that an organisation does.
    Organisation,
    /// All that a user does.
    User,
    /// All that an organisation does in tasks of one type. Tasks without a type have none.
    TaskType,
}

impl QuotaScope {
    /// All of them, in the order of their check.
    pub const ALL: [Self; QUOTA_SCOPES] = [Self::Organisation, Self::User, Self::TaskType];

    /// The written form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Organisation => "organisation",
            Self::User => "user",
            Self::TaskType => "task_type",
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for QuotaScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Scopes that a call has at most.
pub const QUOTA_SCOPES: usize = 3;

/// What becomes of a call that is over a quota (Q5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnExcess {
    /// It waits for its turn.
    Queue,
    /// It is refused, with the time after which it would fit.
    Refuse,
}

impl OnExcess {
    /// The written forms.
    pub const WORDS: &'static [&'static str] = &["queue", "refuse"];
}

impl std::str::FromStr for OnExcess {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "queue" => Ok(Self::Queue),
            "refuse" => Ok(Self::Refuse),
            _ => Err(()),
        }
    }
}

/// How far one quota goes, and whom it binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaFigure {
    /// In the unit of its kind. `None`: there is none.
    pub limit: Option<NonZeroU64>,
    /// Whether it binds, and whom.
    pub enforcement: Enforcement,
}

/// All quotas of one organisation, user or task type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaFigures {
    figures: [QuotaFigure; QUOTA_KINDS],
    /// What becomes of calls over a rate, a slot or a volume.
    pub on_excess: OnExcess,
    /// The limit on context gives way to the model's own window where that is larger.
    pub context_or_window: bool,
}

impl QuotaFigures {
    /// Q1 to Q4: what each user has where nobody said anything.
    pub const BUILT_IN: Self = {
        let mut figures = [QuotaFigure {
            limit: None,
            enforcement: Enforcement::BuiltIn,
        }; QUOTA_KINDS];
        let mut at = 0;
        while at < QUOTA_KINDS {
            figures[at].limit = NonZeroU64::new(QuotaKind::ALL[at].built_in());
            at += 1;
        }
        Self {
            figures,
            on_excess: OnExcess::Queue,
            context_or_window: true,
        }
    };

    /// None at all.
    pub const UNLIMITED: Self = {
        let mut all = Self::BUILT_IN;
        let mut at = 0;
        while at < QUOTA_KINDS {
            all.figures[at].limit = None;
            at += 1;
        }
        all
    };

    /// One of them.
    pub const fn of(&self, kind: QuotaKind) -> &QuotaFigure {
        &self.figures[kind.index()]
    }

    /// One of them, to be replaced.
    pub const fn of_mut(&mut self, kind: QuotaKind) -> &mut QuotaFigure {
        &mut self.figures[kind.index()]
    }
}

/// What differs for one organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganisationQuotas {
    /// Its own.
    pub organisation: QuotaFigures,
    /// Of each of its users.
    pub user: QuotaFigures,
    /// Of single users.
    pub users: BTreeMap<String, QuotaFigures>,
}

/// All quotas in force. The narrowest applies: of a user, of the users of an organisation, of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaTable {
    /// Of each organisation.
    pub organisation: QuotaFigures,
    /// Of each user.
    pub user: QuotaFigures,
    /// Of each task type of an organisation.
    pub task_type: QuotaFigures,
    /// Of single organisations and their users.
    pub organisations: BTreeMap<String, OrganisationQuotas>,
    /// Of single task types.
    pub task_types: BTreeMap<String, QuotaFigures>,
    /// How long a task keeps its slot after its last call has ended.
    pub task_idle: Duration,
}

impl QuotaTable {
    /// How long a task keeps its slot where nobody said otherwise: tools between two calls mostly
    /// run for less, and who waits for a slot should not wait long for one that nobody uses.
    pub const TASK_IDLE: Duration = Duration::from_secs(10);

    /// No quotas at all.
    #[must_use]
    pub fn unlimited() -> Self {
        Self {
            organisation: QuotaFigures::UNLIMITED,
            user: QuotaFigures::UNLIMITED,
            task_type: QuotaFigures::UNLIMITED,
            ..Self::default()
        }
    }

    /// The quotas of an organisation, or of one of its users or task types.
    pub fn of(&self, scope: QuotaScope, organisation: &str, name: &str) -> &QuotaFigures {
        let own = self.organisations.get(organisation);
        match scope {
            QuotaScope::Organisation => own.map_or(&self.organisation, |it| &it.organisation),
            QuotaScope::User => own.map_or(&self.user, |it| it.users.get(name).unwrap_or(&it.user)),
            QuotaScope::TaskType => self.task_types.get(name).unwrap_or(&self.task_type),
        }
    }
}

/// Built-in quotas are those of users: how many share an organisation or a task type, nobody can know
/// who has not been told.
impl Default for QuotaTable {
    fn default() -> Self {
        Self {
            organisation: QuotaFigures::UNLIMITED,
            user: QuotaFigures::BUILT_IN,
            task_type: QuotaFigures::UNLIMITED,
            organisations: BTreeMap::new(),
            task_types: BTreeMap::new(),
            task_idle: Self::TASK_IDLE,
        }
    }
}

/// A set of quotas of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct QuotaSet(u32);

impl QuotaSet {
    /// None of them.
    pub const NONE: Self = Self(0);

    const fn bit(scope: QuotaScope, kind: QuotaKind) -> u32 {
        1 << (scope.index() * QUOTA_KINDS + kind.index())
    }

    /// Adds one.
    pub const fn insert(&mut self, scope: QuotaScope, kind: QuotaKind) {
        self.0 |= Self::bit(scope, kind);
    }

    /// Whether none is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in it, in the order of their check.
    pub fn iter(self) -> impl Iterator<Item = (QuotaScope, QuotaKind)> {
        let all = QuotaScope::ALL.into_iter();
        let all = all.flat_map(|scope| QuotaKind::ALL.into_iter().map(move |kind| (scope, kind)));
        all.filter(move |(scope, kind)| self.0 & Self::bit(*scope, *kind) != 0)
    }
}
