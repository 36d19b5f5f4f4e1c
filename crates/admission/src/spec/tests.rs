use std::fmt::Write as _;

use expect_test::expect;
use tidegate_types::Mode;

use super::*;

fn bucket() -> BucketSpec {
    BucketSpec {
        name: "input".into(),
        resource: Resource::InputTokens,
        capacity: 100,
        refill: Some(Refill {
            amount: 10,
            period: Duration::from_mins(1),
        }),
        threshold: 60,
        owner: Owner::Provider,
        enforcement: Enforcement::Named(Mode::Enforce),
    }
}

#[test]
fn what_is_refused_is_named_with_its_value_and_the_remedy() {
    let refill = |amount, period| Some(Refill { amount, period });
    let changed = |change: fn(&mut BucketSpec)| {
        let mut it = bucket();
        change(&mut it);
        it
    };
    let minute = Duration::from_mins(1);
    let wrong = [
        vec![changed(|it| it.name.clear())],
        vec![changed(|it| it.capacity = 0)],
        vec![changed(|it| it.capacity = CAPACITY_MAX + 1)],
        vec![changed(|it| it.threshold = 101)],
        vec![changed(|it| it.refill = None)],
        vec![BucketSpec {
            refill: refill(0, minute),
            ..bucket()
        }],
        vec![BucketSpec {
            refill: refill(1, Duration::ZERO),
            ..bucket()
        }],
        vec![BucketSpec {
            refill: refill(1, PERIOD_MAX + Duration::from_nanos(1)),
            ..bucket()
        }],
        vec![changed(|it| it.resource = Resource::Concurrency)],
        vec![changed(|it| {
            it.resource = Resource::Concurrency;
            it.refill = None;
            it.threshold = it.capacity;
        })],
        vec![bucket(), bucket()],
        vec![bucket(); BUCKETS_MAX + 1],
    ];
    let mut texts = String::new();
    for buckets in wrong {
        let error = PoolSpec::try_new("sonnet", buckets).unwrap_err();
        writeln!(texts, "{error}").unwrap();
        assert_eq!(error.disposition(), Disposition::FixRequest);
    }
    expect![[r#"
        `` cannot name a platform or a bucket: use 1 to 64 bytes
        capacity of bucket `input` of platform `sonnet` is 0: use 1 to 1000000000000000000
        capacity of bucket `input` of platform `sonnet` is 1000000000000000001: use 1 to 1000000000000000000
        threshold of bucket `input` of platform `sonnet` is 101 with a capacity of 100: use at most the capacity (less than it for concurrency)
        refill of bucket `input` of platform `sonnet` is missing: give an amount and a period; to cap a total, use a budget
        refill amount of bucket `input` of platform `sonnet` is 0: use 1 to 100000000000000000; to cap a total, use a budget
        refill period of bucket `input` of platform `sonnet` is 0ns: use more than nothing and at most 31 days; for longer, use a budget
        refill period of bucket `input` of platform `sonnet` is 2678400.000000001s: use more than nothing and at most 31 days; for longer, use a budget
        refill of bucket `input` of platform `sonnet` is given, but concurrency does not refill: remove it
        threshold of bucket `input` of platform `sonnet` is 100 with a capacity of 100: use at most the capacity (less than it for concurrency)
        platform `sonnet` has two buckets called `input`: rename one
        platform `sonnet` has 17 buckets: at most 16; split it into platforms
    "#]].assert_eq(&texts);
}

#[test]
fn the_builtin_platforms_are_what_anybody_could_configure() {
    for builtin in builtin_platforms() {
        let again = PoolSpec::try_new(builtin.platform(), builtin.buckets().to_vec());
        assert_eq!(again, Ok(builtin));
    }
    let [claude_code, sonnet] = builtin_platforms();
    expect![[r#"
        (
            [
                BucketSpec {
                    name: "units",
                    resource: Units,
                    capacity: 5000,
                    refill: Some(
                        Refill {
                            amount: 100,
                            period: 3600s,
                        },
                    ),
                    threshold: 3000,
                    owner: Ours,
                    enforcement: BuiltIn,
                },
            ],
            [
                BucketSpec {
                    name: "units",
                    resource: Units,
                    capacity: 10000,
                    refill: Some(
                        Refill {
                            amount: 200,
                            period: 3600s,
                        },
                    ),
                    threshold: 7000,
                    owner: Ours,
                    enforcement: BuiltIn,
                },
            ],
        )
    "#]]
    .assert_debug_eq(&(claude_code.buckets(), sonnet.buckets()));
}
