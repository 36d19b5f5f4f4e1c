//! What providers' answers say of their limits, heard once and kept for everybody: the buckets follow
//! it, and whoever would only be refused is not sent.

mod owners;

use std::{
    borrow::Cow,
    hash::BuildHasher as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use foldhash::fast::FixedState;
use owners::Owners;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_admission::{
    Cause, Cooldown, CooldownView, Cooldowns, Observation, Pass, Place, Plans, Probe, Refused,
    SavedCooldown, SavedWindow, Scope, Short, Signal, WindowSaid, WindowView,
};
use tidegate_observe::event;
use tidegate_providers::limits::{self, Unified, UnifiedStatus};
use tidegate_types::{Monotonic, NanoUsd};

use crate::{
    Engine,
    call::{Moment, Routed},
    flight::InFlight,
    route::{Payer, payer},
    signals::{Head, failing, model_class, said, signal},
};

/// How often a call is looked at again that waits for a provider: another may have found out
/// meanwhile that it serves.
pub(crate) const COOLING_AGAIN: Duration = Duration::from_secs(5);

/// Account and models are told apart by a number, the same in every run.
const GROUPS: FixedState = FixedState::with_seed(7);

/// Which providers serve whom.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    cooldowns: Mutex<Cooldowns>,
    /// Something may be wrong somewhere: else nobody has to ask.
    troubled: AtomicBool,
    plans: Mutex<Plans>,
    /// Some account has a plan: else nothing has to be counted towards one.
    planned: AtomicBool,
    owners: Owners,
}

/// What of all this is kept over a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct SavedStanding {
    #[serde(default)]
    cooldowns: Vec<SavedCooldown>,
    #[serde(default)]
    windows: Vec<SavedWindow>,
    #[serde(default)]
    owners: Vec<(u32, u32)>,
}

/// The one call that tries whether a provider serves again, until it is heard of.
#[derive(Debug)]
pub(crate) struct Trying {
    standing: Arc<Standing>,
    probe: Probe,
}

impl Drop for Trying {
    fn drop(&mut self) {
        self.standing.cooldowns.lock().give_up(&self.probe);
    }
}

impl Standing {
    /// Whether a call may be sent now; `Err`: why not, and for how long.
    #[inline]
    pub(crate) fn pass(
        self: &Arc<Self>,
        routed: &Routed,
        now: Monotonic,
    ) -> Result<Option<Trying>, Cooldown> {
        if !self.is_troubled() || !routed.call.metered {
            return Ok(None);
        }
        self.ask(&self.place(routed), now)
    }

    #[cold]
    fn ask(self: &Arc<Self>, place: &Place, now: Monotonic) -> Result<Option<Trying>, Cooldown> {
        match self.cooldowns.lock().ask(place, now) {
            Pass::Free => Ok(None),
            Pass::Probe(probe) => Ok(Some(Trying {
                standing: Arc::clone(self),
                probe,
            })),
            Pass::Wait(cooldown) => Err(cooldown),
        }
    }

    /// What a call would wait for that may not try itself.
    pub(crate) fn wait(&self, routed: &Routed, now: Monotonic) -> Option<Cooldown> {
        if !self.is_troubled() || !routed.call.metered {
            return None;
        }
        self.cooldowns.lock().look(&self.place(routed), now)
    }

    fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    /// Says whether a wait may have become another.
    fn hear(&self, place: &Place, signal: Option<Signal>, sent: Monotonic, now: Monotonic) -> bool {
        let mut cooldowns = self.cooldowns.lock();
        let changed = cooldowns.hear(place, signal, sent, now);
        self.troubled
            .store(!cooldowns.is_empty(), Ordering::Relaxed);
        changed
    }

    /// For how long a call to that place would have to wait.
    pub(crate) fn views(&self, now: Monotonic) -> Vec<CooldownView> {
        self.cooldowns.lock().views(now)
    }

    /// Counts what a call cost at list price towards the windows of the plan that paid for it.
    #[inline]
    pub(crate) fn spend(&self, routed: &Routed, cost: NanoUsd) {
        if self.planned.load(Ordering::Relaxed) && !cost.is_zero() {
            self.plans.lock().spend(&self.place(routed), cost);
        }
    }

