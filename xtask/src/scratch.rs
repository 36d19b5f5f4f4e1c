//! A folder of its own for each run, outside the work tree so that no program takes it for a part of the project.

use std::path::Path;

use anyhow::Context as _;

use crate::report;

/// Removed when dropped, unless [`Scratch::keep`] was called.
#[derive(Debug)]
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn try_new(name: &str) -> anyhow::Result<Self> {
        let prefix = format!("tidegate-{name}-");
        let made = tempfile::Builder::new().prefix(&prefix).tempdir();
        Ok(Self(made.context("cannot make a scratch folder")?))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A folder inside, made if it is not there.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<std::path::PathBuf> {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Leaves everything where it is and says where: for looking at what failed.
    pub(crate) fn keep(mut self) {
        self.0.disable_cleanup(true);
        report::say(format_args!("kept for a look: {}", self.path().display()));
    }
}
