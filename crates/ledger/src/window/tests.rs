use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const ZONES: [&str; 8] = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Havana",
];

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn at(text: &str) -> Timestamp {
    let instant: Instant = text.parse().unwrap();
    Timestamp(u64::try_from(instant.as_nanosecond()).unwrap())
}

/// Lines of `period zone instant`; shows the window and its length in hours.
fn check(script: &str, expected: Expect) {
    let mut shown = Vec::new();
    for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let [period, name, now] = *line.split(' ').collect::<Vec<_>>() else {
            panic!("`{line}`");
        };
        let period = match period {
            "day" => Period::Day,
            "week" => Period::Week,
            _ => Period::Month,
        };
        let it = Window::at(period, &zone(name), at(now));
        let hours = it.end.since(it.start).as_secs() / 3600;
        let (start, end) = (instant(it.start), instant(it.end));
        shown.push(format!(
            "{line}: {} {start} to {end}, {hours} h\n",
            it.opens
        ));
    }
    expected.assert_eq(&shown.concat());
}

#[test]
fn a_month_is_the_zones_own() {
    check(
        "
        month UTC 2026-07-31T23:59:59.999999999Z
        month UTC 2026-08-01T00:00:00Z
        month America/New_York 2026-08-01T03:59:59Z
        month America/New_York 2026-08-01T04:00:00Z
        month Asia/Kolkata 2026-07-31T18:30:00Z
        month Europe/Berlin 2028-02-29T12:00:00Z
        month Europe/Berlin 2026-03-15T12:00:00Z
        ",
        expect![[r#"
            month UTC 2026-07-31T23:59:59.999999999Z: 2026-07-01 2026-07-01T00:00:00Z to 2026-08-01T00:00:00Z, 744 h
            month UTC 2026-08-01T00:00:00Z: 2026-08-01 2026-08-01T00:00:00Z to 2026-09-01T00:00:00Z, 744 h
            month America/New_York 2026-08-01T03:59:59Z: 2026-07-01 2026-07-01T04:00:00Z to 2026-08-01T04:00:00Z, 744 h
            month America/New_York 2026-08-01T04:00:00Z: 2026-08-01 2026-08-01T04:00:00Z to 2026-09-01T04:00:00Z, 744 h
            month Asia/Kolkata 2026-07-31T18:30:00Z: 2026-08-01 2026-07-31T18:30:00Z to 2026-08-31T18:30:00Z, 744 h
            month Europe/Berlin 2028-02-29T12:00:00Z: 2028-02-01 2028-01-31T23:00:00Z to 2028-02-29T23:00:00Z, 696 h
            month Europe/Berlin 2026-03-15T12:00:00Z: 2026-03-01 2026-02-28T23:00:00Z to 2026-03-31T22:00:00Z, 743 h
        "#]],
    );
}

#[test]
fn a_day_lasts_23_to_25_hours_where_clocks_change() {
    check(
        "
        day Europe/Berlin 2026-03-29T12:00:00Z
        day Europe/Berlin 2026-10-25T12:00:00Z
        day Australia/Lord_Howe 2026-04-04T20:00:00Z
        day America/Sao_Paulo 2018-11-04T12:00:00Z
        day America/Sao_Paulo 2018-02-17T12:00:00Z
        day America/Havana 2026-11-01T12:00:00Z
        ",
        expect![[r#"
            day Europe/Berlin 2026-03-29T12:00:00Z: 2026-03-29 2026-03-28T23:00:00Z to 2026-03-29T22:00:00Z, 23 h
            day Europe/Berlin 2026-10-25T12:00:00Z: 2026-10-25 2026-10-24T22:00:00Z to 2026-10-25T23:00:00Z, 25 h
            day Australia/Lord_Howe 2026-04-04T20:00:00Z: 2026-04-05 2026-04-04T13:00:00Z to 2026-04-05T13:30:00Z, 24 h
            day America/Sao_Paulo 2018-11-04T12:00:00Z: 2018-11-04 2018-11-04T03:00:00Z to 2018-11-05T02:00:00Z, 23 h
            day America/Sao_Paulo 2018-02-17T12:00:00Z: 2018-02-17 2018-02-17T02:00:00Z to 2018-02-18T03:00:00Z, 25 h
            day America/Havana 2026-11-01T12:00:00Z: 2026-11-01 2026-11-01T04:00:00Z to 2026-11-02T05:00:00Z, 25 h
        "#]],
    );
}

#[test]
fn a_day_that_a_zone_leaves_out_is_no_window() {
    check(
        "
        day Pacific/Apia 2011-12-30T09:59:59Z
        day Pacific/Apia 2011-12-30T10:00:00Z
        ",
        expect![[r#"
            day Pacific/Apia 2011-12-30T09:59:59Z: 2011-12-29 2011-12-29T10:00:00Z to 2011-12-30T10:00:00Z, 24 h
            day Pacific/Apia 2011-12-30T10:00:00Z: 2011-12-31 2011-12-30T10:00:00Z to 2011-12-31T10:00:00Z, 24 h
        "#]],
    );
}

#[test]
fn weeks_begin_on_monday_also_across_a_year() {
    check(
        "
        week UTC 2027-01-03T23:59:59Z
        week UTC 2027-01-04T00:00:00Z
        week Europe/Berlin 2026-03-29T12:00:00Z
        ",
        expect![[r#"
            week UTC 2027-01-03T23:59:59Z: 2026-12-28 2026-12-28T00:00:00Z to 2027-01-04T00:00:00Z, 168 h
            week UTC 2027-01-04T00:00:00Z: 2027-01-04 2027-01-04T00:00:00Z to 2027-01-11T00:00:00Z, 168 h
            week Europe/Berlin 2026-03-29T12:00:00Z: 2026-03-23 2026-03-22T23:00:00Z to 2026-03-29T22:00:00Z, 167 h
        "#]],
    );
}

proptest! {
    #[test]
    fn windows_tile_time_in_every_zone(
        seconds in 86_400_u64 * 40..4_100_000_000,
        name in prop::sample::select(&ZONES[..]),
        period in prop::sample::select(&[Period::Day, Period::Week, Period::Month][..]),
    ) {
        let (zone, now) = (zone(name), Timestamp::from_seconds(seconds));
        let it = Window::at(period, &zone, now);
        prop_assert!(it.start <= now && now < it.end, "{it:?} {now:?}");
        prop_assert_eq!(Window::at(period, &zone, it.start), it);
        prop_assert_eq!(Window::at(period, &zone, it.end).start, it.end);
        prop_assert_eq!(Window::containing(period, &zone, it.opens), it);
    }
}
