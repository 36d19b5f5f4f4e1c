//! Takes notices from the engine, and delivers them in a task of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tidegate_engine::{
    Engine,
    approvals::LinkKey,
    notices::{NoticeSink, Unsaved},
};
use tidegate_ledger::{SettingStore, StoreError};
use tidegate_observe::{
    event,
    notice::{Notice, NoticeId, Topic},
    record::Fields,
};
use tidegate_types::Timestamp;
use tokio::{sync::Notify, task::JoinSet};

use crate::{
    Channel,
    form::{self, Links},
    outbox::{Delivery, Fate, Outbox, Pace},
    post::{Answer, Post, PostError, Tls, post},
    signature::sign,
};

/// The setting under which the outbox is kept.
const OUTBOX: &str = "notices";

/// How long the task sleeps where nothing is due: a clock that was set is noticed by then.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Characters of an answer that are told.
const SAYS_CHARS_MAX: usize = 200;

/// How a channel does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelState {
    /// Its name.
    pub name: Arc<str>,
    /// `json` or `slack`.
    pub format: &'static str,
    /// Notices that wait for it.
    pub waiting: usize,
    /// Since when it takes none, and what it says; `None` where it does, or was not tried yet.
    pub failing: Option<(Timestamp, String)>,
    /// Notices that were given up since the start, refused for good or too old, or dropped.
    pub lost: u64,
}

/// What came back of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    /// The HTTP status.
    pub status: u16,
    /// The beginning of what was answered.
    pub says: String,
}

/// Nothing came back of a test.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untested {
    /// There is no such channel.
    #[error("there is no channel `{asked}`; the configuration has {known}")]
    UnknownChannel {
        /// As it was named.
        asked: String,
        /// Those there are.
        known: String,
    },
    /// There was no answer.
    #[error("{0}")]
    Unanswered(String),
}

#[derive(Debug, Default)]
struct State {
    outbox: Outbox,
    /// Rises with every change of the outbox.
    version: u64,
    saved: u64,
    channels: BTreeMap<Arc<str>, Arc<Channel>>,
    address: String,
    doing: BTreeMap<Arc<str>, Doing>,
    dropped: BTreeMap<Arc<str>, u64>,
}

/// What was seen of a channel since the start.
#[derive(Debug, Default)]
struct Doing {
    failing: Option<(Timestamp, String)>,
    lost: u64,
}

/// Delivers notices.
#[derive(Debug)]
pub struct Courier {
    state: Mutex<State>,
    changed: Notify,
    links: LinkKey,
    tls: Tls,
    pace: Pace,
}

impl NoticeSink for Courier {
    fn give(&self, notice: Notice) {
        let mut state = self.state.lock();
        let wanted = |it: &&Arc<Channel>| match &notice.to {
            Some(name) => *it.name == **name,
            None => it.topics.contains(&notice.topic),
        };
        let channels: Vec<Arc<str>> = state
            .channels
            .values()
            .filter(wanted)
            .map(|it| Arc::clone(&it.name))
            .collect();
        if channels.is_empty() {
            return;
        }
        let now = notice.at;
        for channel in state.outbox.give(notice, channels.into_iter(), now) {
            *state.dropped.entry(channel).or_default() += 1;
        }
        state.version += 1;
        drop(state);
        self.changed.notify_one();
    }

    fn unsaved(&self) -> Option<Unsaved> {
        let (outbox, version) = {
            let state = self.state.lock();
            if state.version == state.saved {
                return None;
            }
            (state.outbox.clone(), state.version)
        };
        Some(Unsaved {
            name: OUTBOX,
            value: serde_json::to_vec(&outbox).unwrap_or_default(),
            version,
        })
    }

    fn saved(&self, version: u64) {
        let mut state = self.state.lock();
        state.saved = state.saved.max(version);
    }
}

impl Courier {
    /// With what an earlier run left undelivered. `links` signs the links in notices.
    pub fn kept(
        settings: &dyn SettingStore,
        links: LinkKey,
        pace: Pace,
    ) -> Result<Self, StoreError> {
        let kept = settings.setting(OUTBOX)?;
        // What can't be read was written by another version.
        let outbox = kept.and_then(|it| serde_json::from_slice(&it).ok());
        Ok(Self {
            state: Mutex::new(State {
                outbox: outbox.unwrap_or_default(),
                ..State::default()
            }),
            changed: Notify::new(),
            links,
            tls: Tls::of_the_machine(),
            pace,
        })
    }

