//! Usage and performance by the hour, platform, user and task type: sums of calls, made when asked for.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Extension, Json, extract::State};
use tidegate_observe::{
    record::rfc3339_seconds,
    telemetry::{AT, Batch, Kind, calls},
};
use tidegate_segments::Query;
use tidegate_types::{NanoUsd, Timestamp};

use super::{calls::time, logs::sight};
use crate::{
    Control,
    access::Visitor,
    error::{Error, NoAnswer},
    limits::{ACTIVITY_MAX, ACTIVITY_SUMS_MAX},
    read::Asked,
    wire::{Activities, Activity, ActivityQuery, money_text},
};

const HOUR: i64 = 3_600_000_000_000;

/// What is summed where it is not said.
const DAY: Duration = Duration::from_hours(24);

/// What can have sums of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Hour,
    Column(usize),
}

/// By name.
const BY: &[(&str, By)] = &[
    ("hour", By::Hour),
    ("organisation", By::Column(calls::ORGANISATION)),
    ("user", By::Column(calls::USER)),
    ("platform", By::Column(calls::PLATFORM)),
    ("model", By::Column(calls::MODEL_SENT)),
    ("task_type", By::Column(calls::TASK_TYPE)),
    ("class", By::Column(calls::CLASS)),
];

const BY_DEFAULT: &str = "hour,platform,task_type,user";

/// The columns that are added up, in the order of [`Sums`].
const SUMMED: [usize; 8] = [
    calls::INPUT,
    calls::OUTPUT,
    calls::CACHE_READ,
    calls::CACHE_WRITE,
    calls::COST,
    calls::DURATION,
    calls::WAIT,
    calls::FIRST_BYTE,
];

/// What the calls of one key have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Common {
    /// The latest first.
    hour: Reverse<Option<i64>>,
    /// One for each column that is asked for.
    names: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums {
    calls: u64,
    failed: u64,
    refused: u64,
    summed: [u64; SUMMED.len()],
}

fn by_of(asked: Option<&str>) -> Result<Vec<By>, Error> {
    let words = asked.unwrap_or(BY_DEFAULT).split(',').map(str::trim);
    let by = words.map(|word| {
        let found = BY.iter().find(|(name, _)| *name == word);
        found.map(|(_, by)| *by).ok_or_else(|| Error::Value {
            key: "by",
            value: word.chars().take(60).collect(),
            wanted: "of hour, organisation, user, platform, model, task_type and class, joined by commas".to_owned(),
        })
    });
    by.collect()
}

/// Sums of calls: how many, how they ended, what they used and cost, how long they took.
#[utoipa::path(get, path = "/api/v1/activity", tag = "telemetry", params(ActivityQuery),
    responses((status = 200, body = Activities)))]
pub(crate) async fn activity(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Asked(asked): Asked<ActivityQuery>,
) -> Result<Json<Activities>, Error> {
    let by = by_of(asked.by.as_deref())?;
    let filter = sight(&visitor, Kind::Calls, (asked.organisation, asked.user))?;
    let at = |key, text: Option<String>| text.as_deref().map(|it| time(key, it)).transpose();
    let since = at("since", asked.since)?;
    let until = at("until", asked.until)?;
    let day = u64::try_from(DAY.as_nanos()).unwrap_or(u64::MAX);
    let now = control.engine.now().wall;
    let since = since.unwrap_or(Timestamp(now.0.saturating_sub(day)));
    let query = Query::latest(filter, 0).between(since, until.unwrap_or(Timestamp(u64::MAX)));
    let segments = control.segments()?;
    let sums = control.waiting(move |control| {
        control.engine.flush();
        let mut adding = Adding::new(&by);
        let columns = adding.columns();
        let visited = segments.visit(&query, &columns, |batch, rows| adding.add(batch, rows));
        visited.map_err(|it| control.unanswered(&it))?;
        adding.shown()
    });
    sums.await?.map(Json)
}

struct Adding<'a> {
    by: &'a [By],
    sums: BTreeMap<Common, Sums>,
    too_many: bool,
}