    /// Answers how many figures made no sense.
    fn hear_plan(&self, place: &Place, unified: &Unified, head: &Head<'_>, now: Monotonic) -> u32 {
        let windows = unified.windows.iter().map(|it| WindowSaid {
            name: &it.name,
            used_ppm: it.utilization.map(|it| it.0),
            refuses: it.status == Some(UnifiedStatus::Rejected),
            resets_in: it.reset.map(|it| it.since(head.date)),
        });
        let windows: Vec<WindowSaid<'_>> = windows.collect();
        let mut plans = self.plans.lock();
        let nonsense = plans.hear(place, &windows, now);
        self.planned.store(!plans.is_empty(), Ordering::Relaxed);
        nonsense
    }

    pub(crate) fn export(&self, now: Monotonic) -> SavedStanding {
        SavedStanding {
            cooldowns: self.cooldowns.lock().export(now),
            windows: self.plans.lock().export(now),
            owners: self.owners.export(),
        }
    }

    pub(crate) fn restored(saved: &SavedStanding, elapsed: Duration, now: Monotonic) -> Self {
        let (mut cooldowns, mut plans) = (Cooldowns::default(), Plans::default());
        cooldowns.restore(&saved.cooldowns, elapsed, now);
        plans.restore(&saved.windows, elapsed, now);
        Self {
            troubled: AtomicBool::new(!cooldowns.is_empty()),
            cooldowns: Mutex::new(cooldowns),
            planned: AtomicBool::new(!plans.is_empty()),
            plans: Mutex::new(plans),
            owners: Owners::restored(&saved.owners),
        }
    }

    /// Where a call goes: whose account pays, and for which models, in names that are no secret.
    fn place(&self, routed: &Routed) -> Place {
        let (user, mark) = self.account(routed);
        Place {
            provider: Arc::clone(&routed.platform.provider),
            account: owners::named(&user.concat(), mark).into(),
            models: models(routed).into(),
        }
    }

    /// A number for whose account pays, and for which models: most answers need no more of their place.
    fn group(&self, routed: &Routed) -> u64 {
        GROUPS.hash_one((self.account(routed), models(routed)))
    }

    /// The account that pays: whose it is, in parts, and the mark that tells it from others of the
    /// same user.
    fn account<'a>(&self, routed: &'a Routed) -> ([&'a str; 3], u32) {
        match payer(&routed.call, &routed.platform) {
            Ok(Payer::Operator) => (["operator", "", ""], 0),
            Ok(Payer::Nobody) => (["nobody", "", ""], 0),
            Ok(Payer::Caller) | Err(_) => {
                let record = &routed.call.record;
                let mark = self.owners.of(routed.call.principal.credential_mark);
                ([&record.organisation, "/", &record.user], mark)
            }
        }
    }
}