    /// Puts other channels in force. What waits for one that is gone is forgotten.
    pub fn put_channels(&self, channels: Vec<Channel>) {
        let mut state = self.state.lock();
        let channels = channels.into_iter().map(Arc::new);
        state.channels = channels.map(|it| (Arc::clone(&it.name), it)).collect();
        let State {
            outbox,
            channels,
            doing,
            ..
        } = &mut *state;
        outbox.keep(|it| channels.contains_key(it));
        doing.retain(|name, _| channels.contains_key(name));
        state.version += 1;
        drop(state);
        self.changed.notify_one();
    }

    /// Says where links lead: `https://tidegate.example.com`, without a closing slash.
    pub fn put_address(&self, address: String) {
        self.state.lock().address = address;
    }

    /// All channels, by name.
    pub fn channels(&self) -> Vec<ChannelState> {
        let state = self.state.lock();
        let one = |it: &Arc<Channel>| {
            let doing = state.doing.get(&it.name);
            ChannelState {
                name: Arc::clone(&it.name),
                format: it.format.word(),
                waiting: state.outbox.waiting(&it.name),
                failing: doing.and_then(|it| it.failing.clone()),
                lost: doing.map_or(0, |it| it.lost),
            }
        };
        state.channels.values().map(one).collect()
    }

    /// Delivers until `stop` is ready; what is under way then is delivered again after a restart.
    pub async fn run(self: Arc<Self>, engine: Arc<Engine>, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut sent = JoinSet::new();
        let mut busy = BTreeSet::new();
        loop {
            let now = engine.now().wall;
            for (delivery, channel) in self.due(&busy, now) {
                busy.insert(Arc::clone(&channel.name));
                let courier = Arc::clone(&self);
                sent.spawn(async move {
                    let answer = courier.post(&delivery.notice, &channel, now).await;
                    (delivery, answer)
                });
            }
            self.measure(&engine);
            let wait = self.state.lock().outbox.next(&busy);
            let wait = wait.map_or(LOOK_EVERY, |it| it.since(now).min(LOOK_EVERY));
            tokio::select! {
                () = &mut stop => return,
                () = self.changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
                Some(done) = sent.join_next() => match done {
                    Ok((delivery, answer)) => {
                        busy.remove(&delivery.channel);
                        self.ended(&engine, &delivery, answer);
                    }
                    // Nobody aborts them: a defect of ours, by which no channel stays busy.
                    Err(_panicked) => busy.clear(),
                },
            }
        }
    }

    /// Sends a test to a channel, once, past everything that waits for it.
    pub async fn test(&self, name: &str, now: Timestamp) -> Result<Tested, Untested> {
        let channel = {
            let state = self.state.lock();
            let known = || {
                let names: Vec<String> =
                    state.channels.keys().map(|it| format!("`{it}`")).collect();
                if names.is_empty() {
                    "none: name one below `[notify.webhooks.NAME]`".to_owned()
                } else {
                    names.join(", ")
                }
            };
            state
                .channels
                .get(name)
                .cloned()
                .ok_or_else(|| Untested::UnknownChannel {
                    asked: name.chars().take(64).collect(),
                    known: known(),
                })?
        };
        let notice = Notice {
            id: NoticeId::from_raw(now.0),
            at: now,
            topic: Topic::Test,
            text: format!("Tidegate's notices for `{name}` arrive here."),
            fields: Fields::new().with("channel", name),
            decides: None,
            to: None,
        };
        let answer = self.post(&notice, &channel, now).await;
        let answer = answer.map_err(|it| Untested::Unanswered(it.to_string()))?;
        Ok(Tested {
            status: answer.status.as_u16(),
            says: shortened(&answer.says),
        })
    }

    async fn post(
        &self,
        notice: &Notice,
        channel: &Channel,
        now: Timestamp,
    ) -> Result<Answer, PostError> {
        let body = {
            let state = self.state.lock();
            let links = Links {
                address: &state.address,
                key: &self.links,
            };
            form::body(notice, channel, &links)
        };
        let secret = channel.secret.as_ref();
        let signed = Post {
            notice: notice.id.to_string(),
            signature: secret.map(|it| sign(it.expose(), now.seconds(), body.as_bytes())),
            body,
        };
        post(&channel.target, &self.tls, signed).await
    }

