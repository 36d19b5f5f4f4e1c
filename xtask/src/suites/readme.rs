//! Each command of the README, run as its reader would run it; each name in it, looked up.
//!
//! Blocks of `sh`, `python` and `toml` are taken in order: commands and programs must succeed,
//! configurations must be valid, and a `text` block right below one holds lines that it prints (see
//! [`page::missing`]). A comment above a block marks one that goes on, or that can't be run and why:
//! `<!-- test: serve 127.0.0.1:8787 -->`, `<!-- test: none because … -->`. In place of `cargo run
//! --release --` stands the program that is tested, in place of the page's addresses free ones, and
//! the providers' base URLs lead to the emulated provider.

mod page;

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};

use super::{Rig, Suite, Tally};
use crate::{
    packages::Package,
    report,
    scratch::Scratch,
    server::{self, Server},
    shell,
};
use page::{Block, Language, Mark};

const CURL: Package = Package::Debian {
    program: "curl",
    package: "curl",
};

pub(super) const SUITES: &[Suite] = &[Suite {
    name: "readme",
    proves: "each command of the README does what it shows, and each name in it is there",
    needs: &[Package::PythonClients, Package::NodeClients, CURL],
    run,
}];

/// The page whose commands are run.
const README: &str = "README.md";

/// Further pages whose names are looked up, and folders of such.
const NAMING: &[&str] = &[
    "ARCHITECTURE.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "docs/adr",
];

/// What the README types for the program it is built from.
const TYPED: &str = "cargo run --release --";

/// The longest block is a prompt to Claude Code, a few seconds; a debug build beside a compiler is slower.
const BLOCK: Duration = Duration::from_mins(3);

/// Credentials for clients and configurations that ask for some. None has ever been one.
const MADE_UP: &[(&str, &str)] = &[
    ("ANTHROPIC_API_KEY", "sk-ant-api03-made-up-for-the-readme"),
    ("OPENAI_API_KEY", "sk-made-up-for-the-readme"),
    ("BACKUP_API_KEY", "sk-made-up-for-the-readme"),
];

fn run(rig: &Rig) -> anyhow::Result<Tally> {
    let page = fs::read_to_string(shell::root().join(README))?;
    let scratch = Scratch::try_new("readme")?;
    let done = named(rig, &page).and_then(|it| Ok(it + Desk::try_new(rig, &scratch)?.work(&page)?));
    if !done.as_ref().is_ok_and(|tally| tally.failed == 0) {
        scratch.keep();
    }
    done
}

/// Where the commands are typed: an empty home, and a PATH with the programs that a reader has.
struct Desk {
    home: PathBuf,
    path: OsString,
    /// What providers' base URLs lead to.
    provider: Server,
    /// In the order in which they were started, with what they are to print.
    servers: Vec<(Server, Block)>,
    /// Addresses on the page, and where that is answered here.
    addresses: Vec<(String, String)>,
}

impl Desk {
    fn try_new(rig: &Rig, scratch: &Scratch) -> anyhow::Result<Self> {
        let program = rig.program()?;
        let bin = scratch.folder("bin")?;
        symlink(program, bin.join("tidegate"))?;
        let (modules, node) = rig.packages.node()?;
        symlink(super::clients::claude_in(&modules)?, bin.join("claude"))?;
        let python = rig.packages.python()?;
        let beside = |it: &Path| it.parent().map(Path::to_owned).unwrap_or_default();
        let theirs = std::env::var_os("PATH").unwrap_or_default();
        let folders = [bin, beside(&python), beside(&node)].into_iter();
        let path = std::env::join_paths(folders.chain(std::env::split_paths(&theirs)))?;
        let home = scratch.folder("home")?;
        Ok(Self {
            provider: server::provider(program, scratch.path(), &[])?,
            home,
            path,
            servers: Vec::new(),
            addresses: Vec::new(),
        })
    }

