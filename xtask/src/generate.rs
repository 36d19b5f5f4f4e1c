//! Writes the files in `docs/` that the code prints itself.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use crate::{report, shell, suites::Rig};

/// A file, and what prints it.
struct Generated {
    file: &'static str,
    by: Printer,
}

enum Printer {
    /// `tidegate` with these arguments.
    Program(&'static [&'static str]),
    /// This example of a package, which the program is built without.
    Example(&'static str, &'static str),
}

const FILES: &[Generated] = &[
    Generated {
        file: "docs/openapi.json",
        by: Printer::Example("tidegate-control", "openapi"),
    },
    Generated {
        file: "docs/configuration.toml",
        by: Printer::Program(&["config", "reference"]),
    },
    Generated {
        file: "docs/metrics.md",
        by: Printer::Program(&["reference", "metrics"]),
    },
];

/// Writes them all, or with `check` only compares.
///
/// # Errors
/// The program could not be built or refused to print one.
pub(crate) fn run(check: bool) -> anyhow::Result<ExitCode> {
    let rig = Rig::default();
    let program = rig.program()?;
    let stale = stale(program)?;
    for file in &stale {
        let word = if check { "not fresh" } else { "written" };
        report::say(format_args!("{word}: {file}"));
    }
    if check && !stale.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    for it in FILES.iter().filter(|it| stale.contains(&it.file)) {
        fs::write(shell::root().join(it.file), it.print(program)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The files that differ from what the program prints.
pub(crate) fn stale(program: &Path) -> anyhow::Result<Vec<&'static str>> {
    let mut stale = Vec::new();
    for it in FILES {
        let fresh = it.print(program)?;
        let here = fs::read_to_string(shell::root().join(it.file)).unwrap_or_default();
        if here != fresh {
            stale.push(it.file);
        }
    }
    Ok(stale)
}

impl Generated {
    /// The program with an empty environment: what is printed must not depend on the developer's.
    fn print(&self, program: &Path) -> anyhow::Result<String> {
        match self.by {
            Printer::Program(arguments) => {
                shell::read(Command::new(program).env_clear().args(arguments))
            }
            Printer::Example(package, example) => {
                let arguments = ["run", "--quiet", "--package", package, "--example", example];
                shell::read(&mut shell::cargo(arguments))
            }
        }
    }
}
