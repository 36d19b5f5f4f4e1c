//! `tidegate budget`.

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use tidegate_ledger::{LevelKind, LevelView};
use tidegate_observe::record::rfc3339_seconds;
use tidegate_types::{Enforcement, Mode, NanoUsd};

use super::{
    Client, Format, Said,
    client::escaped,
    table::{Table, Tone, plain, toned},
};

/// Options of `budget`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BudgetArgs {
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
    /// Only this organisation's
    #[arg(long)]
    pub(crate) organisation: Option<String>,
    /// What to change
    #[command(subcommand)]
    pub(crate) change: Option<BudgetCommand>,
}

/// What can be changed.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    /// Set a limit; it is enforced from now on unless --watch
    Set(SetArgs),
}

/// Options of `budget set`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SetArgs {
    /// Which level
    #[arg(value_enum)]
    pub(crate) level: Level,
    /// The hard limit in dollars, or `none`
    pub(crate) amount: Option<Amount>,
    /// The soft limit in dollars, or `none`
    #[arg(long)]
    pub(crate) soft: Option<Amount>,
    /// Whether the hard limit may be passed with a warning
    #[arg(long)]
    pub(crate) overage: Option<bool>,
    /// Only watch it
    #[arg(long)]
    pub(crate) watch: bool,
    /// Of this organisation alone
    #[arg(long)]
    pub(crate) organisation: Option<String>,
    /// Of this user alone
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Of this root task alone
    #[arg(long)]
    pub(crate) task: Option<String>,
}

/// A level by its name.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Level {
    /// An organisation's month
    Organisation,
    /// A user's month
    UserMonth,
    /// A user's day
    UserDay,
    /// An organisation's month on language models
    Llm,
    /// An organisation's month on tools
    Tools,
    /// An organisation's month on infrastructure
    Infrastructure,
    /// A task with all its subtasks
    Task,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Organisation => "organisation",
            Self::UserMonth => "user_month",
            Self::UserDay => "user_day",
            Self::Llm => "llm",
            Self::Tools => "tools",
            Self::Infrastructure => "infrastructure",
            Self::Task => "task",
        }
    }
}

/// Dollars, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Amount(Option<NanoUsd>);

impl std::str::FromStr for Amount {
    type Err = tidegate_types::ParseMoneyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|it| Self(Some(it)))
    }
}

/// `"5.00"`, or `"none"`: the form in which the configuration and the API write a limit.
impl Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(amount) => serializer.collect_str(&amount),
            None => serializer.serialize_str("none"),
        }
    }
}

/// The body of `PUT /api/v1/budgets/{level}`. What is absent stays.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LimitChange {
    /// Of this organisation alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) organisation: Option<String>,
    /// Of this user alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// Of this root task alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<String>,
    /// The soft limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) soft: Option<Amount>,
    /// The hard limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hard: Option<Amount>,
    /// Whether the hard limit may be passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) overage: Option<bool>,
    /// What it does.
    pub(crate) mode: Mode,
}

#[derive(Debug, Deserialize)]
struct Budgets {
    budgets: Vec<LevelView>,
}

pub(super) fn answer(args: &BudgetArgs, client: &Client) -> anyhow::Result<Said> {
    if let Some(BudgetCommand::Set(set)) = &args.change {
        let change = LimitChange {
            organisation: set.organisation.clone(),
            user: set.user.clone(),
            task: set.task.clone(),
            soft: set.soft,
            hard: set.amount,
            overage: set.overage,
            mode: if set.watch {
                Mode::Watch
            } else {
                Mode::Enforce
            },
        };
        let path = format!("/api/v1/budgets/{}", set.level.word());
        let now: serde_json::Value = client.put(&path, &change)?;
        if args.format.json {
            return Said::json(&now);
        }
        let hard = set.amount.map_or(String::new(), |it| match it.0 {
            Some(amount) => format!(" at {amount}"),
            None => " without a hard limit".to_owned(),
        });
        let what = if set.watch { "watched" } else { "enforced" };
        return Ok(Said::fine(format!(
            "budget {} is now {what}{hard}",
            set.level.word()
        )));
    }
    let query = args.organisation.as_deref().map(escaped);
    let query = query.map_or(String::new(), |it| format!("?organisation={it}"));
    let path = format!("/api/v1/budgets{query}");
    if args.format.json {
        return Said::json(&client.get::<serde_json::Value>(&path)?);
    }
    let budgets: Budgets = client.get(&path)?;
    Ok(Said::fine(show(&budgets.budgets)))
}

/// Enforces a hard limit on one task.
pub(super) fn limit_task(
    client: &Client,
    organisation: &str,
    task: &str,
    hard: NanoUsd,
) -> anyhow::Result<()> {
    let change = LimitChange {
        organisation: Some(organisation.to_owned()),
        user: None,
        task: Some(task.to_owned()),
        soft: Some(Amount(None)),
        hard: Some(Amount(Some(hard))),
        overage: None,
        mode: Mode::Enforce,
    };
    let _now: serde_json::Value = client.put("/api/v1/budgets/task", &change)?;
    Ok(())
}

/// Budgets for people, in the order they are checked.
pub(super) fn show(levels: &[LevelView]) -> String {
    let mut table = Table::new(&[
        "budget",
        "whose",
        ">spent",
        ">held",
        ">limit",
        ">left",
        "does",
        ">would refuse",
        "resets",
    ]);
    let mut sorted: Vec<&LevelView> = levels.iter().collect();
    let place = |it: &LevelView| LevelKind::ALL.iter().position(|kind| *kind == it.key.kind);
    sorted.sort_by_key(|it| (place(it), it.key.clone()));
    for level in sorted {
        table.row(row(level));
    }
    if table.is_empty() {
        "nothing is spent or held yet\n".to_owned()
    } else {
        table.show()
    }
}

fn row(level: &LevelView) -> [String; 9] {
    let key = &level.key;
    let parts = [
        Some(&key.organisation),
        key.user.as_ref(),
        key.task.as_ref(),
    ];
    let whose: Vec<String> = parts.into_iter().flatten().map(|it| plain(it)).collect();
    let left = level.left.map_or(String::new(), |it| it.to_string());
    let used_up = level.left.is_some_and(NanoUsd::is_zero);
    [
        key.kind.to_string(),
        whose.join("/"),
        level.spent.to_string(),
        level.held.to_string(),
        level
            .limit
            .hard
            .map_or("none".to_owned(), |it| it.to_string()),
        match (used_up, level.soft_passed) {
            (true, _) => toned(&left, Tone::Bad),
            (false, true) => toned(&left, Tone::Warning),
            (false, false) => left,
        },
        match level.limit.enforcement {
            Enforcement::Named(Mode::Enforce) => "enforce",
            Enforcement::Named(Mode::Watch) => "watch",
            Enforcement::BuiltIn => "enforce with a key",
        }
        .to_owned(),
        match level.would_refuse {
            0 => String::new(),
            calls => toned(&calls.to_string(), Tone::Warning),
        },
        level
            .window
            .map_or("never".to_owned(), |it| rfc3339_seconds(it.end)),
    ]
}
