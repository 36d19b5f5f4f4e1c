//! Files that the program prints itself are what it would print today.

use super::{Suite, Tally};
use crate::generate;

pub(super) const SUITES: &[Suite] = &[Suite {
    name: "generated",
    proves: "OpenAPI, configuration reference and metric catalogue are fresh",
    needs: &[],
    run: |rig| {
        let stale = generate::stale(rig.program()?)?;
        anyhow::ensure!(
            stale.is_empty(),
            "run `cargo xtask generate`: not fresh: {}",
            stale.join(", ")
        );
        Ok(Tally::passed())
    },
}];
