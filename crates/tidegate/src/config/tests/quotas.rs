//! Quotas: what narrower ones take from wider ones, and what is none.

use expect_test::expect;
use tidegate_admission::{QuotaKind, QuotaScope};
use tidegate_types::{Enforcement, Mode};

use super::{check_wrong, settings};

#[test]
fn quotas_take_what_they_do_not_say_from_the_wider_ones() {
    let settings = settings(
        "
[quotas]
task_idle = '90s'
[quotas.user]
calls_per_minute = 20
on_excess = 'refuse'
[quotas.organisation]
tokens_per_month = 'none'
mode = 'watch'
[quotas.task_types.review]
context_tokens = 50_000
[quotas.organisations.acme.users.ada]
calls_at_once = 3
",
    );
    let quotas = &settings.quotas;
    let limit = |scope, organisation, name, kind| {
        let figure = quotas.of(scope, organisation, name).of(kind);
        (
            figure.limit.map(std::num::NonZeroU64::get),
            figure.enforcement,
        )
    };
    let enforced = Enforcement::Named(Mode::Enforce);
    let (user, kind) = (QuotaScope::User, QuotaKind::CallRate);
    assert_eq!(limit(user, "acme", "ada", kind), (Some(20), enforced));
    assert_eq!(
        limit(user, "acme", "ada", QuotaKind::CallsAtOnce),
        (Some(3), enforced)
    );
    let built_in = (Some(10), Enforcement::BuiltIn);
    assert_eq!(limit(user, "acme", "ben", QuotaKind::CallsAtOnce), built_in);
    assert!(!quotas.of(user, "acme", "ada").on_excess.queues());
    let whole = (QuotaScope::Organisation, QuotaKind::TokensPerMonth);
    let watched = Enforcement::Named(Mode::Watch);
    assert_eq!(limit(whole.0, "other", "other", whole.1), (None, watched));
    let review = quotas.of(QuotaScope::TaskType, "acme", "review");
    assert!(!review.context_or_window);
    assert!(quotas.task_type.context_or_window);
    assert_eq!(quotas.task_idle, std::time::Duration::from_secs(90));
}

#[test]
fn quotas_that_are_none_say_what_to_write() {
    check_wrong(
        "
[quotas.user]
tasks_per_minute = 0
on_excess = 'drop'
[quotas.organisations.acme.organisation]
calls_at_once = 'many'
",
        expect![[r#"
            tidegate.toml:4:20: quotas.user.tasks_per_minute: `0` is not a whole number, 1 or more, or "none"
            tidegate.toml:5:13: quotas.user.on_excess: `"drop"` is not "queue" or "refuse"
            tidegate.toml:7:17: quotas.organisations.acme.organisation.calls_at_once: `"many"` is not a whole number, 1 or more, or "none"
        "#]],
    );
    check_wrong(
        "[quotas.user]\ntasks_at_once = 1_000_000\n",
        expect![[r#"
            tidegate.toml:3:17: quotas.user.tasks_at_once: 1000000 is more than is kept count of; use at most 32768, or "none"
        "#]],
    );
}
