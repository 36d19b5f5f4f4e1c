//! A pool as people and metrics see it, and as it is saved.

use serde::{Deserialize, Serialize};
use tidegate_types::{Enforcement, Monotonic, Priority};

use crate::{MirrorView, Owner, Pool, Resource, bucket::Bucket};

/// A platform at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolView {
    /// The platform's name.
    pub platform: String,
    /// Its buckets, in the order configured.
    pub buckets: Vec<BucketView>,
    /// Users and classes that refill at half speed.
    pub penalties: Vec<PenaltyView>,
}

/// A bucket at one moment. Figures are whole numbers of its resource; fractions are rounded down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BucketView {
    /// What it is called.
    pub name: String,
    /// What it counts.
    pub resource: Resource,
    /// Whose limit it is.
    pub owner: Owner,
    /// Whether it binds.
    pub enforcement: Enforcement,
    /// The most that can be spent at once.
    pub capacity: u64,
    /// What can be spent now. Below zero where something has to be paid back first; for
    /// concurrency, the free slots.
    pub level: i64,
    /// The stock that `low` and `medium` leave alone.
    pub threshold: u64,
    /// Taken by calls that have not ended.
    pub held: u64,
    /// What has to be refilled before anything can be spent: the level below zero.
    pub debt: u64,
    /// Of the debt, what `critical` overdrew.
    pub overdrawn: u64,
    /// All that was ever spent beyond what was reserved for it.
    pub debt_total: u64,
    /// Until the bucket is full if nobody spends, in seconds, rounded up. `None` for concurrency.
    pub full_in_seconds: Option<u64>,
    /// Each class, `low` first.
    pub classes: Vec<ClassView>,
    /// What the provider was heard to say of it. `None` where it is no provider's.
    pub mirror: Option<MirrorView>,
}

/// One class's standing in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClassView {
    /// The class.
    pub priority: Priority,
    /// What its share has earned and it has not spent.
    pub earned: u64,
    /// Whether a call of it was deferred here and still counts as waiting.
    pub waits: bool,
}

/// Somebody who refills at half speed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PenaltyView {
    /// A user's organisation; `None` where a whole class is meant.
    pub organisation: Option<String>,
    /// A user's name; `None` where a whole class is meant.
    pub user: Option<String>,
    /// A class; `None` where a user is meant.
    pub priority: Option<Priority>,
    /// For how much longer, in seconds, rounded up.
    pub left_seconds: u64,
}

/// One bucket's level, to be kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLevel {
    /// The bucket's name.
    pub bucket: String,
    /// What it counted.
    pub resource: Resource,
    /// Whole tokens, rounded down; below zero in debt. What calls held is not in it.
    pub tokens: i64,
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

impl Pool {
    /// The pool as it would be at `now`. Changes nothing.
    pub fn snapshot(&self, now: Monotonic) -> PoolView {
        let now = self.at(now);
        let names = self.spec().buckets().iter();
        let buckets = names.filter_map(|spec| {
            let mut live = self.buckets.iter().filter(|it| !it.is_retired());
            live.find(|it| it.spec.name == spec.name)
        });
        let left = |until: u64| (until - now).div_ceil(NANOS_PER_SECOND);
        let classes = Priority::ALL.iter().filter_map(|class| {
            let until = self.classes[class.index()].pace.penalised_until(now)?;
            Some(PenaltyView {
                organisation: None,
                user: None,
                priority: Some(*class),
                left_seconds: left(until),
            })
        });
        let users = self.users.penalised(now).map(|(user, until)| PenaltyView {
            organisation: Some(user.organisation.to_string()),
            user: Some(user.name.to_string()),
            priority: None,
            left_seconds: left(until),
        });
        PoolView {
            platform: self.spec().platform().to_owned(),
            buckets: buckets.map(|it| view(it, now)).collect(),
            penalties: classes.chain(users).collect(),
        }
    }

    /// The levels at `now`, for [`Self::restore`]. Concurrency is not saved: no call survives.
    pub fn export(&self, now: Monotonic) -> Vec<SavedLevel> {
        let now = self.at(now);
        let live = self.buckets.iter().filter(|it| !it.is_retired());
        let refilled = live.filter(|it| it.flow.refills());
        refilled
            .map(|it| {
                let mut flow = it.flow;
                flow.advance(now);
                SavedLevel {
                    bucket: it.spec.name.clone(),
                    resource: it.spec.resource,
                    tokens: signed(flow.tokens(flow.level())),
                }
            })
            .collect()
    }
}

fn view(bucket: &Bucket, now: u64) -> BucketView {
    let mut flow = bucket.flow;
    flow.advance(now);
    let spec = &bucket.spec;
    let class = |priority: &Priority| ClassView {
        priority: *priority,
        earned: unsigned(flow.tokens(flow.claim(*priority))),
        waits: flow.waits(*priority),
    };
    BucketView {
        name: spec.name.clone(),
        resource: spec.resource,
        owner: spec.owner,
        enforcement: spec.enforcement,
        capacity: spec.capacity,
        level: signed(flow.tokens(flow.level())),
        threshold: spec.threshold,
        held: bucket.held,
        debt: unsigned(-flow.tokens(flow.level())),
        overdrawn: unsigned(-flow.tokens(-flow.overdrawn())),
        debt_total: bucket.debt_total,
        full_in_seconds: flow.full_in().map(|it| it.div_ceil(NANOS_PER_SECOND)),
        classes: Priority::ALL.iter().map(class).collect(),
        mirror: bucket.mirror.as_ref().map(|it| it.view(spec)),
    }
}

fn signed(tokens: i128) -> i64 {
    let bounded = tokens.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    i64::try_from(bounded).unwrap_or(i64::MIN)
}

fn unsigned(tokens: i128) -> u64 {
    u64::try_from(tokens.max(0)).unwrap_or(u64::MAX)
}