impl Engine {
    /// Hears what the head of a provider's answer says of its limits: its status and `date`, and all
    /// headers by name.
    /// To be called once for each answer, before its body is read.
    ///
    /// The platform's buckets follow it, what is refused until some time is not asked for until then,
    /// and whoever waits and fits now has its turn. What the call asked was not metered says nothing of
    /// the limits on those that are.
    pub fn heard<'a>(
        &self,
        in_flight: &mut InFlight,
        (status, date): (u16, Option<&[u8]>),
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) {
        if !in_flight.routed.call.metered {
            return;
        }
        let now = self.now();
        // The answer's own clock: ours may have stepped.
        let date = date.and_then(limits::date).unwrap_or(now.wall);
        let mut account = None;
        let headers = headers.inspect(|it| account = account.or(owners::mark_of(*it)));
        let signals = limits::parse(headers, date);
        let routed = &in_flight.routed;
        let payer = payer(&routed.call, &routed.platform);
        if let (Some(account), Ok(Payer::Caller)) = (account, &payer) {
            let credential = routed.call.principal.credential_mark;
            self.standing.owners.learn(credential, account);
        }
        let head = Head {
            status,
            signals: &signals,
            family: routed.platform.family,
            date,
            is_operators: payer == Ok(Payer::Operator),
        };
        let signal = signal(&head);
        if let Some(unified) = &signals.unified {
            let place = self.standing.place(routed);
            let nonsense = self.standing.hear_plan(&place, unified, &head, now.mono);
            self.count_nonsense(&routed.platform.name, nonsense);
        }
        let mut short = None;
        if !routed.call.facts.modifiers.fast {
            short = self.follow(in_flight, &head, signal, now);
        }
        let signal = signal.map(|it| match short {
            // The bucket that is short holds this call back, and smaller ones pass.
            Some(_) => Signal {
                scope: Scope::Request,
                ..it
            },
            None => it,
        });
        if let Some(short) = short {
            in_flight.was_refused(short, signals.retry_after);
        }
        self.stand(in_flight, signal, now);
    }

    /// Hears that a call that was sent got no answer.
    pub fn unheard(&self, in_flight: &mut InFlight) {
        if in_flight.routed.call.metered {
            let signal = Some(failing(Cause::Unreachable));
            self.stand(in_flight, signal, self.now());
        }
    }

    /// Lets the buckets follow. Answers which of them explains a refusal, if one does.
    fn follow(
        &self,
        in_flight: &InFlight,
        head: &Head<'_>,
        signal: Option<Signal>,
        now: Moment,
    ) -> Option<Short> {
        let said = said(head);
        if said.is_empty() {
            return None;
        }
        let of_rate =
            signal.is_some_and(|it| matches!(it.cause, Cause::Rate | Cause::Acceleration));
        let observation = Observation {
            said: &said,
            date: head.date,
            of: self.standing.group(&in_flight.routed),
            refused: of_rate.then(|| Refused {
                retry_after: head.signals.retry_after,
                largest: in_flight.routed.largest_need(),
            }),
        };
        let platform = &*in_flight.routed.platform.name;
        let heard = in_flight.with_taken(|gate, taken| {
            let heard = gate.pool.observe(taken, &observation, now.mono);
            (heard, !gate.queue.is_empty())
        });
        let (heard, somebody_waits) = heard?;
        if heard.followed > 0 {
            let billionths = heard.error_ppm.saturating_mul(1_000);
            self.registry.mirror_error.with([platform]).set(billionths);
        }
        self.count_nonsense(platform, heard.nonsense);
        if heard.slowed > 0 {
            self.report(&event::RefillSlowed {
                call: in_flight.record().id,
                platform,
            });
        }
        if somebody_waits {
            self.look(&in_flight.routed.gate);
        }
        heard.short
    }

    /// Keeps what is refused until some time, and what fails.
    fn stand(&self, in_flight: &mut InFlight, signal: Option<Signal>, now: Moment) {
        // Once it has been heard of, another may try, where it was the one that did.
        let tried = in_flight.take_trying();
        if signal.is_none() && !self.standing.is_troubled() {
            return;
        }
        let (place, sent) = (&self.standing.place(&in_flight.routed), in_flight.sent_at());
        let changed = self.standing.hear(place, signal, sent.mono, now.mono);
        drop(tried);
        if !changed {
            return;
        }
        if let Some(signal) = signal {
            let left = self.standing.cooldowns.lock().look(place, now.mono);
            self.report(&event::ProviderCooling {
                call: in_flight.record().id,
                platform: &in_flight.routed.platform.name,
                cause: signal.cause.word(),
                models: &place.models,
                wait: left.map_or(0, |it| it.left.as_secs()),
            });
        }
        self.look_at_queues();
    }

    fn count_nonsense(&self, platform: &str, figures: u32) {
        if figures > 0 {
            let ignored = self.registry.ignored_figures.with([platform]);
            ignored.add(u64::from(figures));
        }
    }

    /// The windows of the plans that calls were paid by.
    pub fn plan_windows(&self) -> Vec<WindowView> {
        let mut views = self.standing.plans.lock().views(self.clock.monotonic());
        for it in &mut views {
            it.account = owners::user(std::mem::take(&mut it.account));
        }
        views
    }

    /// Who is not asked for now, and until when.
    pub fn cooldowns(&self) -> Vec<CooldownView> {
        let mut views = self.standing.views(self.clock.monotonic());
        for it in &mut views {
            it.account = it.account.take().map(owners::user);
        }
        views
    }
}

/// The models that share its limits.
fn models(routed: &Routed) -> Cow<'_, str> {
    if routed.platform.shared_limits {
        "all".into()
    } else {
        model_class(routed.platform.family, &routed.call.record.model_sent)
    }
}
