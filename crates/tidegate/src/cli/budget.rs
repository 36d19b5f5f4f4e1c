//! `tidegate budget`.

use clap::{Args, Subcommand, ValueEnum};
use tidegate_control::wire::{self, Budget, Budgets, LimitRequest, LimitSet, Money, Usd};
use tidegate_types::{Mode, NanoUsd};

use super::{
    Client, Format, Said,
    client::query,
    status::binding,
    table::{Table, Tone, grouped, line, plain, toned},
};

/// Options of `budget`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BudgetArgs {
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
    /// Only this organisation's
    #[arg(long)]
    pub(crate) organisation: Option<String>,
    /// Only this user's
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only this root task
    #[arg(long)]
    pub(crate) task: Option<String>,
    /// Windows that have ended too
    #[arg(long)]
    pub(crate) ended: bool,
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
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
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

impl From<Amount> for wire::Amount {
    fn from(amount: Amount) -> Self {
        amount.0.map_or(Self::Removed, |it| Self::Set(Usd(it)))
    }
}

pub(super) fn answer(args: &BudgetArgs, client: &Client) -> anyhow::Result<Said> {
    if let Some(BudgetCommand::Set(set)) = &args.change {
        return change(set, client);
    }
    let path = query(
        "/api/v1/budgets",
        &[
            ("organisation", args.organisation.as_deref()),
            ("user", args.user.as_deref()),
            ("task", args.task.as_deref()),
            ("ended", args.ended.then_some("true")),
        ],
    );
    if args.format.json {
        return Said::json(&client.get::<serde_json::Value>(&path)?);
    }
    Ok(Said::fine(show(&client.get::<Budgets>(&path)?)))
}

fn change(set: &SetArgs, client: &Client) -> anyhow::Result<Said> {
    let amount = |it: Option<Amount>| it.map_or(wire::Amount::Kept, Into::into);
    let request = LimitRequest {
        organisation: set.organisation.clone(),
        user: set.user.clone(),
        task: set.task.clone(),
        hard_usd: amount(set.amount),
        soft_usd: amount(set.soft),
        mode: Some(if set.watch {
            Mode::Watch
        } else {
            Mode::Enforce
        }),
        overage_allowed: set.overage,
    };
    let path = format!("/api/v1/budgets/{}", set.level.word());
    if set.format.json {
        return Said::json(&client.put::<serde_json::Value>(&path, &request)?);
    }
    let changed: LimitSet = client.put(&path, &request)?;
    Ok(Said::fine(format!(
        "{} of {}: {}\nbefore: {}",
        plain(&changed.level),
        plain(&changed.scope),
        spoken(&changed.after),
        spoken(&changed.before)
    )))
}

/// `$5.00, soft $1.00: enforce`.
fn spoken(limit: &wire::Limit) -> String {
    let hard = limit.hard.as_ref().map(dollars);
    let hard = hard.unwrap_or_else(|| "no hard limit".to_owned());
    let soft = limit.soft.as_ref().map(dollars);
    let soft = soft.map_or(String::new(), |it| format!(", soft {it}"));
    let overage = if limit.overage_allowed {
        ", may be passed with a warning"
    } else {
        ""
    };
    let does = binding(limit.keyless, limit.asking);
    format!("{hard}{soft}{overage}: {does}")
}

fn dollars(money: &Money) -> String {
    NanoUsd::from(money).to_string()
}

/// Levels that are named as past their soft limit; the others are counted.
const PASSED_MAX: usize = 5;

/// Enforces a hard limit on one task.
pub(super) fn limit_task(
    client: &Client,
    organisation: &str,
    task: &str,
    hard: NanoUsd,
) -> anyhow::Result<()> {
    let request = LimitRequest {
        organisation: Some(organisation.to_owned()),
        task: Some(task.to_owned()),
        soft_usd: wire::Amount::Removed,
        hard_usd: wire::Amount::Set(Usd(hard)),
        mode: Some(Mode::Enforce),
        ..LimitRequest::default()
    };
    let _now: LimitSet = client.put("/api/v1/budgets/task", &request)?;
    Ok(())
}

