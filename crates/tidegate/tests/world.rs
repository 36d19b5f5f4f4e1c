//! A machine with a folder of its own: programs are started on it, and what they say is read.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    thread,
    time::Duration,
};

use regex_lite::Regex;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;
use tidegate_types::{Clock, SystemClock};

/// Nothing here takes a tenth of it, even where several builds share the machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// The program under test.
const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");

/// Asks until it is so. Each question waits for an answer itself.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = SystemClock::start();
    while !is_so() {
        assert!(clock.monotonic().0 < nanos(PATIENCE), "not in time: {what}");
        thread::yield_now();
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}

/// A machine.
#[derive(Debug)]
pub(crate) struct World {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl World {
    /// With nothing on it. What listens takes a free port: machines of other tests run beside it.
    pub(crate) fn new() -> Self {
        let listen = ("TIDEGATE_LISTEN".to_owned(), "127.0.0.1:0".to_owned());
        Self {
            folder: tempfile::tempdir().unwrap(),
            variables: vec![listen],
        }
    }

    /// With a provider, which everything started from here on calls.
    pub(crate) fn with_provider() -> (Self, Program) {
        let mut world = Self::new();
        let (provider, address) = world.provider();
        for name in ["ANTHROPIC", "OPENAI"] {
            let variable = format!("TIDEGATE__PROVIDERS__{name}__BASE_URL");
            world.set(&variable, &format!("http://{address}"));
        }
        (world, provider)
    }

    /// A provider that nobody calls yet, and where it listens.
    pub(crate) fn provider(&self) -> (Program, String) {
        let mut provider = self.start("sim provider --listen 127.0.0.1:0 --unlimited");
        let line = provider.line("emulated provider at http://");
        let (_, address) = line.rsplit_once("http://").unwrap();
        (provider, address.to_owned())
    }

    /// Sets a variable of everything started from here on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a configuration, which everything started from here on reads.
    pub(crate) fn configure(&mut self, toml: &str) {
        let file = self.path("tidegate.toml");
        std::fs::write(&file, format!("version = 1\n{toml}")).unwrap();
        if !self.variables.iter().any(|(it, _)| it == "TIDEGATE_CONFIG") {
            self.set("TIDEGATE_CONFIG", file.to_str().unwrap());
        }
    }

    /// A program on this machine, with no environment but its own.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.folder.path())
            .env("TIDEGATE_DATA", self.data())
            .envs(self.variables.iter().cloned());
        command
    }

    /// Starts `tidegate` with these arguments.
    pub(crate) fn start(&self, line: &str) -> Program {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.start_with(&words)
    }

    /// The same, where arguments have spaces.
    pub(crate) fn start_with(&self, arguments: &[&str]) -> Program {
        let mut command = self.command(TIDEGATE);
        command.args(arguments);
        Program::start(command)
    }

    /// Runs `tidegate` to its end.
    pub(crate) fn ask(&self, line: &str) -> Answer {
        self.start(line).end()
    }

    /// Runs `tidegate` to its end, which must be a good one, and gives back what it said.
    #[track_caller]
    pub(crate) fn said(&self, line: &str) -> String {
        let answer = self.ask(line);
        assert_eq!(answer.code, 0, "`tidegate {line}`: {}", answer.err);
        answer.out
    }

    /// The same, as JSON.
    #[track_caller]
    pub(crate) fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.said(line)).unwrap()
    }

    /// Starts a gateway on a free port.
    #[track_caller]
    pub(crate) fn serve(&self) -> Gateway {
        self.serve_with("")
    }

    /// The same, with more arguments.
    #[track_caller]
    pub(crate) fn serve_with(&self, more: &str) -> Gateway {
        let started = self.start(&format!("serve {more}"));
        Gateway::greeting(started)
    }

    /// What is kept for the local user's changes.
    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.data().join("token")).unwrap()
    }

    /// A text without what differs from run to run: times, ids, secrets, addresses, this folder,
    /// and the widths that they give to columns.
    pub(crate) fn normal(&self, text: &str) -> String {
        let folder = regex_lite::escape(self.folder.path().to_str().unwrap());
        let mut text = text.to_owned();
        for (pattern, instead) in [
            (folder.as_str(), "HOME"),
            (r"\b(call|key|resv)_[0-9a-f]{16}", "${1}_ID"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
            (r"\btg-[A-Za-z0-9_-]{43}", "tg-SECRET"),
            (r"\b[0-9a-f]{64}\b", "HASH"),
            (r"\b[0-9a-f]{32}\b", "TRACE"),
            (r"\b(req|msg)_[A-Za-z0-9]+", "${1}_ID"),
            (r"127\.0\.0\.1:\d+", "ADDRESS"),
            (r"\b(process|pid) \d+", "${1} N"),
            (r"\b[\d,]+ ms\b", "N ms"),
            (r"(?m)^(took|we added) \(µs\).*$", "$1 (µs) N"),
            (r" {2,}", "  "),
        ] {
            let pattern = Regex::new(pattern).unwrap();
            text = pattern.replace_all(&text, instead).into_owned();
        }
        text
    }
}

