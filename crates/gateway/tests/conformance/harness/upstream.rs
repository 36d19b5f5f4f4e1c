//! An upstream that answers what it is told to, and shows what it was sent, byte for byte.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
};

use super::world::PATIENCE;

/// What is done next with a connection.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads one request, its body by `content-length`.
    Read,
    /// Writes this.
    Write(Vec<u8>),
    /// Waits until the other side hangs up.
    Wait,
    /// Closes the connection in good order.
    Close,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// All values of a header.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().filter_map(|it| it.split_once(": "));
        let wanted = fields.filter(|(it, _)| it.eq_ignore_ascii_case(name));
        wanted.map(|(_, value)| value).collect()
    }
}

/// An upstream whose n-th connection goes through the n-th list of steps.
pub(crate) struct Scripted {
    pub(crate) base_url: String,
    seen: Receiver<Seen>,
    closed: Receiver<()>,
}

impl Scripted {
    pub(crate) fn start(connections: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, seen) = channel();
        let (tell_closed, closed) = channel();
        let serving = move || {
            for steps in connections {
                let Ok((mut stream, _)) = listener.accept() else {
                    return;
                };
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                for step in steps {
                    let done = match step {
                        Step::Read => match read(&mut stream) {
                            Some(it) => tell.send(it).is_ok(),
                            None => false,
                        },
                        Step::Write(bytes) => stream.write_all(&bytes).is_ok(),
                        Step::Wait => read(&mut stream).is_some(),
                        Step::Close => false,
                    };
                    if !done {
                        break;
                    }
                }
                drop(stream);
                if tell_closed.send(()).is_err() {
                    return;
                }
            }
        };
        thread::spawn(serving);
        Self {
            base_url,
            seen,
            closed,
        }
    }

    /// One that answers one call with this and hangs up.
    pub(crate) fn once(answer: impl Into<Vec<u8>>) -> Self {
        Self::start(vec![vec![
            Step::Read,
            Step::Write(answer.into()),
            Step::Close,
        ]])
    }

    /// The next request that came.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits until the next connection is closed.
    pub(crate) fn closed(&self) {
        self.closed.recv_timeout(PATIENCE).unwrap();
    }
}

fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut all = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        if let Some(end) = all.windows(4).position(|it| it == b"\r\n\r\n") {
            let head = String::from_utf8(all[..end].to_vec()).unwrap();
            let length = head
                .lines()
                .find_map(|it| it.strip_prefix("content-length: "))
                .map_or(0, |it| it.parse().unwrap());
            if all.len() >= end + 4 + length {
                let body = all[end + 4..end + 4 + length].to_vec();
                return Some(Seen { head, body });
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(length) => all.extend_from_slice(&piece[..length]),
        }
    }
}

/// A base URL where nobody listens.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
