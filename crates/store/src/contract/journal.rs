//! What a [`Journal`] promises.

use tidegate_ledger::journal::{Found, Journal, Record, Taking, decode, encode_taking};
use tidegate_types::{ReservationId, Timestamp};

/// The journal's contract, for the backend that `$new` builds.
macro_rules! journal_contract {
    ($new:expr) => {
        $crate::contract::suite!(
            journal,
            $new,
            [
                what_is_appended_is_read_back_in_order,
                positions_rise,
                nothing_after_a_checkpoint_is_forgotten,
                appends_of_many_threads_are_all_kept_whole,
            ]
        );
    };
}
pub(crate) use journal_contract;

pub(crate) fn frame(at: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let taking = Taking {
        reservation: ReservationId::from_raw(at),
        at: Timestamp(at),
        platform: "".into(),
        need: [at; 6],
    };
    encode_taking(&taking, &mut bytes).unwrap();
    bytes
}

/// The reservations of what is read back.
pub(crate) fn kept(journal: &dyn Journal) -> Vec<u64> {
    let back = journal.read_back().unwrap();
    let found = back.segments.iter().flat_map(|it| decode(it));
    found
        .map(|it| match it {
            Found::Record(Record::Taking(taking)) => taking.reservation.raw(),
            other => panic!("{other:?}"),
        })
        .collect()
}

pub(crate) fn what_is_appended_is_read_back_in_order(journal: &dyn Journal) {
    assert_eq!(kept(journal), [0_u64; 0]);
    journal.append(&frame(1)).unwrap();
    journal.append(&[frame(2), frame(3)].concat()).unwrap();
    journal.sync().unwrap();
    assert_eq!(kept(journal), [1, 2, 3]);
    assert_eq!(kept(journal), [1, 2, 3]);
}

pub(crate) fn positions_rise(journal: &dyn Journal) {
    let positions: Vec<_> = (0..50)
        .map(|it| journal.append(&frame(it)).unwrap())
        .collect();
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
}

pub(crate) fn nothing_after_a_checkpoint_is_forgotten(journal: &dyn Journal) {
    let positions: Vec<_> = (0..50)
        .map(|it| journal.append(&frame(it)).unwrap())
        .collect();
    for at in [10, 30, 20, 49] {
        journal.checkpoint(positions[at]).unwrap();
        let kept = kept(journal);
        let due: Vec<u64> = (0..50)
            .skip(at.max(if at == 20 { 30 } else { 0 }) + 1)
            .collect();
        assert!(kept.ends_with(&due), "{kept:?}");
    }
    journal.append(&frame(50)).unwrap();
    assert_eq!(kept(journal).last(), Some(&50));
}

pub(crate) fn appends_of_many_threads_are_all_kept_whole(journal: &dyn Journal) {
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for at in 0..250 {
                    journal.append(&frame(thread * 1_000 + at)).unwrap();
                }
            });
        }
    });
    let mut kept = kept(journal);
    // Each thread's own are in its order.
    for thread in 0..4 {
        let own = kept.iter().filter(|it| **it / 1_000 == thread);
        assert!(own.is_sorted());
    }
    kept.sort_unstable();
    let all = (0..4_u64).flat_map(|it| (0..250).map(move |at| it * 1_000 + at));
    assert!(kept.into_iter().eq(all));
}
