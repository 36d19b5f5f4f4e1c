//! Windows of time, as pure functions of the wall clock: nothing resets them, so nothing can fail to.

use jiff::{
    Timestamp as Instant, ToSpan as _,
    civil::{Date, Weekday},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};
use tidegate_types::Timestamp;

/// How long a window lasts, by the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// From midnight to midnight: 23 to 25 hours where clocks change.
    Day,
    /// From Monday to Sunday.
    Week,
    /// From the first of a month to its last day.
    Month,
}

/// One window: its first civil day and the instants between which it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// The first day, in the zone the window was made for. It names the window.
    pub opens: Date,
    /// The first instant.
    pub start: Timestamp,
    /// The first instant that is no longer in it.
    pub end: Timestamp,
}

impl Window {
    /// The window that `now` lies in.
    #[must_use]
    pub fn at(period: Period, zone: &TimeZone, now: Timestamp) -> Self {
        let today = zone.to_datetime(instant(now)).date();
        Self::starting(period, zone, first_day(period, today))
    }

    /// The window of which `day` is a part, whatever the time is.
    #[must_use]
    pub fn containing(period: Period, zone: &TimeZone, day: Date) -> Self {
        Self::starting(period, zone, first_day(period, day))
    }

    fn starting(period: Period, zone: &TimeZone, opens: Date) -> Self {
        let span = match period {
            Period::Day => 1.day(),
            Period::Week => 1.week(),
            Period::Month => 1.month(),
        };
        let next = opens.checked_add(span).unwrap_or(Date::MAX);
        Self {
            opens,
            start: midnight(zone, opens),
            end: midnight(zone, next),
        }
    }
}

fn first_day(period: Period, day: Date) -> Date {
    match period {
        Period::Day => day,
        Period::Month => day.first_of_month(),
        Period::Week if day.weekday() == Weekday::Monday => day,
        Period::Week => day.nth_weekday(-1, Weekday::Monday).unwrap_or(day),
    }
}

/// The first instant of a day. Where clocks are put forward at midnight, that is 01:00; where they
/// are put back to the day before, the first of the two midnights.
fn midnight(zone: &TimeZone, day: Date) -> Timestamp {
    let first = zone.to_ambiguous_timestamp(day.to_datetime(jiff::civil::Time::midnight()));
    let nanos = first.compatible().unwrap_or(Instant::MAX).as_nanosecond();
    // Before the epoch and after 2554 there is nothing to account for.
    Timestamp(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

fn instant(at: Timestamp) -> Instant {
    Instant::from_nanosecond(i128::from(at.0)).unwrap_or(Instant::MAX)
}

#[cfg(test)]
mod tests;
