//! What a run leaves behind, and the search through it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};

use super::{super::wire::Answer, mark};

/// Files of the suite's own beside what the program writes: the suite put the secrets there itself.
const NOT_LEFT: [&str; 1] = ["tidegate.toml"];

/// Everything that was said and written.
pub(super) struct Left<'a> {
    home: &'a Path,
    said: Vec<(String, Vec<u8>)>,
    /// Secrets that the program made itself, and the one file that may hold each.
    ours: Vec<(String, Option<PathBuf>)>,
}

impl<'a> Left<'a> {
    pub(super) const fn new(home: &'a Path) -> Self {
        Self {
            home,
            said: Vec::new(),
            ours: Vec::new(),
        }
    }

    /// Keeps what the program said, to be searched.
    pub(super) fn keep(&mut self, what: &str, bytes: &[u8]) {
        self.said.push((what.to_owned(), bytes.to_vec()));
    }

    /// The same, unless a provider's answer was passed on.
    pub(super) fn keep_if_ours(&mut self, what: &str, answer: &Answer) {
        if answer.header("x-tidegate-platform").is_none() {
            self.keep(what, &answer.body);
        }
    }

    /// Searches for a secret of the program's own, too, but not in `but`, where it belongs.
    pub(super) fn watch_for(&mut self, secret: &str, but: Option<PathBuf>) {
        self.ours.push((secret.to_owned(), but));
    }

    /// Finds no secret anywhere, or says where each was; and nothing is readable by others.
    pub(super) fn search(&self, when: &str) -> anyhow::Result<String> {
        let files = self.files()?;
        let mut findings = Vec::new();
        let mut searched = 0;
        for (path, bytes) in &files {
            searched += bytes.len();
            let place = path.strip_prefix(self.home).unwrap_or(path);
            findings.extend(self.found(bytes, Some(path), &place.display().to_string()));
        }
        for (what, bytes) in &self.said {
            searched += bytes.len();
            findings.extend(self.found(bytes, None, what));
        }
        findings.sort();
        findings.dedup();
        findings.extend(self.open_to_others()?);
        if !findings.is_empty() {
            bail!(
                "{when}: {} secrets were left:\n{}",
                findings.len(),
                findings.join("\n")
            );
        }
        Ok(format!(
            "{searched} bytes in {} files and {} answers hold no secret",
            files.len(),
            self.said.len()
        ))
    }

    fn found(&self, bytes: &[u8], path: Option<&Path>, place: &str) -> Vec<String> {
        let marked = mark::found(bytes).into_iter();
        let mut findings: Vec<String> = marked.map(|it| format!("{place}: {it}")).collect();
        for (secret, but) in &self.ours {
            let belongs = path.is_some() && path == but.as_deref();
            if !belongs && mark::holds(bytes, secret) {
                findings.push(format!("{place}: a secret of our own"));
            }
        }
        findings
    }

    /// That each name was found in each place of its list, and among the answers: else nothing would be found there either.
    pub(super) fn is_not_blind(&self, kept: &[(&str, &[&str])]) -> anyhow::Result<()> {
        let files = self.files()?;
        for (name, places) in kept {
            for place in *places {
                // What a database was given last may stand in a file beside it.
                let here = |it: &Path| it.to_string_lossy().contains(place);
                let mut here = files.iter().filter(|(it, _)| here(it));
                let found = here.any(|(_, bytes)| mark::holds(bytes, name));
                ensure!(found, "`{name}` is not in {place}: what is searched there?");
            }
            let said = self.said.iter().any(|(_, bytes)| mark::holds(bytes, name));
            ensure!(said, "`{name}` was never told: what is searched there?");
        }
        let mut at_home = self
            .ours
            .iter()
            .filter_map(|(secret, but)| Some((secret, but.as_ref()?)));
        let each =
            at_home.all(|(secret, file)| fs::read(file).is_ok_and(|it| mark::holds(&it, secret)));
        ensure!(each, "the token is not where it belongs");
        Ok(())
    }

    fn files(&self) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut files = Vec::new();
        walk(self.home, &mut |path| {
            let name = path.file_name().unwrap_or_default();
            if !NOT_LEFT.iter().any(|it| name == *it) && path.is_file() {
                files.push((path.to_owned(), fs::read(path)?));
            }
            Ok(())
        })?;
        Ok(files)
    }

    /// Whatever other users of the machine could read in the data folder.
    fn open_to_others(&self) -> anyhow::Result<Vec<String>> {
        let mut open = Vec::new();
        walk(&self.home.join("data"), &mut |path| {
            let mode = fs::symlink_metadata(path)?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                open.push(format!("{} is open to others: {mode:o}", path.display()));
            }
            Ok(())
        })?;
        Ok(open)
    }
}

/// Visits a folder and everything in it.
fn walk(folder: &Path, visit: &mut impl FnMut(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    visit(folder)?;
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, visit)?;
        } else {
            visit(&path)?;
        }
    }
    Ok(())
}
