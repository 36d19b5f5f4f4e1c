//! Which window a call belongs to.

use expect_test::expect;

use super::*;

#[test]
fn a_call_belongs_to_the_windows_of_its_reservation_for_good() {
    check(
        "
        limit user_day hard 5
        at 2026-07-31T23:59:59.999999999Z
        path ann
        reserve a 3
        at 2026-08-01T00:00:00Z
        reserve b 3
        path ann
        reserve b 3
        extend a 2
        settle a 4
        levels
        evict 2026-07-01T00:00:00Z
        evict 2026-07-01T00:00:00Z
        levels
        ",
        expect![[r#"
            limit user_day hard 5 -> in force
            at 2026-07-31T23:59:59.999999999Z
            path ann
            reserve a 3 -> held; bound by user_day
            at 2026-08-01T00:00:00Z
            reserve b 3 -> stale
            path ann
            reserve b 3 -> held; bound by user_day
            extend a 2 -> held; bound by user_day
            settle a 4 -> cost $4.00, user_day at 80 %
            levels -> 
                organisation acme 2026-07-01: spent $4.00, held $0.00, would refuse 0
                user_month acme/ann 2026-07-01: spent $4.00, held $0.00, would refuse 0
                user_day acme/ann 2026-07-14: spent $0.00, held $0.00, would refuse 0
                llm acme 2026-07-01: spent $4.00, held $0.00, would refuse 0
                task acme/ann/t1: spent $0.00, held $0.00, would refuse 0
                user_day acme/ann 2026-07-31: spent $4.00, held $0.00, would refuse 0
                organisation acme 2026-08-01: spent $0.00, held $3.00, would refuse 0
                user_month acme/ann 2026-08-01: spent $0.00, held $3.00, would refuse 0
                user_day acme/ann 2026-08-01: spent $0.00, held $3.00, would refuse 0
                llm acme 2026-08-01: spent $0.00, held $3.00, would refuse 0
            evict 2026-07-01T00:00:00Z -> 0 gone
            evict 2026-07-01T00:00:00Z -> 4 gone
            levels -> 
                task acme/ann/t1: spent $0.00, held $0.00, would refuse 0
                user_day acme/ann 2026-07-31: spent $4.00, held $0.00, would refuse 0
                organisation acme 2026-08-01: spent $0.00, held $3.00, would refuse 0
                user_month acme/ann 2026-08-01: spent $0.00, held $3.00, would refuse 0
                user_day acme/ann 2026-08-01: spent $0.00, held $3.00, would refuse 0
                llm acme 2026-08-01: spent $0.00, held $3.00, would refuse 0
        "#]],
    );
}

/// What was booked a moment ago may not be durable yet.
#[test]
fn a_level_is_forgotten_in_the_second_round_in_which_nothing_was_booked_on_it() {
    check(
        "
        at 2026-07-31T23:00:00Z
        path ann
        reserve a 3
        reserve b 3
        at 2026-08-01T00:00:00Z
        settle a 1
        evict 2026-07-01T00:00:00Z
        settle b 1
        evict 2026-07-01T00:00:00Z
        evict 2026-07-01T00:00:00Z
        ",
        expect![[r#"
            at 2026-07-31T23:00:00Z
            path ann
            reserve a 3 -> held
            reserve b 3 -> held
            at 2026-08-01T00:00:00Z
            settle a 1 -> cost $1.00
            evict 2026-07-01T00:00:00Z -> 0 gone
            settle b 1 -> cost $1.00
            evict 2026-07-01T00:00:00Z -> 1 gone
            evict 2026-07-01T00:00:00Z -> 4 gone
        "#]],
    );
}

#[test]
fn a_clock_that_steps_back_opens_no_window_that_is_closed() {
    check(
        "
        limit user_day hard 5
        at 2026-07-14T23:00:00Z
        path ann
        reserve a 5
        at 2026-07-15T00:00:00Z
        path ann
        reserve b 5
        at 2026-07-14T23:00:00Z
        reserve c 0.01
        path ann
        reserve c 0.01
        ",
        expect![[r#"
            limit user_day hard 5 -> in force
            at 2026-07-14T23:00:00Z
            path ann
            reserve a 5 -> held; bound by user_day
            at 2026-07-15T00:00:00Z
            path ann
            reserve b 5 -> held; bound by user_day
            at 2026-07-14T23:00:00Z
            reserve c 0.01 -> refused by user_day: limit $5.00, spent $0.00, held $5.00, asked $0.01, resets 2026-07-16T00:00:00Z
            path ann
            reserve c 0.01 -> refused by user_day: limit $5.00, spent $0.00, held $5.00, asked $0.01, resets 2026-07-16T00:00:00Z
        "#]],
    );
}

#[test]
fn what_is_spent_stays_spent_when_the_zone_is_corrected() {
    check(
        "
        limit user_day hard 5
        at 2026-07-14T12:00:00Z
        path ann
        reserve a 4
        settle a 4
        zone America/New_York
        reserve b 2
        path ann
        reserve b 2
        at 2026-07-15T03:59:59Z
        reserve b 2
        at 2026-07-15T04:00:00Z
        path ann
        reserve b 2
        zone Asia/Kolkata
        path ann
        zone America/New_York
        path ann
        reserve c 4
        ",
        expect![[r#"
            limit user_day hard 5 -> in force
            at 2026-07-14T12:00:00Z
            path ann
            reserve a 4 -> held; bound by user_day
            settle a 4 -> cost $4.00, user_day at 80 %
            zone America/New_York -> in force
            reserve b 2 -> stale
            path ann
            reserve b 2 -> refused by user_day: limit $5.00, spent $4.00, held $0.00, asked $2.00, resets 2026-07-15T04:00:00Z
            at 2026-07-15T03:59:59Z
            reserve b 2 -> refused by user_day: limit $5.00, spent $4.00, held $0.00, asked $2.00, resets 2026-07-15T04:00:00Z
            at 2026-07-15T04:00:00Z
            path ann
            reserve b 2 -> held; bound by user_day
            zone Asia/Kolkata -> in force
            path ann
            zone America/New_York -> in force
            path ann
            reserve c 4 -> refused by user_day: limit $5.00, spent $0.00, held $2.00, asked $4.00, resets 2026-07-16T04:00:00Z
        "#]],
    );
}

#[test]
fn a_zone_further_west_does_not_open_the_day_before() {
    check(
        "
        zone Asia/Kolkata
        limit user_day hard 5
        at 2026-07-14T20:00:00Z
        path ann
        reserve a 4
        settle a 4
        zone America/New_York
        path ann
        reserve b 2
        at 2026-07-16T03:59:59Z
        reserve b 2
        at 2026-07-16T04:00:00Z
        path ann
        reserve b 2
        ",
        expect![[r#"
            zone Asia/Kolkata -> in force
            limit user_day hard 5 -> in force
            at 2026-07-14T20:00:00Z
            path ann
            reserve a 4 -> held; bound by user_day
            settle a 4 -> cost $4.00, user_day at 80 %
            zone America/New_York -> in force
            path ann
            reserve b 2 -> refused by user_day: limit $5.00, spent $4.00, held $0.00, asked $2.00, resets 2026-07-16T04:00:00Z
            at 2026-07-16T03:59:59Z
            reserve b 2 -> refused by user_day: limit $5.00, spent $4.00, held $0.00, asked $2.00, resets 2026-07-16T04:00:00Z
            at 2026-07-16T04:00:00Z
            path ann
            reserve b 2 -> held; bound by user_day
        "#]],
    );
}

#[test]
fn the_latest_time_of_the_durable_ledger_keeps_older_windows_closed() {
    let policy = BudgetPolicy::built_in(TimeZone::UTC);
    let mut books = Books::new("acme", Arc::new(policy));
    books.not_before(at("2026-08-01T00:00:00Z"));
    let path = books.path("ann", None, Service::Llm, at("2026-07-31T23:00:00Z"));
    assert_eq!(path.entry().month.opens.to_string(), "2026-08-01");
}