    fn work(mut self, page: &str) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        for block in page::blocks(page)? {
            report::say(format_args!("-- {README}:{}", block.line));
            let line = block.line;
            tally = tally + counted(line, self.try_block(block));
        }
        // A gateway before the provider it was started after.
        while let Some((server, block)) = self.servers.pop() {
            let log = self.log(block.line);
            let ended = ended_well(server, &log).and_then(|words| self.compare(&block, &words));
            tally = tally + counted(block.line, ended);
        }
        let verify = self.shell("tidegate ledger verify");
        Ok(tally + counted(0, self.ends(verify).map(drop)))
    }

    fn try_block(&mut self, block: Block) -> anyhow::Result<()> {
        match (&block.mark, block.language) {
            (Mark::None(why), _) => {
                report::say(format_args!("not run because {why}"));
                Ok(())
            }
            (Mark::Serve(_), Language::Shell) => self.serve(block),
            (Mark::Serve(_), _) => bail!("only commands serve"),
            (Mark::Run, Language::Shell) => {
                let output = self.ends(self.shell(&block.text))?;
                self.compare(&block, &output)
            }
            (Mark::Run, Language::Python) => {
                let file = self.home.join("program.py");
                fs::write(&file, self.here(&block.text))?;
                let output = self.ends(self.shell("python program.py"))?;
                self.compare(&block, &output)
            }
            (Mark::Run, Language::Toml) => {
                fs::write(self.home.join("page.toml"), &block.text)?;
                let check = self.shell("tidegate config check --config page.toml");
                self.ends(check).map(drop)
            }
        }
    }

    fn serve(&mut self, block: Block) -> anyhow::Result<()> {
        let Mark::Serve(shown) = block.mark.clone() else {
            bail!("it is not marked as a server");
        };
        // The shell makes room for the server, so that signals reach it.
        let text = block.text.replace(TYPED, "exec tidegate");
        let text = text.replace(&shown, "127.0.0.1:0");
        let mut command = self.shell(&text);
        command.env("TIDEGATE_LISTEN", "127.0.0.1:0");
        let server = Server::start(&mut command, &self.log(block.line))?;
        self.addresses.push((shown, server.address.clone()));
        self.servers.push((server, block));
        Ok(())
    }

    fn log(&self, line: usize) -> PathBuf {
        self.home.join(format!("serve-{line}.log"))
    }

    /// Commands, ready to be run: both outputs in one.
    fn shell(&self, text: &str) -> Command {
        let text = self.here(text).replace(TYPED, "tidegate");
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", &format!("exec 2>&1\n{text}")]);
        command.env_clear().current_dir(&self.home);
        command.env("HOME", &self.home).env("PATH", &self.path);
        command.env("DISABLE_AUTOUPDATER", "1");
        command.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
        command.envs(MADE_UP.iter().copied());
        for provider in ["ANTHROPIC", "OPENAI"] {
            let key = format!("TIDEGATE__PROVIDERS__{provider}__BASE_URL");
            command.env(key, self.provider.url());
        }
        command
    }

    /// Runs it to its end, which must be a good one, and returns what it wrote.
    fn ends(&self, mut command: Command) -> anyhow::Result<String> {
        let (status, output) = shell::tee(&mut command, BLOCK)?;
        ensure!(status.success(), "ended with {status}");
        let back = |text: String, (shown, real): &(String, String)| text.replace(real, shown);
        Ok(self.addresses.iter().fold(output, back))
    }

    /// The page's addresses, replaced by those that are answered here.
    fn here(&self, text: &str) -> String {
        let put = |text: String, (shown, real): &(String, String)| text.replace(shown, real);
        self.addresses.iter().fold(text.to_owned(), put)
    }

    fn compare(&self, block: &Block, output: &str) -> anyhow::Result<()> {
        let back = |text: String, (shown, real): &(String, String)| text.replace(real, shown);
        let output = self.addresses.iter().fold(output.to_owned(), back);
        let expected = block.shows.as_deref().unwrap_or_default();
        match page::missing(expected, &output) {
            Some(line) => bail!("does not print `{line}`; it prints:\n{output}"),
            None => Ok(()),
        }
    }
}

