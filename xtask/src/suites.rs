//! All tests, as a list of named suites; what ran, what failed, and what could not run and why.

mod browser;
mod clients;
mod crash;
mod generated;
mod otlp;
mod overshoot;
mod readme;
mod rust;
mod secrets;
mod sessions;
mod tally;
mod telemetry;
mod wire;

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::{
    bound,
    packages::{Package, Packages},
    report, shell,
};
pub(crate) use tally::Tally;

/// Tests that are run, counted and chosen together.
#[derive(Debug)]
pub(crate) struct Suite {
    /// What `--only` takes.
    pub(crate) name: &'static str,
    /// What it proves.
    pub(crate) proves: &'static str,
    /// What must be there beside the Rust toolchain; where it is not, the suite is reported as not run.
    pub(crate) needs: &'static [Package],
    /// Runs it and counts; an error is a failure of the suite as a whole.
    pub(crate) run: fn(&Rig) -> anyhow::Result<Tally>,
}

/// Every suite, in the order in which they run: the quickest to fail come first.
const SUITES: &[&[Suite]] = &[
    rust::CHECKS,
    rust::TESTS,
    generated::SUITES,
    clients::SUITES,
    readme::SUITES,
    secrets::SUITES,
    overshoot::SUITES,
    crash::SUITES,
    telemetry::SUITES,
    otlp::SUITES,
    sessions::SUITES,
    browser::SUITES,
];

/// Which suites run.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Choice {
    /// Runs only these
    #[arg(long, num_args = 1.., value_name = "NAME")]
    only: Vec<String>,
    /// Lists the suites and what they need
    #[arg(long)]
    list: bool,
    /// Fails also where a suite could not run
    #[arg(long)]
    strict: bool,
    /// Runs also what takes many minutes, such as waits that outlast a client's patience
    #[arg(long)]
    slow: bool,
    /// A program to test in place of the one that is built from this tree
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

impl Choice {
    /// The suites that only look at the tree.
    pub(crate) fn checks() -> Self {
        Self {
            only: rust::CHECKS.iter().map(|it| it.name.to_owned()).collect(),
            ..Self::default()
        }
    }

    fn suites(&self) -> anyhow::Result<Vec<&'static Suite>> {
        let all = || SUITES.iter().copied().flatten();
        if let Some(unknown) = self
            .only
            .iter()
            .find(|name| all().all(|it| it.name != **name))
        {
            bail!("no suite `{unknown}`: `cargo xtask test --list` shows them");
        }
        let chosen =
            all().filter(|it| self.only.is_empty() || self.only.iter().any(|name| name == it.name));
        Ok(chosen.collect())
    }
}

/// What suites work with: installed packages and the program under test.
#[derive(Debug, Default)]
pub(crate) struct Rig {
    pub(crate) packages: Packages,
    program: OnceCell<PathBuf>,
    /// Whether the program was named and is not to be replaced by another.
    named: bool,
    quick: OnceCell<PathBuf>,
    release: bool,
    /// Whether tests of many minutes run, too.
    slow: bool,
}

impl Rig {
    /// With the program as it is shipped, or with this one: for figures.
    pub(crate) fn release(program: Option<&Path>) -> anyhow::Result<Self> {
        let rig = Self::with(program)?;
        Ok(Self {
            release: true,
            ..rig
        })
    }

    /// With this program in place of the one that would be built.
    fn with(program: Option<&Path>) -> anyhow::Result<Self> {
        let rig = Self {
            named: program.is_some(),
            ..Self::default()
        };
        if let Some(program) = program {
            let whole = program.canonicalize();
            let whole = whole.with_context(|| program.display().to_string())?;
            rig.program.get_or_init(|| whole);
        }
        Ok(rig)
    }

    /// `tidegate`, built from this tree when it is first asked for.
    pub(crate) fn program(&self) -> anyhow::Result<&Path> {
        if let Some(built) = self.program.get() {
            return Ok(built);
        }
        let (profile, folder) = if self.release {
            ("release", "release")
        } else {
            ("dev", "debug")
        };
        let mut build = shell::cargo(["build", "--package", "tidegate", "--profile", profile]);
        shell::show(&mut build, bound::CARGO)?;
        let built = shell::target().join(folder).join("tidegate");
        Ok(self.program.get_or_init(|| built))
    }
}

impl Rig {
    /// `tidegate` at its full speed where it has been built so from the tree as it is, else as [`Rig::program`] gives it: for
    /// suites that move gigabytes.
    pub(crate) fn quick(&self) -> anyhow::Result<&Path> {
        let release = shell::target().join("release/tidegate");
        if !self.named && is_fresh(&release) {
            return Ok(self.quick.get_or_init(|| release));
        }
        self.program()
    }
}

