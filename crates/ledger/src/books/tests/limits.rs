//! What limits let pass, and what books remember.

use expect_test::expect;

use super::*;

#[test]
fn a_hard_limit_counts_what_is_settled_and_every_bound_that_is_held() {
    check(
        "
        limit task hard 5
        path ann/t1
        reserve a 3
        reserve b 2.000000001
        reserve b 2
        headroom
        settle a 1
        headroom
        reserve c 2.000000001
        reserve c 2
        release b
        settle c 2
        levels
        ",
        expect![[r#"
            limit task hard 5 -> in force
            path ann/t1
            reserve a 3 -> held; bound by task
            reserve b 2.000000001 -> refused by task: limit $5.00, spent $0.00, held $3.00, asked $2.000000001, resets never
            reserve b 2 -> held; bound by task
            headroom -> $0.00 left of $5.00 on task
            settle a 1 -> cost $1.00
            headroom -> $2.00 left of $5.00 on task
            reserve c 2.000000001 -> refused by task: limit $5.00, spent $1.00, held $2.00, asked $2.000000001, resets never
            reserve c 2 -> held; bound by task
            release b -> released
            settle c 2 -> cost $2.00, task at 50 %
            levels -> 
                organisation acme 2026-07-01: spent $3.00, held $0.00, would refuse 0
                user_month acme/ann 2026-07-01: spent $3.00, held $0.00, would refuse 0
                user_day acme/ann 2026-07-14: spent $3.00, held $0.00, would refuse 0
                llm acme 2026-07-01: spent $3.00, held $0.00, would refuse 0
                task acme/ann/t1: spent $3.00, held $0.00, would refuse 0
        "#]],
    );
}

#[test]
fn levels_are_checked_in_the_order_of_the_specification() {
    check(
        "
        limit organisation hard 4
        limit user_month hard 3
        limit user_day hard 2
        limit llm hard 2
        limit task hard 1
        path ann/t1
        reserve a 4.5
        reserve a 3.5
        reserve a 2.5
        reserve a 1.5
        headroom
        limit user_day hard 9
        path ann/t1
        reserve a 2.5
        ",
        expect![[r#"
            limit organisation hard 4 -> in force
            limit user_month hard 3 -> in force
            limit user_day hard 2 -> in force
            limit llm hard 2 -> in force
            limit task hard 1 -> in force
            path ann/t1
            reserve a 4.5 -> refused by organisation: limit $4.00, spent $0.00, held $0.00, asked $4.50, resets 2026-08-01T00:00:00Z
            reserve a 3.5 -> refused by user_month: limit $3.00, spent $0.00, held $0.00, asked $3.50, resets 2026-08-01T00:00:00Z
            reserve a 2.5 -> refused by user_day: limit $2.00, spent $0.00, held $0.00, asked $2.50, resets 2026-07-15T00:00:00Z
            reserve a 1.5 -> refused by task: limit $1.00, spent $0.00, held $0.00, asked $1.50, resets never
            headroom -> $1.00 left of $1.00 on task
            limit user_day hard 9 -> in force
            path ann/t1
            reserve a 2.5 -> refused by llm: limit $2.00, spent $0.00, held $0.00, asked $2.50, resets 2026-08-01T00:00:00Z
        "#]],
    );
}

#[test]
fn a_soft_limit_counts_what_is_settled_and_expected_and_refuses_nothing() {
    check(
        "
        limit task soft 1 hard 5
        path ann/t1
        reserve a 2 0.40
        reserve b 2 0.60
        reserve c 0.5 0.01
        settle b 0.2
        settle c 0
        reserve d 0.5 0.2
        reserve e 0.5 0.21
        ",
        expect![[r#"
            limit task soft 1 hard 5 -> in force
            path ann/t1
            reserve a 2 0.40 -> held; bound by task
            reserve b 2 0.60 -> held; bound by task
            reserve c 0.5 0.01 -> held; past soft task; bound by task
            settle b 0.2 -> cost $0.20
            settle c 0 -> cost $0.00
            reserve d 0.5 0.2 -> held; bound by task
            reserve e 0.5 0.21 -> held; past soft task; bound by task
        "#]],
    );
}

#[test]
fn a_watched_limit_refuses_nothing_and_counts_what_it_would_have() {
    check(
        "
        limit user_day hard 3 watch
        limit task hard 1 builtin
        path ann/t1
        reserve a 2
        keyless a 2
        keyless b 2
        keyless c 0.5
        headroom
        levels
        ",
        expect![[r#"
            limit user_day hard 3 watch -> in force
            limit task hard 1 builtin -> in force
            path ann/t1
            reserve a 2 -> refused by task: limit $1.00, spent $0.00, held $0.00, asked $2.00, resets never
            keyless a 2 -> held; would refuse task; as refused by task: limit $1.00, spent $0.00, held $0.00, asked $2.00, resets never
            keyless b 2 -> held; would refuse user_day+task; as refused by user_day: limit $3.00, spent $0.00, held $2.00, asked $2.00, resets 2026-07-15T00:00:00Z
            keyless c 0.5 -> held; would refuse user_day+task; as refused by user_day: limit $3.00, spent $0.00, held $4.00, asked $0.50, resets 2026-07-15T00:00:00Z
            headroom -> $0.00 left of $1.00 on task
            levels -> 
                organisation acme 2026-07-01: spent $0.00, held $4.50, would refuse 0
                user_month acme/ann 2026-07-01: spent $0.00, held $4.50, would refuse 0
                user_day acme/ann 2026-07-14: spent $0.00, held $4.50, would refuse 2
                llm acme 2026-07-01: spent $0.00, held $4.50, would refuse 0
                task acme/ann/t1: spent $0.00, held $4.50, would refuse 3
        "#]],
    );
}

#[test]
fn allowed_overage_passes_with_a_warning() {
    check(
        "
        limit organisation hard 1 overage
        path ann/t1
        reserve a 2
        headroom
        ",
        expect![[r#"
            limit organisation hard 1 overage -> in force
            path ann/t1
            reserve a 2 -> held; overage organisation
            headroom -> nothing binds
        "#]],
    );
}

#[test]
fn a_cost_above_the_hold_is_booked_in_full_and_lowers_what_is_left() {
    check(
        "
        limit task hard 5
        path ann/t1
        reserve a 1
        settle a 6
        headroom
        reserve b 0.000000001
        reserve free 0
        settle free 0
        levels
        ",
        expect![[r#"
            limit task hard 5 -> in force
            path ann/t1
            reserve a 1 -> held; bound by task
            settle a 6 -> cost $6.00, overrun $5.00, task at 100 %
            headroom -> $0.00 left of $5.00 on task
            reserve b 0.000000001 -> refused by task: limit $5.00, spent $6.00, held $0.00, asked $0.000000001, resets never
            reserve free 0 -> held; bound by task
            settle free 0 -> cost $0.00
            levels -> 
                organisation acme 2026-07-01: spent $6.00, held $0.00, would refuse 0
                user_month acme/ann 2026-07-01: spent $6.00, held $0.00, would refuse 0
                user_day acme/ann 2026-07-14: spent $6.00, held $0.00, would refuse 0
                llm acme 2026-07-01: spent $6.00, held $0.00, would refuse 0
                task acme/ann/t1: spent $6.00, held $0.00, would refuse 0
        "#]],
    );
}

#[test]
fn a_settlement_names_the_highest_threshold_it_reached() {
    check(
        "
        limit task hard 10
        limit user_day hard 20
        path ann/t1
        reserve a 5
        settle a 4.999999999
        reserve a 5
        settle a 0.000000001
        reserve a 5
        settle a 4
        reserve a 1
        settle a 2
        ",
        expect![[r#"
            limit task hard 10 -> in force
            limit user_day hard 20 -> in force
            path ann/t1
            reserve a 5 -> held; bound by user_day+task
            settle a 4.999999999 -> cost $4.999999999
            reserve a 5 -> held; bound by user_day+task
            settle a 0.000000001 -> cost $0.000000001, task at 50 %
            reserve a 5 -> held; bound by user_day+task
            settle a 4 -> cost $4.00, task at 90 %
            reserve a 1 -> held; bound by user_day+task
            settle a 2 -> cost $2.00, overrun $1.00, user_day at 50 %, task at 100 %
        "#]],
    );
}

#[test]
fn an_extension_is_checked_like_a_reservation_and_leaves_the_hold_where_it_is_refused() {
    check(
        "
        limit task hard 5
        path ann/t1
        reserve a 3
        extend a 1
        extend a 1.000000001
        extend a 1
        levels
        settle a 4.5
        levels
        ",
        expect![[r#"
            limit task hard 5 -> in force
            path ann/t1
            reserve a 3 -> held; bound by task
            extend a 1 -> held; bound by task
            extend a 1.000000001 -> refused by task: limit $5.00, spent $0.00, held $4.00, asked $1.000000001, resets never
            extend a 1 -> held; bound by task
            levels -> 
                organisation acme 2026-07-01: spent $0.00, held $5.00, would refuse 0
                user_month acme/ann 2026-07-01: spent $0.00, held $5.00, would refuse 0
                user_day acme/ann 2026-07-14: spent $0.00, held $5.00, would refuse 0
                llm acme 2026-07-01: spent $0.00, held $5.00, would refuse 0
                task acme/ann/t1: spent $0.00, held $5.00, would refuse 0
            settle a 4.5 -> cost $4.50, task at 90 %
            levels -> 
                organisation acme 2026-07-01: spent $4.50, held $0.00, would refuse 0
                user_month acme/ann 2026-07-01: spent $4.50, held $0.00, would refuse 0
                user_day acme/ann 2026-07-14: spent $4.50, held $0.00, would refuse 0
                llm acme 2026-07-01: spent $4.50, held $0.00, would refuse 0
                task acme/ann/t1: spent $4.50, held $0.00, would refuse 0
        "#]],
    );
}

#[test]
fn other_limits_apply_at_once_and_to_what_is_held() {
    check(
        "
        limit task hard 5
        path ann/t1
        reserve a 4
        limit task hard 3
        reserve b 1
        path ann/t1
        reserve b 1
        headroom
        limit task hard 6
        path ann/t1
        reserve b 1
        ",
        expect![[r#"
            limit task hard 5 -> in force
            path ann/t1
            reserve a 4 -> held; bound by task
            limit task hard 3 -> in force
            reserve b 1 -> stale
            path ann/t1
            reserve b 1 -> refused by task: limit $3.00, spent $0.00, held $4.00, asked $1.00, resets never
            headroom -> $0.00 left of $3.00 on task
            limit task hard 6 -> in force
            path ann/t1
            reserve b 1 -> held; bound by task
        "#]],
    );
}

#[test]
fn an_idle_task_is_forgotten_and_one_with_an_open_call_is_not() {
    check(
        "
        limit task hard 5
        path ann/old
        reserve a 1
        path ann/held
        reserve b 0
        settle a 1
        at 2026-07-14T12:00:00Z
        path ann/new
        reserve c 1
        settle c 1
        evict 2026-07-14T11:00:00Z
        evict 2026-07-14T11:00:00Z
        levels
        reserve d 1
        path ann/new
        reserve d 1
        ",
        expect![[r#"
            limit task hard 5 -> in force
            path ann/old
            reserve a 1 -> held; bound by task
            path ann/held
            reserve b 0 -> held; bound by task
            settle a 1 -> cost $1.00
            at 2026-07-14T12:00:00Z
            path ann/new
            reserve c 1 -> held; bound by task
            settle c 1 -> cost $1.00
            evict 2026-07-14T11:00:00Z -> 0 gone
            evict 2026-07-14T11:00:00Z -> 2 gone
            levels -> 
                organisation acme 2026-07-01: spent $2.00, held $0.00, would refuse 0
                user_month acme/ann 2026-07-01: spent $2.00, held $0.00, would refuse 0
                user_day acme/ann 2026-07-14: spent $2.00, held $0.00, would refuse 0
                llm acme 2026-07-01: spent $2.00, held $0.00, would refuse 0
                task acme/ann/held: spent $0.00, held $0.00, would refuse 0
                task acme/ann/new: spent $1.00, held $0.00, would refuse 0
            reserve d 1 -> stale
            path ann/new
            reserve d 1 -> held; bound by task
        "#]],
    );
}

#[test]
fn amounts_that_64_bits_cannot_account_for_are_refused_also_without_a_limit() {
    check(
        "
        path ann/t1
        reserve a 18446744073
        reserve b 18446744073
        settle a 18446744073.709551615
        reserve b 0.000000001
        levels
        ",
        expect![[r#"
            path ann/t1
            reserve a 18446744073 -> held
            reserve b 18446744073 -> refused by organisation: limit $18446744073.709551615, spent $0.00, held $18446744073.00, asked $18446744073.00, resets 2026-08-01T00:00:00Z
            settle a 18446744073.709551615 -> cost $18446744073.709551615, overrun $0.709551615
            reserve b 0.000000001 -> refused by organisation: limit $18446744073.709551615, spent $18446744073.709551615, held $0.00, asked $0.000000001, resets 2026-08-01T00:00:00Z
            levels -> 
                organisation acme 2026-07-01: spent $18446744073.709551615, held $0.00, would refuse 0
                user_month acme/ann 2026-07-01: spent $18446744073.709551615, held $0.00, would refuse 0
                user_day acme/ann 2026-07-14: spent $18446744073.709551615, held $0.00, would refuse 0
                llm acme 2026-07-01: spent $18446744073.709551615, held $0.00, would refuse 0
                task acme/ann/t1: spent $18446744073.709551615, held $0.00, would refuse 0
        "#]],
    );
}

#[test]
fn a_balance_that_was_never_loaded_makes_the_path_stale() {
    let policy = BudgetPolicy::built_in(TimeZone::UTC);
    let mut books = Books::new("acme", Arc::new(policy));
    let now = at("2026-07-14T10:00:00Z");
    let path = books.path("ann", Some(TASK), Service::Llm, now);
    let ask = MoneyAsk {
        bound: NanoUsd(1),
        expected: NanoUsd(1),
        caller: Caller::Asking,
    };
    let missing = books.missing_balances(path.entry());
    assert_eq!(missing.len(), 5);
    for key in &missing {
        assert_eq!(books.check(&path, &ask, now), MoneyCheck::Stale, "{key}");
        assert!(books.load(key, Balance::default()));
    }
    assert!(matches!(
        books.check(&path, &ask, now),
        MoneyCheck::Clear(_)
    ));
    assert!(
        !books.load(&missing[0], Balance::default()),
        "known already"
    );
}

#[test]
fn an_adopted_reservation_goes_on_where_the_earlier_run_left_it() {
    let mut table = LimitTable::unlimited();
    table.defaults.task.hard = Some(NanoUsd(100));
    let policy = BudgetPolicy::try_new(TimeZone::UTC, BTreeMap::new(), table).unwrap();
    let mut books = Books::new("acme", Arc::new(policy));
    let now = at("2026-07-14T10:00:00Z");
    let path = books.path("ann", Some(TASK), Service::Llm, now);
    let missing = books
        .adopt(path.entry(), NanoUsd(60), Levels::NONE)
        .unwrap_err();
    let stored = Balance {
        spent: NanoUsd(30),
        held: NanoUsd(60),
        ..Balance::default()
    };
    for key in &missing {
        books.load(key, stored);
    }
    let hold = books
        .adopt(path.entry(), NanoUsd(60), Levels::NONE)
        .unwrap();
    let left = |books: &Books| books.headroom(&path, Caller::Asking, now).unwrap().left;
    assert_eq!(left(&books), NanoUsd(10));
    assert_eq!(books.evict(now, Timestamp(u64::MAX)), 0);
    books.settle(hold, NanoUsd(20), NanoUsd(20));
    assert_eq!(left(&books), NanoUsd(50));
    books.correct(path.entry(), NanoUsd(20), NanoUsd(5));
    assert_eq!(left(&books), NanoUsd(65));
}