/// Asks a server to end, which it does with success, and returns all it wrote.
fn ended_well(server: Server, log: &Path) -> anyhow::Result<String> {
    let status = server.stop()?;
    ensure!(status.success(), "the server ended with {status}");
    Ok(fs::read_to_string(log)?)
}

fn counted(line: usize, done: anyhow::Result<()>) -> Tally {
    match done {
        Ok(()) => Tally::passed(),
        Err(error) => {
            report::say(format_args!("{README}:{line}: {error:#}"));
            Tally::failed()
        }
    }
}

/// What is only named in running text: commands, suites, tests and files.
fn named(rig: &Rig, readme: &str) -> anyhow::Result<Tally> {
    let mut missing = Vec::new();
    for command in page::spans(readme)
        .iter()
        .filter_map(|it| it.strip_prefix("tidegate "))
    {
        let mut help = Command::new(rig.program()?);
        help.args(command.split_whitespace()).arg("--help");
        if shell::read(&mut help).is_err() {
            missing.push(format!(
                "{README}: there is no command `tidegate {command}`"
            ));
        }
    }
    let sources = sources(&shell::root().join("crates"))?;
    for (name, text) in pages()? {
        let known = |name: &&str| {
            super::SUITES
                .iter()
                .copied()
                .flatten()
                .any(|it| it.name == *name)
        };
        let suites = page::suites(&text).into_iter().filter(|it| !known(it));
        missing.extend(suites.map(|it| format!("{name}: there is no suite `{it}`")));
        let strange = strange_names(&text, &sources).into_iter();
        missing.extend(strange.map(|it| format!("{name}: no source has `{it}`")));
        let files = page::spans(&text).into_iter().filter(|it| is_file(it));
        let gone = files.filter(|it| !shell::root().join(it).exists());
        missing.extend(gone.map(|it| format!("{name}: there is no file `{it}`")));
    }
    for it in &missing {
        report::say(it);
    }
    Ok(if missing.is_empty() {
        Tally::passed()
    } else {
        Tally::failed()
    })
}

/// Names of tests, metrics and settings that no source has as a word of its own.
fn strange_names<'a>(page: &'a str, sources: &str) -> Vec<&'a str> {
    let is_word = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    let is_name = |it: &&str| it.matches('_').count() >= 2 && it.chars().all(is_word);
    let stands = |name: &str| {
        sources.match_indices(name).any(|(at, _)| {
            let before = sources[..at].chars().next_back();
            let after = sources[at + name.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    };
    let names = page::spans(page).into_iter().filter(is_name);
    names.filter(|it| !stands(it)).collect()
}

/// Whether it names a file or folder of the tree.
fn is_file(span: &str) -> bool {
    let folders = ["crates/", "docs/", "xtask/", "e2e/"];
    let is_path = |it: char| it.is_ascii_alphanumeric() || "/._-".contains(it);
    let is_page = Path::new(span).extension().is_some_and(|it| it == "md");
    span.chars().all(is_path) && (is_page || folders.iter().any(|it| span.starts_with(it)))
}

/// The pages that name things, with their texts.
fn pages() -> anyhow::Result<Vec<(String, String)>> {
    let mut pages = Vec::new();
    for name in std::iter::once(&README).chain(NAMING) {
        let path = shell::root().join(name);
        if path.is_dir() {
            for file in fs::read_dir(&path)? {
                let file = file?.path();
                pages.push((file.display().to_string(), fs::read_to_string(&file)?));
            }
        } else {
            let text = fs::read_to_string(&path).with_context(|| (*name).to_owned())?;
            pages.push(((*name).to_owned(), text));
        }
    }
    Ok(pages)
}

/// All Rust below a folder, in one text.
fn sources(folder: &Path) -> anyhow::Result<String> {
    let mut all = String::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            all.push_str(&fs::read_to_string(&path)?);
            all.push('\n');
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
