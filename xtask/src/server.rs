//! The program under test, as processes: an emulated provider and a gateway before it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::Signal;

use crate::{bench::clock, bound, shell};

/// A server that says its address in its output and listens on loopback. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    log: PathBuf,
}

impl Server {
    /// Starts it and waits until it has said `127.0.0.1:PORT` on either of its outputs, which both go to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let piped = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = piped.spawn().context("cannot start the server")?;
        let (say, said) = mpsc::channel();
        if let Some(out) = child.stdout.take() {
            follow(out, File::create(log)?, say.clone());
        }
        if let Some(err) = child.stderr.take() {
            follow(err, File::options().append(true).open(log)?, say);
        }
        let mut server = Self {
            child,
            address: String::new(),
            log: log.to_owned(),
        };
        match said.recv_timeout(bound::SERVER_READY) {
            Ok(address) => server.address = address,
            Err(_) => bail!("the server said no address; its words: {}", server.words()),
        }
        Ok(server)
    }

    /// Starts a server that was told its address, and waits until it takes connections there.
    pub(crate) fn start_at(
        command: &mut Command,
        address: &str,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let file = File::create(log)?;
        let output = command.stdin(Stdio::null()).stdout(file.try_clone()?);
        let child = output.stderr(file).spawn();
        let mut server = Self {
            child: child.context("cannot start the server")?,
            address: address.to_owned(),
            log: log.to_owned(),
        };
        let began = clock::now();
        while TcpStream::connect(address).is_err() {
            let ended = server.child.try_wait()?.is_some();
            if ended || began.elapsed() > bound::SERVER_READY {
                bail!(
                    "the server took no connection; its words: {}",
                    server.words()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub(crate) fn stop(mut self) -> anyhow::Result<ExitStatus> {
        rustix::process::kill_process(shell::pid(&self.child)?, Signal::TERM)?;
        shell::wait(&mut self.child, bound::SERVER_STOP)
    }

    /// What it has written so far.
    pub(crate) fn words(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Copies lines to the log until the end, and reports the first address on the way.
fn follow(from: impl Read + Send + 'static, mut log: File, say: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if writeln!(log, "{line}").is_err() {
                return;
            }
            if let Some(address) = address_in(&line) {
                say.send(address).ok(); // nobody listens after the first
            }
        }
    });
}

/// The loopback address in a line, unless its port is the 0 of a request for any port.
fn address_in(line: &str) -> Option<String> {
    const HOST: &str = "127.0.0.1:";
    let port: String = line
        .split(HOST)
        .nth(1)?
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let real = port.parse::<u16>().is_ok_and(|it| it > 0);
    real.then(|| format!("{HOST}{port}"))
}

/// The program, with an environment that holds nothing of the developer's.
pub(crate) fn tidegate(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(home).env("HOME", home);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// `tidegate sim provider`, with further options.
pub(crate) fn provider(program: &Path, home: &Path, options: &[&str]) -> anyhow::Result<Server> {
    let mut command = tidegate(program, home);
    command.args(["sim", "provider", "--listen", "127.0.0.1:0"]);
    command.args(options);
    Server::start(&mut command, &home.join("provider.log"))
}

/// `tidegate serve` before the provider, its data in `home`; `configuration` is the text of its file, if it has one.
pub(crate) fn gateway(
    program: &Path,
    home: &Path,
    provider: &Server,
    configuration: Option<&str>,
) -> anyhow::Result<Server> {
    let mut command = tidegate(program, home);
    command.arg("serve");
    command.env("TIDEGATE_LISTEN", "127.0.0.1:0");
    command.env("TIDEGATE_DATA", home.join("data"));
    command.env("TIDEGATE__PROVIDERS__ANTHROPIC__BASE_URL", provider.url());
    command.env("TIDEGATE__PROVIDERS__OPENAI__BASE_URL", provider.url());
    if let Some(text) = configuration {
        let file = home.join("tidegate.toml");
        std::fs::write(&file, text)?;
        command.env("TIDEGATE_CONFIG", file);
    }
    Server::start(&mut command, &home.join("gateway.log"))
}

/// An address that nobody listens at now.
pub(crate) fn free_address() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}

#[cfg(test)]
mod tests;