/// Budgets for people, as the tree they are, and what enforcing would have done.
pub(super) fn show(budgets: &Budgets) -> String {
    let mut table = Table::new(&[
        "budget",
        ">spent",
        ">not charged",
        ">held",
        ">limit",
        ">left",
        "does",
        ">would refuse",
        "resets",
    ]);
    for budget in &budgets.budgets {
        table.row(row(budget));
    }
    if table.is_empty() {
        return "nothing is spent or held yet\n".to_owned();
    }
    let mut out = table.show();
    if budgets.more > 0 {
        let more = grouped(budgets.more);
        let text = format!(
            "{more} more tasks are only in the ledger; `tidegate budget --task TASK` shows one"
        );
        line(&mut out, &text);
    }
    out.push_str(&passed(&budgets.budgets));
    out.push_str(&hindsight(&budgets.budgets));
    out
}

/// The soft limits that are passed, in words: a colour is not seen by everybody, nor in a file.
fn passed(budgets: &[Budget]) -> String {
    let passed = budgets.iter().filter(|it| it.soft_passed);
    let named = passed.map(|it| {
        let soft = it.limit.soft.as_ref().map(dollars);
        let soft = soft.map_or(String::new(), |it| format!(" ({it})"));
        format!("{}{soft}", name(it).trim())
    });
    let named: Vec<String> = named.collect();
    if named.is_empty() {
        return String::new();
    }
    let more = match named.len().saturating_sub(PASSED_MAX) {
        0 => String::new(),
        more => format!(" and {} more", grouped(more)),
    };
    let shown = named[..named.len().min(PASSED_MAX)].join(", ");
    let text = format!("passed their soft limit: {shown}{more}");
    format!("\n{}\n", toned(&text, Tone::Warning))
}

/// What the limits that only watch would have done.
fn hindsight(budgets: &[Budget]) -> String {
    let watching = |it: &&Budget| it.limit.keyless == Mode::Watch;
    let would: Vec<&Budget> = budgets.iter().filter(|it| it.would_refuse > 0).collect();
    let Some(most) = would.iter().map(|it| it.would_refuse).max() else {
        if budgets.iter().any(|it| watching(&it)) {
            return "\nenforcing them would have refused nothing\n".to_owned();
        }
        return String::new();
    };
    let mut levels: Vec<&str> = would.iter().map(|it| it.level.as_str()).collect();
    levels.sort_unstable();
    levels.dedup();
    let calls = if most == 1 { "call" } else { "calls" };
    let text = format!(
        "enforcing would have refused at least {} {calls}, by {}",
        grouped(most),
        levels.join(", ")
    );
    format!(
        "\n{}\nenforce all limits with `tidegate serve --enforce`, or one with `tidegate budget set LEVEL`\n",
        toned(&text, Tone::Warning)
    )
}

fn row(budget: &Budget) -> [String; 9] {
    let left = budget.left.as_ref().map_or(String::new(), dollars);
    let used_up = budget.left.as_ref().is_some_and(|it| it.nano_usd == 0);
    [
        name(budget),
        dollars(&budget.spent),
        // What subscriptions paid for, at its list price.
        match budget.notional.nano_usd {
            0 => String::new(),
            _ => dollars(&budget.notional),
        },
        dollars(&budget.held),
        budget
            .limit
            .hard
            .as_ref()
            .map_or("none".to_owned(), dollars),
        match (used_up, budget.soft_passed) {
            (true, _) => toned(&left, Tone::Bad),
            (false, true) => toned(&left, Tone::Warning),
            (false, false) => left,
        },
        binding(budget.limit.keyless, budget.limit.asking).to_owned(),
        match budget.would_refuse {
            0 => String::new(),
            calls => toned(&grouped(calls), Tone::Warning),
        },
        match &budget.window {
            Some(window) => plain(&window.ends_at),
            None => "never".to_owned(),
        },
    ]
}

/// Its place in the tree: an organisation, below it its services and users, below these their days
/// and tasks.
fn name(budget: &Budget) -> String {
    let user = budget.user.as_deref().unwrap_or_default();
    let task = budget.task.as_deref().unwrap_or_default();
    let text = match budget.level.as_str() {
        "organisation" => format!("organisation {}, month", budget.organisation),
        "user_month" => format!("  user {user}, month"),
        "user_day" => "    day".to_owned(),
        "task" => format!("    task {task}"),
        service => format!("  {service}, month"),
    };
    plain(&text)
}
