//! Running other programs: their output is shown as it comes, kept where it is read, and their time is bounded.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::report;

/// The project's root folder: where cargo runs this program from, as a folder of built files that
/// several clones share may hold what was built for another; else where it was built.
pub(crate) fn root() -> &'static Path {
    static XTASK: LazyLock<PathBuf> = LazyLock::new(|| {
        let run_from = std::env::var_os("CARGO_MANIFEST_DIR");
        run_from.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
    });
    XTASK.parent().unwrap_or(&XTASK)
}

/// Where cargo builds: `CARGO_TARGET_DIR` (relative to the current folder, as cargo reads it), else `target` in the root.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The cargo that runs us, in the root folder.
pub(crate) fn cargo<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).args(arguments);
    command
}

/// Shows the command, runs it with its output shown, and returns what it wrote to standard output.
/// A command that fails, or runs for longer than `limit`, is an error.
pub(crate) fn show(command: &mut Command, limit: Duration) -> anyhow::Result<String> {
    report::say(format_args!("$ {}", line(command)));
    let (status, text) = tee(command, limit)?;
    if !status.success() {
        bail!("`{}` ended with {status}", line(command));
    }
    Ok(text)
}

/// Like [`show`], but a failing status is returned and not an error.
pub(crate) fn tee(command: &mut Command, limit: Duration) -> anyhow::Result<(ExitStatus, String)> {
    let name = line(command);
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = started.with_context(|| format!("cannot start `{name}`"))?;
    let out = child.stdout.take().context("no standard output")?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            report::say(&line);
            text.push_str(&line);
            text.push('\n');
        }
        text
    });
    let status = wait(&mut child, limit).with_context(|| format!("`{name}`"))?;
    let text = reader.join().unwrap_or_default();
    Ok((status, text))
}

/// Says what it runs and keeps the rest to itself, unless it fails: then the error is the last thing it wrote.
pub(crate) fn quietly(command: &mut Command, limit: Duration) -> anyhow::Result<()> {
    report::say(format_args!("$ {}", line(command)));
    let name = line(command);
    let mut written = tempfile::tempfile()?;
    let output = command.stdin(Stdio::null()).stdout(written.try_clone()?);
    let started = output.stderr(written.try_clone()?).spawn();
    let mut child = started.with_context(|| format!("cannot start `{name}`"))?;
    let status = wait(&mut child, limit).with_context(|| format!("`{name}`"))?;
    if status.success() {
        return Ok(());
    }
    let mut text = Vec::new();
    written.seek(SeekFrom::Start(0))?;
    written.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rev().find(|it| !it.trim().is_empty());
    bail!(
        "{}",
        last.map_or_else(|| format!("`{name}` ended with {status}"), str::to_owned)
    )
}

/// Runs quietly and returns standard output; the error holds what was written to standard error.
pub(crate) fn read(command: &mut Command) -> anyhow::Result<String> {
    let name = line(command);
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start `{name}`"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("`{name}` ended with {}: {}", output.status, words.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{name}` wrote no text"))
}

/// Waits for the child to end; after `limit` it is killed and that is an error.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> anyhow::Result<ExitStatus> {
    let pid = pid(child)?;
    let (ended, end) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || match end.recv_timeout(limit) {
        Err(mpsc::RecvTimeoutError::Timeout) => {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok()
        }
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => false,
    });
    let status = child.wait();
    drop(ended);
    if watchdog.join().unwrap_or(false) {
        bail!("was killed after {} s", limit.as_secs());
    }
    Ok(status?)
}

/// The child's process id, for signals.
pub(crate) fn pid(child: &Child) -> anyhow::Result<rustix::process::Pid> {
    let raw = i32::try_from(child.id())?;
    rustix::process::Pid::from_raw(raw).context("no process id")
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests;
