//! What people and programs are shown of the engine, and told by it.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tidegate_admission::{Cooldown, CooldownView, PoolView, QUEUE_MAX, Reason, Wait, WindowView};
use tidegate_ledger::{EntryPath, LevelView, Limit, Shortage};
use tidegate_observe::record::rfc3339_seconds;
use tidegate_types::{Enforcement, Mode, ReservationId, Timestamp};

use crate::{
    Engine, admissions::ReservationView, reserve::Obstacle, settings::Platform, spender::Spender,
};

/// Why a call can't go on, for its sender.
#[derive(Clone, Debug)]
pub struct Told {
    /// Which limit, in a word: `claude_code.units`, `task`.
    pub limit: Arc<str>,
    /// Why, which limit, until when, and what else would work.
    pub sentence: String,
    /// How long until it would fit; `None` where no wait is known to help.
    pub wait: Option<Duration>,
    /// When the budget's window ends.
    pub resets_at: Option<Timestamp>,
}

/// A budget that is short, in a sentence for whoever sent a call.
fn sentence_of_call(shortage: &Shortage, raise: &str) -> String {
    sentence(shortage, raise, "a smaller max_tokens or input")
}

/// The same for whoever asks before it acts: of what it asks for, its cost alone counts here.
fn sentence_of_ask(shortage: &Shortage, raise: &str) -> String {
    sentence(shortage, raise, "a smaller cost_usd")
}

/// A budget that is short, in a sentence; `raise` is the command that raises it, and `less` what
/// would need less of it.
fn sentence(shortage: &Shortage, raise: &str, less: &str) -> String {
    let Shortage {
        level,
        limit,
        spent,
        held,
        asked,
        resets_at,
    } = shortage;
    let until = match resets_at {
        _ if shortage.never_fits() => "more than it ever holds".to_owned(),
        Some(at) => format!("resets at {}", rfc3339_seconds(*at)),
        None => "does not reset".to_owned(),
    };
    format!(
        "budget `{level}` of {limit} can't hold this call: {spent} spent, {held} held by running calls, {asked} needed at most · {until} · raise it with `{raise}`, or ask for less with {less}"
    )
}

/// A soft limit that somebody has to be asked about, in a sentence.
pub(crate) fn sentence_of_approval(shortage: &Shortage) -> String {
    let Shortage {
        level,
        limit,
        spent,
        held,
        asked,
        ..
    } = shortage;
    let spent = spent.saturating_add(*held);
    format!(
        "budget `{level}` would pass its soft limit of {limit}: {spent} spent and expected, {asked} more expected of this call · somebody has to approve that: see `tidegate approvals`"
    )
}

/// A bucket that is short, in a sentence.
fn sentence_of_bucket((limit, user): (&str, &str), wait: Wait, reason: Reason) -> String {
    let time = spoken(wait.at_least());
    match wait {
        Wait::For(_) => format!(
            "`{limit}` makes {user} wait {time}: {reason} · try again then, or use another platform"
        ),
        Wait::Freed { .. } => {
            format!("`{limit}` is taken: {reason} · try again when one of them has ended")
        }
    }
}

/// Others who came first, in a sentence.
fn sentence_of_queue(platform: &Platform, obstacle: &Obstacle) -> String {
    let name = &platform.name;
    match obstacle {
        Obstacle::Queued { ahead: 1, wait } => format!(
            "1 call of this priority waits for `{name}` before it: about {} · see `tidegate queue`",
            spoken(*wait)
        ),
        Obstacle::Queued { ahead, wait } => format!(
            "{ahead} calls of this priority wait for `{name}` before it: about {} · see `tidegate queue`",
            spoken(*wait)
        ),
        Obstacle::QueueFull => {
            format!("{QUEUE_MAX} calls wait for `{name}`, and no more may: try again in a minute")
        }
        _ => "this call was taken out of the queue by hand: send it again if it is still wanted"
            .to_owned(),
    }
}

/// A budget that is short for as long as others hold it, in a sentence.
fn sentence_of_held(shortage: &Shortage, raise: &str, wait: Duration) -> String {
    let Shortage {
        level,
        limit,
        spent,
        held,
        asked,
        ..
    } = shortage;
    let wait = spoken(wait);
    format!(
        "budget `{level}` of {limit} is held by running calls: {spent} spent, {held} held, {asked} needed at most · try again in about {wait}, when some of them have ended, or raise it with `{raise}`"
    )
}

