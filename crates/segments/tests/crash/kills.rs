//! A process that is killed at any moment.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    sync::Arc,
};

use tidegate_segments::Segments;
use tidegate_types::SystemClock;

use crate::child::{batches, command, options};

/// Kills in one directory: what is there is read whole after each.
const KILLS_OF_DIRECTORY: u64 = 20;

/// How often it is killed, where nothing else is asked for.
const KILLS: u64 = 8;

#[test]
fn a_killed_process_loses_nothing_acknowledged_and_doubles_nothing() {
    let kills = std::env::var("TIDEGATE_TEST_KILLS").ok();
    let kills = kills.map_or(KILLS, |it| it.parse().unwrap());
    let mut directory = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<u64> = Vec::new();
    let mut next = 0;
    for kill in 0..kills {
        if kill > 0 && kill.is_multiple_of(KILLS_OF_DIRECTORY) {
            directory = tempfile::tempdir().unwrap();
            acknowledged.clear();
            next = 0;
        }
        let mut child = command(directory.path(), next);
        let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Each time it has done more before it dies: while opening, sealing, merging.
        let enough = 1 + kill * 13 % 60;
        let mut heard = 0;
        while heard < enough {
            let line = lines
                .next()
                .expect("the child goes on until it is killed")
                .unwrap();
            if let Some(batch) = said(&line) {
                acknowledged.push(batch);
                heard += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let rest = lines.map_while(Result::ok);
        acknowledged.extend(rest.filter_map(|it| said(&it)));

        let clock = Arc::new(SystemClock::start());
        let (store, recovery) = Segments::open(directory.path(), options(), clock).unwrap();
        assert_eq!(recovery.damaged, [""; 0], "kill {kill}");
        let there = batches(&store);
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|it| !there.contains(it))
            .collect();
        assert!(lost.is_empty(), "kill {kill}: {lost:?} were acknowledged");
        // What was on its way may be there; nothing else is.
        next = acknowledged.last().map_or(0, |it| it + 1);
        let most = there.last().map_or(0, |it| it + 1);
        assert!(most <= next + 6, "kill {kill}: batch {most} was never sent");
        next = next.max(most);
    }
}

/// The batch that a line says was acknowledged; the test harness may have begun the line.
fn said(line: &str) -> Option<u64> {
    line.split_once("acknowledged ")?.1.parse().ok()
}
