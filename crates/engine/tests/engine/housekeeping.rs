//! What is forgotten while the program runs, and what must not be yet.

use std::{sync::Arc, time::Duration};

use tidegate_ledger::LevelKind;
use tidegate_observe::calls::Outcome;

use crate::{
    gated::Gated,
    harness::{ManualClock, World, answered, end, keyed, settings},
};

fn spent_on_the_task(world: &World) -> Option<String> {
    let mut levels = world.engine.levels(None).into_iter();
    let task = levels.find(|it| it.key.kind == LevelKind::Task)?;
    Some(task.spent.to_string())
}

/// Its balance would be read from a ledger that does not have its last entries.
#[test]
fn an_idle_task_is_not_forgotten_before_the_ledger_has_what_it_spent() {
    let ledger = Arc::new(Gated::default());
    let world = World::on(settings(|_| {}), ledger.stores(), ManualClock::start());
    let call = world.send(&keyed("ada"), 1_000);
    world.engine.flush();
    world.engine.tidy();
    {
        let _closed = ledger.close();
        call.settle(end(Some(answered(12, 7)), Outcome::Answered));
        world.clock.advance(Duration::from_mins(61));
        for _round in 0..3 {
            world.engine.tidy();
            let spent = spent_on_the_task(&world);
            assert_eq!(spent.as_deref(), Some("$0.000188"));
        }
    }
    world.engine.flush();
    world.engine.tidy();
    world.engine.tidy();
    assert_eq!(spent_on_the_task(&world), None);
    let again = world.send(&keyed("ada"), 1_000);
    assert_eq!(spent_on_the_task(&world).as_deref(), Some("$0.000188"));
    again.settle(end(Some(answered(12, 7)), Outcome::Answered));
    world.engine.flush();
    world.assert_sound();
}

#[test]
fn a_ledger_to_which_nothing_comes_any_more_may_rest() {
    let ledger = Arc::new(Gated::default());
    let world = World::on(settings(|_| {}), ledger.stores(), ManualClock::start());
    for rests in [1, 2] {
        let call = world.send(&keyed("ada"), 1_000);
        call.settle(end(Some(answered(12, 7)), Outcome::Answered));
        world.engine.flush();
        while ledger.rested() < rests {
            std::thread::yield_now();
        }
    }
    world.assert_sound();
}
