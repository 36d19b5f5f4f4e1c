//! `tidegate statusline`: one line below Claude Code's prompt, from what Claude Code says of its
//! session and what the gateway knows of it.
//!
//! Claude Code runs it after every answer and shows what it prints. So it is quick, and never an
//! error: a gateway that does not answer in time is left out of the line.

use std::{collections::BTreeMap, io::Read as _, net::SocketAddr, time::Duration};

use serde::Deserialize;
use tidegate_control::wire::{Budget, Session, WaitingCall};
use tidegate_types::{NanoUsd, Secret};

use super::{
    Client, Said,
    client::{escaped, query},
    status::spoken,
    table::plain,
};
use crate::config::{self, Sources};

/// How long the gateway may take. What is asked for is in memory; people look at the line while they
/// type.
const PATIENCE: Duration = Duration::from_millis(200);

/// The largest description of a session that is read; Claude Code's have 3 KB.
const INPUT_BYTES_MAX: u64 = 1024 * 1024;

/// What every key of ours begins with.
const KEY_PREFIX: &str = tidegate_engine::identity::KEY_PREFIX;

/// What Claude Code says of its session. All of it may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    session_id: Option<String>,
    prompt_id: Option<String>,
    cost: Cost,
    rate_limits: RateLimits,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Cost {
    total_cost_usd: Option<f64>,
}

/// What the provider, or the gateway in its place, has said of limits.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RateLimits {
    five_hour: Option<Window>,
    seven_day: Option<Window>,
    spend_limit: Option<SpendLimit>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Window {
    used_percentage: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SpendLimit {
    used_percentage: f64,
    used_usd: Option<f64>,
    limit_usd: Option<f64>,
    period: Option<String>,
}

/// Reads standard input and says the line; nothing where nothing is known.
pub(super) fn answer(sources: &Sources) -> Said {
    let mut input = Vec::new();
    let mut stdin = std::io::stdin().lock().take(INPUT_BYTES_MAX);
    // What can't be read says nothing.
    stdin.read_to_end(&mut input).map(drop).unwrap_or_default();
    let told: Told = serde_json::from_slice(&input).unwrap_or_default();
    let session = told.session_id.as_deref().and_then(|id| {
        let asked = Asked::of(&sources.environment);
        let path = session_path(&asked, id, told.prompt_id.as_deref(), false);
        let client = client(sources, &asked)?;
        client.hurried(PATIENCE).get(&path).ok()
    });
    Said::fine(line(&told, session.as_ref()))
}

/// What the environment, which Claude Code passes on, says of where its calls go and as whose.
#[derive(Debug, Default)]
pub(super) struct Asked {
    gateway: Option<SocketAddr>,
    pub(super) key: Option<Secret<String>>,
    pub(super) task: Option<String>,
}

impl Asked {
    pub(super) fn of(environment: &BTreeMap<String, String>) -> Self {
        let value = |name: &str| environment.get(name).map(|it| it.trim());
        let url = value("ANTHROPIC_BASE_URL").and_then(|it| it.strip_prefix("http://"));
        let own = |name: &str| {
            let lines = value("ANTHROPIC_CUSTOM_HEADERS")
                .unwrap_or_default()
                .lines();
            let mut pairs = lines.filter_map(|it| it.split_once(':'));
            let found = pairs.find(|(it, _)| it.trim().eq_ignore_ascii_case(name));
            found.map(|(_, it)| it.trim())
        };
        let keys = [
            own("x-tidegate-key"),
            value("ANTHROPIC_AUTH_TOKEN"),
            value("ANTHROPIC_API_KEY"),
        ];
        let mut keys = keys.into_iter().flatten();
        Self {
            gateway: url.and_then(|it| it.trim_end_matches('/').parse().ok()),
            key: keys
                .find(|it| it.starts_with(KEY_PREFIX))
                .map(|it| Secret::new(it.to_owned())),
            task: own("x-tidegate-task").map(str::to_owned),
        }
    }
}

/// Where a session is asked for.
pub(super) fn session_path(
    asked: &Asked,
    session: &str,
    prompt: Option<&str>,
    queues: bool,
) -> String {
    query(
        &format!("/api/v1/sessions/{}", escaped(session)),
        &[
            ("task", asked.task.as_deref()),
            ("prompt", prompt),
            ("queues", queues.then_some("true")),
        ],
    )
}

/// The gateway that the calls go to, as their sender; `None` where none is known.
pub(super) fn client(sources: &Sources, asked: &Asked) -> Option<Client> {
    let ours = || Client::of(&config::load(sources).ok()?.settings).ok();
    Some(match (asked.gateway, &asked.key) {
        // Its calls carry the key to that address anyway.
        (Some(address), Some(key)) => Client::to(address, Some(key.clone())),
        (Some(address), None) => match ours().filter(|it| it.address() == address) {
            Some(client) => client,
            // The token belongs to another gateway.
            None => Client::to(address, None),
        },
        (None, _) => ours()?,
    })
}

/// The line. What is at hand is said in this order: whether a call waits, the task, the limit that is
/// nearest, what the provider says.
fn line(told: &Told, session: Option<&Session>) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(session) = session {
        parts.extend(
            session
                .waiting
                .first()
                .map(|it| waiting(it, session.waiting.len())),
        );
        let task = session.budgets.iter().find(|it| it.level == "task");
        parts.extend(task.map(|it| spending("task", it)));
        parts.extend(nearest(&session.budgets));
    } else if let Some(dollars) = told.cost.total_cost_usd.filter(|it| *it > 0.0) {
        parts.push(format!("session ${dollars:.2}"));
    }
    let limits = &told.rate_limits;
    if session.is_none_or(|it| nearest(&it.budgets).is_none()) {
        parts.extend(limits.spend_limit.as_ref().map(spend_limit));
    }
    let window =
        |name: &str, it: Option<Window>| it.map(|it| format!("{name} {:.0} %", it.used_percentage));
    parts.extend(window("5 h", limits.five_hour));
    parts.extend(window("7 d", limits.seven_day));
    parts.join(" · ")
}

