//! What is shown to those who spend.

use expect_test::expect;

use super::*;

#[test]
fn the_limit_that_would_refuse_first_is_shown_by_what_is_settled() {
    check(
        "
        limit user_day hard 20
        limit user_month hard 500
        limit organisation hard 10000
        limit task hard 1
        path ann/t1
        spending
        reserve a 0.9
        spending
        settle a 0.9
        spending
        limit user_month hard 15
        path ann
        spending
        limit user_month hard 500 overage
        limit user_day hard 20 watch
        path ann
        spending
        limit organisation hard 10000 watch
        path ann
        spending
        ",
        expect![[r#"
            limit user_day hard 20 -> in force
            limit user_month hard 500 -> in force
            limit organisation hard 10000 -> in force
            limit task hard 1 -> in force
            path ann/t1
            spending -> $0.00 of $20.00 on user_day
            reserve a 0.9 -> held; bound by organisation+user_month+user_day+task
            spending -> $0.00 of $20.00 on user_day
            settle a 0.9 -> cost $0.90, task at 90 %
            spending -> $0.90 of $20.00 on user_day
            limit user_month hard 15 -> in force
            path ann
            spending -> $0.90 of $15.00 on user_month
            limit user_month hard 500 overage -> in force
            limit user_day hard 20 watch -> in force
            path ann
            spending -> $0.90 of $10000.00 on organisation
            limit organisation hard 10000 watch -> in force
            path ann
            spending -> nothing to show
        "#]],
    );
}

#[test]
fn a_window_that_has_ended_shows_nothing_until_the_next_is_known() {
    check(
        "
        limit user_day hard 20
        path ann
        reserve a 3
        settle a 2
        spending
        at 2026-07-15T00:00:00Z
        spending
        path ann
        spending
        ",
        expect![[r#"
            limit user_day hard 20 -> in force
            path ann
            reserve a 3 -> held; bound by user_day
            settle a 2 -> cost $2.00
            spending -> $2.00 of $20.00 on user_day
            at 2026-07-15T00:00:00Z
            spending -> nothing to show
            path ann
            spending -> $0.00 of $20.00 on user_day
        "#]],
    );
}