impl<'a> Adding<'a> {
    fn new(by: &'a [By]) -> Self {
        Self {
            by,
            sums: BTreeMap::new(),
            too_many: false,
        }
    }

    fn columns(&self) -> Vec<usize> {
        let by = self.by.iter().filter_map(|it| match it {
            By::Hour => None,
            By::Column(column) => Some(*column),
        });
        by.chain(SUMMED).chain([calls::OUTCOME]).collect()
    }

    fn add(&mut self, batch: &Batch, rows: &[u32]) {
        for row in rows.iter().map(|it| usize::try_from(*it).unwrap_or(0)) {
            let common = self.common(batch, row);
            if self.sums.len() >= ACTIVITY_SUMS_MAX && !self.sums.contains_key(&common) {
                self.too_many = true;
                return;
            }
            let sums = self.sums.entry(common).or_default();
            sums.calls += 1;
            match batch.text(calls::OUTCOME, row) {
                Some("refused" | "shed") => sums.refused += 1,
                Some("answered" | "ended" | "client_gone") | None => {}
                Some(_) => sums.failed += 1,
            }
            for (sum, column) in sums.summed.iter_mut().zip(SUMMED) {
                let value = batch.integer(column, row).unwrap_or(0);
                *sum = sum.saturating_add(u64::try_from(value).unwrap_or(0));
            }
        }
    }

    fn common(&self, batch: &Batch, row: usize) -> Common {
        let mut hour = None;
        let mut names = Vec::new();
        for by in self.by {
            match by {
                By::Hour => {
                    let at = batch.integer(AT, row).unwrap_or(0);
                    hour = Some(at.div_euclid(HOUR) * HOUR);
                }
                By::Column(column) => {
                    names.push(batch.text(*column, row).unwrap_or_default().to_owned());
                }
            }
        }
        Common {
            hour: Reverse(hour),
            names,
        }
    }

    fn shown(self) -> Result<Activities, Error> {
        if self.too_many {
            return Err(Error::from(NoAnswer::TooMuch(format!(
                "there are more than {ACTIVITY_SUMS_MAX} different sums: ask for a shorter time, or by fewer of {BY_DEFAULT}"
            ))));
        }
        let cut = self.sums.len() > ACTIVITY_MAX;
        let by = self.by;
        let mut all: Vec<(Common, Sums)> = self.sums.into_iter().collect();
        // In one hour the dearest first.
        all.sort_by_key(|(common, sums)| (common.hour, Reverse(sums.summed[4])));
        all.truncate(ACTIVITY_MAX);
        let activity = all.into_iter().map(|it| shown(by, it)).collect();
        Ok(Activities { activity, cut })
    }
}

fn shown(by: &[By], (common, sums): (Common, Sums)) -> Activity {
    let hour = common.hour.0.and_then(|it| u64::try_from(it).ok());
    let mut activity = Activity {
        hour: hour.map(|it| rfc3339_seconds(Timestamp(it))),
        ..Activity::default()
    };
    let columns = by.iter().filter(|it| **it != By::Hour);
    for (by, name) in columns.zip(common.names) {
        let place = match by {
            By::Column(calls::ORGANISATION) => &mut activity.organisation,
            By::Column(calls::USER) => &mut activity.user,
            By::Column(calls::PLATFORM) => &mut activity.platform,
            By::Column(calls::MODEL_SENT) => &mut activity.model,
            By::Column(calls::TASK_TYPE) => &mut activity.task_type,
            By::Column(_) | By::Hour => &mut activity.class,
        };
        *place = Some(name);
    }
    let [
        input,
        output,
        cache_read,
        cache_write,
        cost,
        duration,
        wait,
        first_byte,
    ] = sums.summed;
    Activity {
        calls: sums.calls,
        failed: sums.failed,
        refused: sums.refused,
        input_tokens: input,
        output_tokens: output,
        cache_read_tokens: cache_read,
        cache_write_tokens: cache_write,
        cost_nano_usd: cost,
        cost_usd: money_text(NanoUsd(cost)),
        duration_us: duration,
        wait_us: wait,
        first_byte_us: first_byte,
        ..activity
    }
}