/// `waits, place 2 of 5, about 40 s`.
fn waiting(call: &WaitingCall, calls: usize) -> String {
    let about = spoken(call.wait_p50_ms.div_ceil(1_000));
    let others = match calls {
        0 | 1 => String::new(),
        more => format!(" ({} more wait)", more - 1),
    };
    format!(
        "waits, place {} of {}, about {about}{others}",
        call.place, call.of
    )
}

/// The limit with a window that has least left.
fn nearest(budgets: &[Budget]) -> Option<String> {
    let limited = budgets
        .iter()
        .filter(|it| it.window.is_some() && it.limit.hard.is_some());
    let nearest = limited.min_by_key(|it| it.left.as_ref().map_or(u64::MAX, |it| it.nano_usd))?;
    let name = match nearest.level.as_str() {
        "user_day" => "today",
        "user_month" => "this month",
        "organisation" => "organisation",
        service => service,
    };
    Some(spending(name, nearest))
}

/// `task $0.42 of $5.00, $4.58 left`; what nobody was charged for at its list price.
fn spending(name: &str, budget: &Budget) -> String {
    let name = plain(name);
    let spent = NanoUsd::from(&budget.spent);
    let (limit, left) = (budget.limit.hard.as_ref(), budget.left.as_ref());
    if spent.is_zero() && budget.notional.nano_usd > 0 {
        let worth = dollars(NanoUsd::from(&budget.notional));
        return format!("{name} {worth} not charged");
    }
    match (limit, left) {
        (Some(limit), Some(left)) => format!(
            "{name} {} of {}, {} left",
            dollars(spent),
            dollars(NanoUsd::from(limit)),
            dollars(NanoUsd::from(left)),
        ),
        _ => format!("{name} {}", dollars(spent)),
    }
}

/// Whole cents, rounded to the nearest.
fn dollars(amount: NanoUsd) -> String {
    const CENT: u64 = 10_000_000;
    let cents = amount.0 / CENT + u64::from(amount.0 % CENT >= CENT / 2);
    format!("${}.{:02}", cents / 100, cents % 100)
}

fn spend_limit(limit: &SpendLimit) -> String {
    let period = match limit.period.as_deref() {
        Some("daily") => "today",
        Some("weekly") => "this week",
        Some("monthly") => "this month",
        _ => "spent",
    };
    match (limit.used_usd, limit.limit_usd) {
        (Some(used), Some(of)) => format!("{period} ${used:.2} of ${of:.2}"),
        _ => format!("{period} {:.0} %", limit.used_percentage),
    }
}

#[cfg(test)]
mod tests;
