//! Which systems are compared: those that there are by name, and Tidegate under a configuration of one's own.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use tidegate_sim::replay::{Configured, Contender, SystemKind};

use crate::config::{self, Effective, Loaded, Origin, Sources};

/// How a file of a configuration ends.
const ENDING: &str = "toml";

/// The systems of these names, each once. A name that ends in `.toml` is a file with a configuration.
pub(super) fn systems(names: &[String]) -> anyhow::Result<Vec<Contender>> {
    let mut all: Vec<Contender> = Vec::new();
    for name in names {
        let system = system(name.trim())?;
        ensure!(
            all.iter().all(|it| it.word() != system.word()),
            "there are two systems `{}`: name each once, and files differently",
            system.word()
        );
        all.push(system);
    }
    Ok(all)
}

fn system(name: &str) -> anyhow::Result<Contender> {
    let path = Path::new(name);
    if path.extension().is_some_and(|it| it == ENDING) {
        return configured(path);
    }
    let found = SystemKind::ALL.iter().find(|it| it.word() == name);
    let known = SystemKind::ALL.iter().map(|it| it.word());
    let known = known.collect::<Vec<_>>().join(", ");
    found.map(|it| Contender::from(*it)).with_context(|| {
        format!(
            "there is no system `{name}`; there are {known}, and Tidegate under the configuration of any FILE.{ENDING}"
        )
    })
}

fn configured(path: &Path) -> anyhow::Result<Contender> {
    let stem = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    ensure!(
        !stem.is_empty() && stem.len() <= 64 && stem.chars().all(plain),
        "`{}`: tables and transcripts name a system as its file; use up to 64 letters, digits, dots, dashes and underscores",
        path.display()
    );
    let known = SystemKind::ALL.iter().any(|it| it.word() == stem);
    ensure!(
        !known,
        "`{}`: `{stem}` is a system already; call the file something else",
        path.display()
    );
    let loaded = config::load(&alone(path.to_owned()))?;
    let unusable = unusable(&loaded.effective);
    if !unusable.is_empty() {
        bail!("{}", unusable.join("\n"));
    }
    Ok(Contender::configured(&stem, of(&loaded)))
}

/// The file, and of the environment what it needs for secrets and folders: what is set there for this machine's own
/// gateway is not what is compared.
fn alone(file: PathBuf) -> Sources {
    let of_process = Sources::of_process();
    let mut environment = of_process.environment;
    environment.retain(|name, _| !name.starts_with(config::VARIABLE_PREFIX));
    Sources {
        file: Some(file),
        environment,
        ..Sources::default()
    }
}

fn of(loaded: &Loaded) -> Configured {
    let settings = &loaded.settings;
    let waiting = &settings.waiting;
    Configured {
        settings: settings.engine(true),
        prices: settings.prices.clone(),
        patience: waiting.opened.max(waiting.silent),
    }
}

/// Every key of the file that would change what comes out, and that a replay has no way to follow.
fn unusable(effective: &[Effective]) -> Vec<String> {
    let of_file = |it: &&Effective| matches!(it.origin, Origin::File { .. });
    let all = effective.iter().filter(of_file);
    let told = all.filter_map(|it| {
        let why = why_not(it, effective)?;
        Some(format!("{}: {} = {}: {why}", it.origin, it.key, it.value))
    });
    told.collect()
}

fn why_not(of: &Effective, all: &[Effective]) -> Option<&'static str> {
    let (before, last) = of.key.rsplit_once('.')?;
    let section = of.key.split('.').next()?;
    let nothing = matches!(of.value.as_str(), "[]" | "{}");
    match (section, last) {
        ("fallback", "platforms") | ("platforms", "fallback") if !nothing => {
            Some("a replay has one provider, and nothing to fall back to; leave it out")
        }
        ("platforms", "model_map") if !nothing => {
            Some("a replay asks for the models that were recorded; leave it out")
        }
        ("budgets", "soft") => {
            let mode = format!("{before}.mode");
            let watched = all
                .iter()
                .any(|it| it.key == mode && it.value == "\"watch\"");
            (!watched).then_some(
                "in a replay nobody says yes or no; leave it out, or write mode = \"watch\" beside it",
            )
        }
        ("quotas", "output_bytes") => {
            Some("a replay has no answers that could be ended early; leave it out")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
