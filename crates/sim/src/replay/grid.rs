//! Many runs: loads × seeds × systems, and what they came to.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use parking_lot::Mutex;
use serde::Serialize;

use super::{
    Contender, Fleet, FleetError, GovernedError, Measured, Played, SystemKind, Transcript, measure,
    measure::cost_of_common, run, stats::Interval,
};
use crate::trace::Traffic;

/// What to play.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The workload; each of its days has a load and a seed of the following.
    pub fleet: Fleet,
    /// Loads.
    pub loads: Vec<f64>,
    /// Systems, each of another name.
    pub systems: Vec<Contender>,
    /// Seeds. Systems are compared on the same ones.
    pub seeds: Vec<u64>,
}

/// What a system made of a load.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// The load.
    pub load: f64,
    /// The system.
    #[serde(serialize_with = "word")]
    pub system: Contender,
    /// A day for each seed.
    pub days: Vec<Measured>,
    /// Dollars per call beside [`COMPARED_WITH`], over the calls that both completed, for each seed: this
    /// system's, and the other's.
    pub cost_of_common: Vec<(f64, f64)>,
}

fn word<S: serde::Serializer>(system: &Contender, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(system.word())
}

/// Whom costs are compared with.
pub const COMPARED_WITH: SystemKind = SystemKind::Retry10;

impl Cell {
    /// A figure over seeds.
    pub fn interval(&self, of: fn(&Measured) -> Option<f64>) -> Option<Interval> {
        let values: Vec<f64> = self.days.iter().filter_map(of).collect();
        Interval::of(&values)
    }

    /// How much cheaper a call was than with [`COMPARED_WITH`], as a part of its cost; below zero: cheaper.
    pub fn cost_change(&self) -> Option<Interval> {
        let change = |(own, other): &(f64, f64)| own / other - 1.0;
        let values: Vec<f64> = self.cost_of_common.iter().map(change).collect();
        Interval::of(&values)
    }
}

/// Why a grid has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GridError {
    /// The workload makes no day.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A run failed.
    #[error(transparent)]
    Run(#[from] GovernedError),
}

/// The days of one load and seed.
type Days = Vec<(Contender, Measured, Option<(f64, f64)>)>;

impl Grid {
    /// How many runs that is, the ones without limits included.
    pub fn runs(&self) -> usize {
        self.loads.len() * self.seeds.len() * (self.systems.len() + 1)
    }

    /// Plays all of it on so many threads. `done` is told after each run how many are.
    ///
    /// The result does not depend on the threads.
    pub fn play(
        &self,
        traffic: &Traffic,
        threads: usize,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Cell>, GridError> {
        let jobs: Vec<(f64, u64)> = (self.loads.iter())
            .flat_map(|load| self.seeds.iter().map(|seed| (*load, *seed)))
            .collect();
        let (next, count) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let results: Vec<Mutex<Option<Result<Days, GridError>>>> =
            jobs.iter().map(|_| Mutex::default()).collect();
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let (Some(job), Some(result)) = (jobs.get(at), results.get(at)) else {
                    return;
                };
                let days = self.days(traffic, *job, &|| {
                    done(count.fetch_add(1, Ordering::Relaxed) + 1);
                });
                *result.lock() = Some(days);
            }
        };
        thread::scope(|scope| {
            for _ in 0..threads.clamp(1, jobs.len().max(1)) {
                scope.spawn(work);
            }
        });
        let mut cells = self.cells();
        for ((load, _), result) in jobs.iter().zip(results) {
            for (system, day, cost) in result.into_inner().transpose()?.unwrap_or_default() {
                let of =
                    |it: &&mut Cell| it.system == system && it.load.to_bits() == load.to_bits();
                if let Some(cell) = cells.iter_mut().find(of) {
                    cell.days.push(day);
                    cell.cost_of_common.extend(cost);
                }
            }
        }
        Ok(cells)
    }

    fn cells(&self) -> Vec<Cell> {
        let cell = |load: f64, system: &Contender| Cell {
            load,
            system: system.clone(),
            days: Vec::new(),
            cost_of_common: Vec::new(),
        };
        let of_load = |load: &f64| {
            let load = *load;
            self.systems.iter().map(move |it| cell(load, it))
        };
        self.loads.iter().flat_map(of_load).collect()
    }

    fn days(
        &self,
        traffic: &Traffic,
        (load, seed): (f64, u64),
        done: &dyn Fn(),
    ) -> Result<Days, GridError> {
        let fleet = Fleet {
            load,
            seed,
            ..self.fleet.clone()
        };
        let plan = fleet.day(traffic)?;
        let unlimited = run(&plan, SystemKind::Unlimited, Transcript::none())?;
        done();
        let mut played: Vec<(Contender, Played)> = Vec::new();
        for system in &self.systems {
            let day = run(&plan, system.clone(), Transcript::none())?;
            played.push((system.clone(), day));
            done();
        }
        let other = played.iter().find(|it| it.0.kind() == COMPARED_WITH);
        let day = |(system, day): &(Contender, Played)| {
            let common = other.and_then(|(_, other)| cost_of_common(&plan, day, other));
            let common = common.map(|(own, other, _)| (own, other));
            (system.clone(), measure(&plan, day, &unlimited), common)
        };
        Ok(played.iter().map(day).collect())
    }
}