/// Whether a program is newer than every file that cargo says it was built from.
fn is_fresh(program: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|it| it.modified()).ok();
    let Some(built) = modified(program) else {
        return false;
    };
    let list = std::fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let mut sources = list
        .split_once(": ")
        .map_or("", |it| it.1)
        .split_ascii_whitespace()
        .peekable();
    sources.peek().is_some()
        && sources.all(|it| modified(Path::new(it)).is_some_and(|it| it <= built))
}

/// How a suite ended.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Ran(Tally),
    Failed(String),
    /// What is missing, and why it could not be installed.
    NotRun(String),
}

/// Runs the chosen suites and prints how each ended.
///
/// # Errors
/// An unknown name, or a program to test that is not there. Failures of suites are in the exit code.
pub(crate) fn run(choice: &Choice) -> anyhow::Result<ExitCode> {
    let suites = choice.suites()?;
    if choice.list {
        report::say(list(&suites));
        return Ok(ExitCode::SUCCESS);
    }
    let rig = Rig {
        slow: choice.slow,
        ..Rig::with(choice.program.as_deref())?
    };
    let mut endings = Vec::new();
    for suite in suites {
        report::say(format_args!("\n== {}: {}", suite.name, suite.proves));
        let started = crate::bench::clock::now();
        let ending = end(suite, &rig);
        if let Ending::Failed(why) | Ending::NotRun(why) = &ending {
            report::say(format_args!("{}: {why}", suite.name));
        }
        endings.push((suite.name, ending, started.elapsed()));
    }
    report::say(format_args!("\n{}", summary(&endings)));
    Ok(code(&endings, choice.strict))
}

fn end(suite: &Suite, rig: &Rig) -> Ending {
    let missing = |package: &Package| rig.packages.ensure(*package).err();
    let missing: Vec<String> = suite.needs.iter().filter_map(missing).collect();
    if !missing.is_empty() {
        return Ending::NotRun(missing.join("; "));
    }
    match (suite.run)(rig) {
        Ok(tally) => Ending::Ran(tally),
        Err(error) => Ending::Failed(format!("{error:#}")),
    }
}

fn list(suites: &[&Suite]) -> String {
    let head = ["suite", "proves", "needs"].map(str::to_owned).to_vec();
    let rows = suites.iter().map(|suite| {
        let needs: Vec<String> = suite.needs.iter().map(Package::to_string).collect();
        vec![
            suite.name.to_owned(),
            suite.proves.to_owned(),
            needs.join(", "),
        ]
    });
    report::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// A row for each suite, then the sum alone on the last line. A suite that failed as a whole counts as one failed test, one
/// that could not run as one skipped.
fn summary(endings: &[(&str, Ending, Duration)]) -> String {
    let head = [
        "suite", "result", "passed", "failed", "skipped", "seconds", "why",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut sum = Tally::default();
    for (name, ending, took) in endings {
        let (result, tally, why) = match ending {
            Ending::Ran(tally) if tally.failed > 0 => ("failed", *tally, ""),
            Ending::Ran(tally) => ("ran", *tally, ""),
            Ending::Failed(why) => ("failed", Tally::failed(), why.lines().next().unwrap_or("")),
            Ending::NotRun(why) => (
                "not run",
                Tally::skipped(),
                why.lines().next().unwrap_or(""),
            ),
        };
        sum = sum + tally;
        let counts = [tally.passed, tally.failed, tally.skipped].map(|it| it.to_string());
        let mut row = vec![(*name).to_owned(), result.to_owned()];
        row.extend(counts);
        row.push(format!("{:.1}", took.as_secs_f64()));
        row.push(why.to_owned());
        rows.push(row);
    }
    format!("{}\n\n{sum}", report::table(&rows))
}

/// Failure if a test failed; with `strict` also if a suite could not run.
fn code(endings: &[(&str, Ending, Duration)], strict: bool) -> ExitCode {
    let bad = endings.iter().any(|(_, ending, _)| match ending {
        Ending::Ran(tally) => tally.failed > 0,
        Ending::Failed(_) => true,
        Ending::NotRun(_) => strict,
    });
    if bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Where large data is: in the folder that `TIDEGATE_DATASETS` names, else beside the project.
fn dataset(name: &str) -> PathBuf {
    let set = std::env::var_os("TIDEGATE_DATASETS").map(PathBuf::from);
    set.unwrap_or_else(|| shell::root().join("../shared/data"))
        .join(name)
}

#[cfg(test)]
mod tests;