/// A program that runs. It is killed with the test.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) id: u32,
    stdin: Option<ChildStdin>,
    lines: Receiver<(Source, String)>,
    ended: Receiver<ExitStatus>,
    out: String,
    err: String,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Out,
    Err,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its exit code; -1 after a signal.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Program {
    /// Starts it.
    pub(crate) fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (line, lines) = channel();
        forward(child.stdout.take().unwrap(), Source::Out, line.clone());
        forward(child.stderr.take().unwrap(), Source::Err, line);
        let (id, stdin) = (child.id(), child.stdin.take());
        Self {
            id,
            stdin,
            lines,
            ended: wait(child),
            out: String::new(),
            err: String::new(),
        }
    }

    /// The first line from here on that holds `text`.
    #[track_caller]
    pub(crate) fn line(&mut self, text: &str) -> String {
        loop {
            match self.next_line() {
                Some(line) if line.contains(text) => return line,
                Some(_) => {}
                None => panic!("it never said `{text}`, but\n{}{}", self.out, self.err),
            }
        }
    }

    fn next_line(&mut self) -> Option<String> {
        let (source, line) = match self.lines.recv_timeout(PATIENCE) {
            Ok(it) => it,
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("it is silent after\n{}{}", self.out, self.err)
            }
        };
        let said = match source {
            Source::Out => &mut self.out,
            Source::Err => &mut self.err,
        };
        said.push_str(&line);
        said.push('\n');
        Some(line)
    }

    /// Writes a line to its standard input.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.id).unwrap()).unwrap()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Answer {
        self.stdin = None;
        while self.next_line().is_some() {}
        let status = self.ended.recv_timeout(PATIENCE).unwrap();
        Answer {
            code: status.code().unwrap_or(-1),
            out: std::mem::take(&mut self.out),
            err: std::mem::take(&mut self.err),
        }
    }

    /// Asks it to end, and waits for that.
    #[track_caller]
    pub(crate) fn stop(self) -> Answer {
        self.signal(Signal::TERM);
        self.end()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Its id is its own until somebody has waited for it.
        if matches!(self.ended.try_recv(), Err(TryRecvError::Empty)) {
            rustix::process::kill_process(self.pid(), Signal::KILL).unwrap_or_default();
            // What it held, such as the lock of its data, is free once it has ended.
            let _status = self.ended.recv_timeout(PATIENCE);
        }
    }
}

fn forward(from: impl Read + Send + 'static, source: Source, to: Sender<(Source, String)>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send((source, line)).is_err() {
                break;
            }
        }
    });
}

fn wait(mut child: Child) -> Receiver<ExitStatus> {
    let (end, ended) = channel();
    thread::spawn(move || {
        let status = child.wait().unwrap();
        end.send(status).unwrap_or_default();
    });
    ended
}

/// A gateway that runs.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
}

impl Gateway {
    /// Waits for a gateway to say where it serves.
    #[track_caller]
    pub(crate) fn greeting(mut program: Program) -> Self {
        let line = program.line("tidegate serves at http://");
        let address = line.split_once("http://").unwrap().1;
        let address = address.split_once(',').unwrap().0;
        Self {
            program,
            address: address.parse().unwrap(),
        }
    }
}

/// Whether a file is for its owner alone.
pub(crate) fn mode(file: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}