/// A provider that would refuse the call, for its sender.
fn cooling(platform: &Platform, cooldown: Cooldown) -> Told {
    let Cooldown {
        cause,
        left,
        probing,
    } = cooldown;
    let until = if probing {
        "while another call tries whether that is over".to_owned()
    } else {
        format!("for {}", spoken(left))
    };
    Told {
        limit: format!("{}.provider", platform.name).into(),
        sentence: format!(
            "{cause}: `{}` is not asked {until} · try again then, or use another platform or model",
            platform.name
        ),
        wait: Some(left.max(Duration::from_secs(1))),
        resets_at: None,
    }
}

/// A duration as people say it: `45 s`, `3 min 20 s`, `5 h 10 min`.
pub fn spoken(wait: Duration) -> String {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    match (
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    ) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

/// A limit and whether it binds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitView {
    /// `claude_code.units`, `task`.
    pub limit: String,
    /// For calls without a key.
    pub keyless: Mode,
    /// For all others.
    pub asking: Mode,
}

/// All of it at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The program's version.
    pub version: &'static str,
    /// False while the ledger can't be written.
    pub writable: bool,
    /// What the store says, while it fails.
    pub why_not: Option<String>,
    /// The platforms' buckets.
    pub platforms: Vec<PoolView>,
    /// Who is not asked for now, as providers said or showed.
    pub cooldowns: Vec<CooldownView>,
    /// The windows of the plans that calls were paid by.
    pub plan_windows: Vec<WindowView>,
    /// Which limits bind whom.
    pub limits: Vec<LimitView>,
    /// Reservations that wait for their holder's word, unknown ones too.
    pub open_reservations: usize,
    /// Reservations dropped unsettled: each is a defect of ours.
    pub dropped_reservations: u64,
    /// Records of calls that were not kept.
    pub shed_records: u64,
}

impl Engine {
    /// A budget that is short, in a sentence for whoever asks before it acts.
    pub(crate) fn explain_to_asker(&self, spender: &Spender, shortage: &Shortage) -> String {
        sentence_of_ask(shortage, &self.raise(spender, shortage))
    }

    /// How long until its window ends, if that helps: what is larger than the limit has no room in the
    /// next one either.
    fn until_room(&self, shortage: &Shortage) -> Option<Duration> {
        let resets_at = shortage.resets_at.filter(|_| !shortage.never_fits());
        resets_at.map(|it| it.since(self.clock.now()))
    }

    fn raise(&self, spender: &Spender, shortage: &Shortage) -> String {
        let settings = self.settings.load();
        spender.set_limit(shortage.level, settings.budgets.limits())
    }

    /// Puts an obstacle into words.
    pub fn explain(&self, platform: &Arc<Platform>, spender: &Spender, obstacle: Obstacle) -> Told {
        match obstacle {
            Obstacle::Wait {
                bucket,
                wait,
                reason,
            } => {
                let limit = self.bucket_name(platform, bucket);
                Told {
                    sentence: sentence_of_bucket((&limit, &spender.user), wait, reason),
                    limit,
                    wait: Some(wait.at_least().max(Duration::from_secs(1))),
                    resets_at: None,
                }
            }
            Obstacle::NeverFits { bucket } => {
                let limit = self.bucket_name(platform, bucket);
                Told {
                    sentence: format!(
                        "this call is larger than `{limit}` ever holds: make it smaller, or raise the capacity of `{limit}`"
                    ),
                    limit,
                    wait: None,
                    resets_at: None,
                }
            }
            Obstacle::Budget(shortage) => Told {
                limit: shortage.level.word().into(),
                sentence: sentence_of_call(&shortage, &self.raise(spender, &shortage)),
                wait: self.until_room(&shortage),
                resets_at: shortage.resets_at,
            },
            Obstacle::Approval(shortage) => Told {
                limit: shortage.level.word().into(),
                sentence: sentence_of_approval(&shortage),
                wait: None,
                resets_at: shortage.resets_at,
            },
            Obstacle::Held { shortage, wait } => Told {
                limit: shortage.level.word().into(),
                sentence: sentence_of_held(&shortage, &self.raise(spender, &shortage), wait),
                wait: Some(wait),
                resets_at: None,
            },
            Obstacle::Cooling(cooldown) => cooling(platform, cooldown),
            Obstacle::Quota(over) => crate::account::told(&over),
            Obstacle::Queued { .. } | Obstacle::QueueFull | Obstacle::Cancelled => Told {
                limit: format!("{}.queue", platform.name).into(),
                sentence: sentence_of_queue(platform, &obstacle),
                wait: match obstacle {
                    Obstacle::QueueFull => Some(Duration::from_mins(1)),
                    _ => obstacle.wait().map(|it| it.max(Duration::from_secs(1))),
                },
                resets_at: None,
            },
            Obstacle::TaskCancelled => Told {
                limit: "task.cancelled".into(),
                sentence: "the task of this call was cancelled, and no call is made for it: begin another task".to_owned(),
                wait: None,
                resets_at: None,
            },
            Obstacle::Stale => Told {
                limit: "ledger".into(),
                sentence: "the budgets can't be read: see `tidegate status`".to_owned(),
                wait: Some(Duration::from_secs(1)),
                resets_at: None,
            },
        }
    }

