//! What those who ask before they act say and are told.

use crate::tasks::TaskError;
use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_admission::Wait;
use tidegate_ledger::{EntryPath, Service, Shortage};
use tidegate_types::{Complexity, NanoUsd, Priority, ReservationId, Timestamp, Usage};

use super::{OPEN_MAX, waits::WAITS_MAX};

/// A request for leave to act (T2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmissionAsk {
    /// Where; else the first platform.
    pub platform: Option<String>,
    /// Units of the platform's bucket.
    pub tokens: u64,
    /// Else the key's, else high.
    pub priority: Option<Priority>,
    /// What kind of task it is.
    pub task_type: Option<String>,
    /// How long it will take: it expires at twice that, 15 minutes at least.
    pub estimated_duration: Option<Duration>,
    /// As whom; only for those who may act for others.
    pub user: Option<String>,
    /// A label.
    pub session: Option<String>,
    /// Its task, whose limits apply.
    pub task: Option<String>,
    /// The task's parent.
    pub parent_task: Option<String>,
    /// The most it can cost.
    pub cost: NanoUsd,
    /// What it buys.
    pub service: Option<Service>,
    /// How hard the task is: weighs as much where `tokens` is 0.
    pub complexity: Option<Complexity>,
    /// The channel for notices that is told what became of it, where it waits.
    pub notify: Option<String>,
}

/// Leave to act.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// To be settled, extended or released.
    pub reservation: ReservationId,
    /// Where.
    pub platform: Arc<str>,
    /// When it is settled at its bound if nobody does.
    pub expires_at: Timestamp,
    /// What was found on the way, in words.
    pub reasons: Vec<String>,
}

/// No leave.
#[derive(Clone, Debug)]
pub struct NotAdmitted {
    /// Where.
    pub platform: Arc<str>,
    /// When it would fit; `None` where no wait is known to help.
    pub wait: Option<Wait>,
    /// Another platform that would take it now.
    pub alternative: Option<Arc<str>>,
    /// Which limit, in a word.
    pub limit: Arc<str>,
    /// The budget that is short, in figures.
    pub shortage: Option<Shortage>,
    /// Why, in words.
    pub reasons: Vec<String>,
}

/// Why an admission was not even considered, or a reservation not touched.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// There is no such platform.
    #[error("there is no platform `{asked}`; there are {known}")]
    UnknownPlatform {
        /// As it was named.
        asked: String,
        /// Those there are.
        known: String,
    },
    /// A caller acts as somebody else.
    #[error(
        "this key acts as `{own}`, and may not ask for `{asked}`: leave `user` out, or use an operator's key"
    )]
    OtherUser {
        /// Whose key it is.
        own: Arc<str>,
        /// As it was named.
        asked: String,
    },
    /// None of that name, or not the caller's.
    #[error("there is no open reservation {0}: it has ended, or never was")]
    NotOpen(ReservationId),
    /// More is asked for than there is.
    #[error("the reservation can't be extended: {0}")]
    Short(String),
    /// The task that it is for.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// Too many are open.
    #[error("{OPEN_MAX} reservations are open: settle or release some")]
    TooMany,
    /// Too many wait.
    #[error("{WAITS_MAX} requests for leave wait: ask again later, or without `wait`")]
    TooManyWait,
    /// It can't be written down.
    #[error("the ledger can't be written: {0}")]
    Unwritable(String),
}

/// One, for those who look.
#[derive(Clone, Debug)]
pub struct ReservationView {
    /// Which.
    pub id: ReservationId,
    /// Where it pays.
    pub path: Arc<EntryPath>,
    /// What it holds.
    pub held: NanoUsd,
    /// When it is settled at that.
    pub expires_at: Timestamp,
    /// A crash left it open: whether it was answered is not known.
    pub unknown: bool,
}

/// How a reservation ended, by its holder's word.
#[derive(Clone, Debug, Default)]
pub struct Actual {
    /// What it cost; its hold where it is not said.
    pub cost: Option<NanoUsd>,
    /// Units it used; what was asked for where it is not said.
    pub tokens: Option<u64>,
    /// What it used, for the record.
    pub usage: Option<Usage>,
    /// The model it was spent on, for the record.
    pub model: Option<String>,
}
