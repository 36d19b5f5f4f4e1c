//! What providers' answers say of their limits, heard once and kept for everybody: the buckets follow
//! it, and whoever would only be refused is not sent.

use std::{
    hash::BuildHasher as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tidegate_admission::{
    Cause, Cooldown, CooldownView, Cooldowns, Observation, Pass, Place, Probe, Refused,
    SavedCooldown, Signal,
};
use tidegate_observe::event;
use tidegate_providers::limits;
use tidegate_types::Monotonic;

use crate::{
    Engine,
    call::{Moment, Routed},
    flight::InFlight,
    route::{Payer, payer},
    signals::{Head, failing, model_class, said, signal},
};

/// How often a call is looked at again that waits for a provider: another may have found out
/// meanwhile that it serves.
pub(crate) const AGAIN: Duration = Duration::from_secs(5);

/// Account and models are told apart by a number, the same in every run.
const GROUPS: FixedState = FixedState::with_seed(7);

/// Which providers serve whom.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    cooldowns: Mutex<Cooldowns>,
    /// Something may be wrong somewhere: else nobody has to ask.
    troubled: AtomicBool,
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
        if !self.troubled.load(Ordering::Relaxed) || !routed.call.metered {
            return Ok(None);
        }
        self.ask(&place(routed), now)
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
        if !self.troubled.load(Ordering::Relaxed) || !routed.call.metered {
            return None;
        }
        self.cooldowns.lock().look(&place(routed), now)
    }

    /// Says whether a wait may have become another.
    fn hear(&self, place: &Place, signal: Option<Signal>, sent: Monotonic, now: Monotonic) -> bool {
        if signal.is_none() && !self.troubled.load(Ordering::Relaxed) {
            return false;
        }
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

    pub(crate) fn export(&self, now: Monotonic) -> Vec<SavedCooldown> {
        self.cooldowns.lock().export(now)
    }

    pub(crate) fn restored(saved: &[SavedCooldown], elapsed: Duration, now: Monotonic) -> Self {
        let mut cooldowns = Cooldowns::default();
        cooldowns.restore(saved, elapsed, now);
        Self {
            troubled: AtomicBool::new(!cooldowns.is_empty()),
            cooldowns: Mutex::new(cooldowns),
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
        let signals = limits::parse(headers, date);
        let routed = &in_flight.routed;
        let head = Head {
            status,
            signals: &signals,
            family: routed.platform.family,
            date,
            is_operators: payer(&routed.call, &routed.platform) == Ok(Payer::Operator),
        };
        let place = place(routed);
        let signal = signal(&head);
        if !routed.call.facts.modifiers.fast {
            self.follow(in_flight, &head, (&place, signal), now);
        }
        self.stand(in_flight, &place, signal, now);
    }

    /// Hears that a call that was sent got no answer.
    pub fn unheard(&self, in_flight: &mut InFlight) {
        if in_flight.routed.call.metered {
            let place = place(&in_flight.routed);
            let signal = Some(failing(Cause::Unreachable));
            self.stand(in_flight, &place, signal, self.now());
        }
    }

    /// Lets the buckets follow.
    fn follow(
        &self,
        in_flight: &InFlight,
        head: &Head<'_>,
        (place, signal): (&Place, Option<Signal>),
        now: Moment,
    ) {
        let said = said(head);
        if said.is_empty() {
            return;
        }
        let of_rate =
            signal.is_some_and(|it| matches!(it.cause, Cause::Rate | Cause::Acceleration));
        let observation = Observation {
            said: &said,
            date: head.date,
            of: GROUPS.hash_one((&*place.account, &*place.models)),
            refused: of_rate.then_some(Refused {
                retry_after: head.signals.retry_after,
            }),
        };
        let platform = &*in_flight.routed.platform.name;
        let heard = in_flight.with_taken(|gate, taken| {
            let heard = gate.pool.observe(taken, &observation, now.mono);
            (heard, !gate.queue.is_empty())
        });
        let Some((heard, somebody_waits)) = heard else {
            return;
        };
        if heard.followed > 0 {
            let billionths = heard.error_ppm.saturating_mul(1_000);
            self.registry.mirror_error.with([platform]).set(billionths);
        }
        if heard.nonsense > 0 {
            let ignored = self.registry.ignored_figures.with([platform]);
            ignored.add(u64::from(heard.nonsense));
        }
        if heard.slowed > 0 {
            self.report(&event::RefillSlowed {
                call: in_flight.record().id,
                platform,
            });
        }
        if somebody_waits {
            self.look(&in_flight.routed.gate);
        }
    }

    /// Keeps what is refused until some time, and what fails.
    fn stand(&self, in_flight: &mut InFlight, place: &Place, signal: Option<Signal>, now: Moment) {
        let sent = in_flight.sent_at();
        let changed = self.standing.hear(place, signal, sent.mono, now.mono);
        // It has been heard of: another may try, where it was the one that did.
        drop(in_flight.take_trying());
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

    /// Who is not asked for now, and until when.
    pub fn cooldowns(&self) -> Vec<CooldownView> {
        self.standing.views(self.clock.monotonic())
    }
}

/// Where a call goes: whose account pays, and for which models, in names that are no secret.
fn place(routed: &Routed) -> Place {
    let (call, platform) = (&routed.call, &routed.platform);
    let account: Arc<str> = match payer(call, platform) {
        Ok(Payer::Operator) => "operator".into(),
        Ok(Payer::Nobody) => "nobody".into(),
        Ok(Payer::Caller) | Err(_) => {
            format!("{}/{}", call.record.organisation, call.record.user).into()
        }
    };
    Place {
        provider: Arc::clone(&platform.provider),
        account,
        models: model_class(platform.family, &call.record.model_sent).into(),
    }
}