    /// All of it.
    pub fn status(&self) -> Status {
        let health = self.writer.health();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            writable: health.is_writable(),
            why_not: health.why(),
            platforms: self.pool_views(),
            cooldowns: self.cooldowns(),
            plan_windows: self.plan_windows(),
            limits: self.limit_views(),
            open_reservations: self.open.len(),
            dropped_reservations: self.dropped(),
            shed_records: self.writer.shed(),
        }
    }

    /// The platforms' buckets, in the order of the configuration.
    pub fn pool_views(&self) -> Vec<PoolView> {
        let now = self.clock.monotonic();
        let gates = self.gates.load();
        let settings = self.settings.load();
        let in_order = settings
            .platforms
            .iter()
            .filter_map(|it| gates.get(&it.name));
        in_order.map(|it| it.lock().pool.snapshot(now)).collect()
    }

    /// What all budgets stand at: those in memory, which are those in use.
    pub fn levels(&self, organisation: Option<&str>) -> Vec<LevelView> {
        let all: Vec<_> = self.books.lock().values().cloned().collect();
        let mut views = Vec::new();
        for books in all {
            let books = books.lock();
            if organisation.is_none_or(|it| **books.organisation() == *it) {
                views.extend(books.levels(|_| true));
            }
        }
        views
    }

    /// An open reservation, whoever holds it: for those who have decided who may see it.
    pub fn reservation(&self, id: ReservationId) -> Option<ReservationView> {
        self.open.view(id)
    }

    /// The open reservations that pay where it is wanted, oldest first.
    pub fn reservations(&self, wanted: impl Fn(&EntryPath) -> bool) -> Vec<ReservationView> {
        self.open.views(wanted)
    }

    /// How many reservations a crash left open that nobody has ended since.
    pub fn unknown_reservations(&self) -> usize {
        self.open.unknown()
    }

    /// Which limits there are, and whom they bind.
    pub fn limit_views(&self) -> Vec<LimitView> {
        let settings = self.settings.load();
        let view = |limit: String, enforcement: Enforcement| LimitView {
            limit,
            keyless: enforcement.mode(tidegate_types::Caller::Keyless),
            asking: enforcement.mode(tidegate_types::Caller::Asking),
        };
        let mut views = Vec::new();
        for platform in &settings.platforms {
            for bucket in platform.pool.buckets() {
                let name = format!("{}.{}", platform.name, bucket.name);
                views.push(view(name, bucket.enforcement));
            }
        }
        for (limit, enforcement) in crate::account::limits(&settings.quotas) {
            views.push(view(limit, enforcement));
        }
        let limits = &settings.budgets.limits().defaults;
        for level in tidegate_ledger::LevelKind::ALL {
            let limit: &Limit = limits.of(level);
            if limit.hard.is_some() || limit.soft.is_some() {
                views.push(view(level.word().to_owned(), limit.enforcement));
            }
        }
        views
    }
}