    /// At most one delivery for each channel that is not busy.
    fn due(&self, busy: &BTreeSet<Arc<str>>, now: Timestamp) -> Vec<(Delivery, Arc<Channel>)> {
        let state = self.state.lock();
        let idle = state
            .channels
            .values()
            .filter(|it| !busy.contains(&it.name));
        idle.filter_map(|channel| {
            let due = state.outbox.due(&channel.name, now, &self.pace)?;
            Some((due, Arc::clone(channel)))
        })
        .collect()
    }

    fn ended(&self, engine: &Engine, delivery: &Delivery, answer: Result<Answer, PostError>) {
        let now = engine.now().wall;
        let (notice, channel) = (delivery.notice.id, &*delivery.channel);
        let (is_final, wait, reason) = match answer {
            Ok(answer) if answer.status.is_success() => {
                self.delivered(engine, delivery);
                return;
            }
            Ok(answer) => {
                let says = shortened(&answer.says);
                let reason = format!("{} {says}", answer.status.as_u16());
                (
                    answer.is_final(),
                    answer.retry_after,
                    reason.trim_end().to_owned(),
                )
            }
            Err(unanswered) => (false, None, unanswered.to_string()),
        };
        let reason = engine.tellable(&reason).into_owned();
        let (fate, newly) = {
            let mut state = self.state.lock();
            let fate = state.outbox.failed(
                (notice, channel),
                is_final,
                wait,
                (now, &self.pace, chance()),
            );
            state.version += 1;
            let doing = state
                .doing
                .entry(Arc::clone(&delivery.channel))
                .or_default();
            doing.lost += u64::from(fate == Fate::Lost);
            let newly = doing.failing.is_none();
            let since = doing.failing.take().map_or(now, |(since, _)| since);
            doing.failing = Some((since, reason.clone()));
            (fate, newly)
        };
        engine.save_notices();
        let result = match fate {
            Fate::Retried => "retried",
            Fate::Lost => "lost",
        };
        engine.report(&event::NoticeTried {
            notice,
            channel,
            result,
        });
        if newly {
            let reason = reason.as_str();
            engine.report(&event::ChannelFailing { channel, reason });
        }
        if fate == Fate::Lost {
            engine.report(&event::NoticeLost {
                notice,
                topic: delivery.notice.topic.word(),
                channel,
                reason: &reason,
            });
        }
    }

    fn delivered(&self, engine: &Engine, delivery: &Delivery) {
        let (notice, channel) = (delivery.notice.id, &*delivery.channel);
        let works = {
            let mut state = self.state.lock();
            state.outbox.delivered(notice, channel);
            state.version += 1;
            let doing = state
                .doing
                .entry(Arc::clone(&delivery.channel))
                .or_default();
            doing.failing.take().is_some()
        };
        engine.save_notices();
        engine.report(&event::NoticeTried {
            notice,
            channel,
            result: "delivered",
        });
        if works {
            engine.report(&event::ChannelWorks { channel });
        }
    }

    /// Tells what was dropped, and how many wait.
    fn measure(&self, engine: &Engine) {
        let (dropped, waiting) = {
            let mut state = self.state.lock();
            let dropped = std::mem::take(&mut state.dropped);
            for (channel, notices) in &dropped {
                let doing = state.doing.entry(Arc::clone(channel)).or_default();
                doing.lost += notices;
            }
            let names = state.channels.keys();
            let waiting: Vec<_> = names
                .map(|it| (Arc::clone(it), state.outbox.waiting(it)))
                .collect();
            (dropped, waiting)
        };
        for (channel, notices) in dropped {
            let channel = &*channel;
            engine.report(&event::NoticesDropped { channel, notices });
        }
        for (channel, waiting) in waiting {
            let gauge = engine.registry().waiting_notices.with([&channel]);
            gauge.set(waiting as u64);
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(SAYS_CHARS_MAX).collect()
}

/// Any number. Without randomness deliveries that failed together are tried together.
fn chance() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap_or_default();
    u64::from_ne_bytes(bytes)
}
