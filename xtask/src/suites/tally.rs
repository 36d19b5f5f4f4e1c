//! How many tests passed, failed and were skipped, read from what a test runner prints.

/// Counts of one or more runs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
}

impl Tally {
    /// One test that passed: a check that is a whole by itself.
    pub(crate) const fn passed() -> Self {
        Self {
            passed: 1,
            failed: 0,
            skipped: 0,
        }
    }

    /// One test that failed.
    pub(crate) const fn failed() -> Self {
        Self {
            passed: 0,
            failed: 1,
            skipped: 0,
        }
    }

    /// One test that did not run.
    pub(crate) const fn skipped() -> Self {
        Self {
            passed: 0,
            failed: 0,
            skipped: 1,
        }
    }

    /// Sums the closing lines of `cargo test`: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    pub(crate) fn of_cargo(output: &str) -> Self {
        let ends = output
            .lines()
            .filter_map(|it| it.strip_prefix("test result: "));
        ends.map(Self::of_counts)
            .fold(Self::default(), std::ops::Add::add)
    }

    /// Reads the closing line of a client program, the last of the form `3 passed, 0 failed[, 1 skipped]`.
    /// `None` where there is no such line: the program ended before it had run everything.
    pub(crate) fn of_program(output: &str) -> Option<Self> {
        let counts = |line: &&str| {
            line.starts_with(|it: char| it.is_ascii_digit()) && line.contains(" passed, ")
        };
        output.lines().rev().find(counts).map(Self::of_counts)
    }

    /// Each count stands before its word.
    fn of_counts(text: &str) -> Self {
        let words: Vec<&str> = text
            .split([' ', ',', ';', '.'])
            .filter(|it| !it.is_empty())
            .collect();
        let count = |word: &str| {
            let pair = words.windows(2).find(|pair| pair.get(1) == Some(&word));
            pair.and_then(|pair| pair.first()?.parse().ok())
                .unwrap_or(0)
        };
        Self {
            passed: count("passed"),
            failed: count("failed"),
            skipped: count("ignored") + count("skipped"),
        }
    }
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(to, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}
