//! What was learned of a provider's bucket: as people see it, and as it outlasts a restart.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FOREIGN_PARTS_MAX, Mirror, PACE_PARTS_MIN, scaled};
use crate::{BucketSpec, CAPACITY_MAX, PERIOD_MAX, Refill, Resource, flow::PACE_WHOLE};

/// What was learned of a bucket, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MirrorView {
    /// Answers that said something of it and were followed.
    pub answers: u64,
    /// Figures that made no sense.
    pub nonsense: u64,
    /// How far it was from the last word, in millionths of the capacity.
    pub error_ppm: u64,
    /// What others on the same account are taken to use, in parts of a thousand of the refill.
    pub foreign_permille: u32,
    /// What the refill is slowed to by that and by refusals, in parts of a thousand.
    pub pace_permille: u32,
    /// The configured capacity, where the provider's own has taken its place.
    pub configured_capacity: Option<u64>,
}

/// What was learned of a bucket, to be kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMirror {
    /// The bucket's name.
    pub bucket: String,
    /// What it counts.
    pub resource: Resource,
    /// What it was configured to hold.
    pub configured: u64,
    /// What the provider says it holds.
    pub capacity: u64,
    /// Added per period, as the provider says.
    pub amount: u64,
    /// The period.
    pub period: Duration,
    /// Parts of a thousand that others use.
    pub foreign: u32,
    /// Parts of a thousand that refusals have left.
    pub slowed: u32,
}

impl Mirror {
    pub(crate) fn view(&self, spec: &BucketSpec) -> MirrorView {
        let configured = self.configured.0;
        MirrorView {
            answers: self.answers,
            nonsense: self.nonsense,
            error_ppm: self.error_ppm,
            foreign_permille: self.foreign,
            pace_permille: self.pace(),
            configured_capacity: Some(configured).filter(|it| *it != spec.capacity),
        }
    }

    pub(crate) fn save(&self, spec: &BucketSpec) -> Option<SavedMirror> {
        let refill = spec.refill?;
        Some(SavedMirror {
            bucket: spec.name.clone(),
            resource: spec.resource,
            configured: self.configured.0,
            capacity: spec.capacity,
            amount: refill.amount,
            period: refill.period,
            foreign: self.foreign,
            slowed: self.slowed,
        })
    }

    /// Takes over what an earlier run learned. Answers the figures that were in force, if they fit
    /// what is configured now.
    pub(crate) fn restore(&mut self, saved: &SavedMirror, spec: &BucketSpec) -> Option<BucketSpec> {
        let (configured, _, threshold) = self.configured;
        let sane = (1..=CAPACITY_MAX).contains(&saved.capacity)
            && (1..=crate::AMOUNT_MAX).contains(&saved.amount)
            && !saved.period.is_zero()
            && saved.period <= PERIOD_MAX;
        if saved.configured != configured || !sane {
            return None;
        }
        self.foreign = saved.foreign.min(FOREIGN_PARTS_MAX);
        self.slowed = saved.slowed.clamp(PACE_PARTS_MIN, PACE_WHOLE);
        Some(BucketSpec {
            capacity: saved.capacity,
            threshold: scaled(threshold, saved.capacity, configured),
            refill: Some(Refill {
                amount: saved.amount,
                period: saved.period,
            }),
            ..spec.clone()
        })
    }
}
