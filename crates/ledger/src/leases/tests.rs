use proptest::prelude::*;

use super::*;
use crate::LevelKind;

fn level(task: &str) -> LevelKey {
    LevelKey {
        kind: LevelKind::Task,
        organisation: "acme".into(),
        user: Some("ann".into()),
        task: Some(task.into()),
        opens: None,
    }
}

fn ask(holder: &str, nanos: u64) -> LeaseAsk {
    LeaseAsk {
        level: level("t1"),
        holder: holder.to_owned(),
        limit: Some(NanoUsd(1_000)),
        amount: NanoUsd(nanos),
        expires: Timestamp(100),
    }
}

#[test]
fn a_share_is_one_hundredth_or_one_call() {
    let five = NanoUsd::from_usd(5);
    assert_eq!(share(five, NanoUsd(1)), NanoUsd(50_000_000));
    assert_eq!(share(five, NanoUsd::from_usd(2)), NanoUsd::from_usd(2));
}

#[test]
fn a_lease_covers_what_is_granted_and_what_comes_back() {
    let Grant::Granted(mut lease) = grant(ask("a", 10), Balance::default(), &[], Timestamp(0))
    else {
        panic!("there is room");
    };
    let now = Timestamp(1);
    assert_eq!(lease.cover(NanoUsd(6), now), Cover::Covered);
    let short = Cover::NeedsGrant {
        amount: NanoUsd(12),
    };
    assert_eq!(lease.cover(NanoUsd(6), now), short);
    lease.give_back(NanoUsd(6));
    assert_eq!(lease.cover(NanoUsd(10), now), Cover::Covered);
}

#[test]
fn an_expired_lease_covers_only_what_costs_nothing() {
    let Grant::Granted(mut lease) = grant(ask("a", 10), Balance::default(), &[], Timestamp(0))
    else {
        panic!("there is room");
    };
    let late = Timestamp(100);
    assert_eq!(lease.cover(NanoUsd::ZERO, late), Cover::Covered);
    assert_ne!(lease.cover(NanoUsd(1), late), Cover::Covered);
    assert_eq!(lease.outstanding(late), NanoUsd::ZERO);
}

proptest! {
    #[test]
    fn what_is_granted_settled_and_held_is_within_the_limit(
        spent in 0_u64..1_200,
        held in 0_u64..400,
        asks in prop::collection::vec((0_usize..4, 0_u64..500, 0_u64..50), 1..30),
    ) {
        let balance = Balance { spent: NanoUsd(spent), held: NanoUsd(held), ..Balance::default() };
        let mut leases: Vec<Lease> = Vec::new();
        let mut now = 0;
        for (holder, nanos, wait) in asks {
            now += wait;
            let ask = LeaseAsk { expires: Timestamp(now + 100), ..ask(["a", "b", "c", "d"][holder], nanos) };
            let before: Vec<Lease> = leases.clone();
            let outstanding = |leases: &[Lease]| {
                leases.iter().map(|it| it.outstanding(Timestamp(now)).0).sum::<u64>()
            };
            match grant(ask.clone(), balance, &leases, Timestamp(now)) {
                Grant::Granted(lease) => {
                    leases.retain(|it| it.holder != lease.holder);
                    leases.push(lease);
                    prop_assert!(nanos == 0 || outstanding(&leases) + spent + held <= 1_000);
                }
                Grant::Short { left } => {
                    // Exactly what is left would have been granted.
                    prop_assert!(left < NanoUsd(nanos));
                    let less = LeaseAsk { amount: left, ..ask };
                    let granted = matches!(
                        grant(less, balance, &before, Timestamp(now)), Grant::Granted(_)
                    );
                    prop_assert!(granted);
                }
            }
        }
    }
}
