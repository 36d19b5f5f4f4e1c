//! The attacker's site: serves pages, hears their reports, and passes everything else on to the gateway as it came, which is
//! what a name does that leads to the attacker first and to the gateway later.

use std::{
    collections::HashMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;

/// The longest that a page's tries take: some hundred, of which each ends after five seconds at most, nearly all at once.
const REPORT: Duration = Duration::from_mins(3);

const PAGE: &str = include_str!("../../../../e2e/browser/attack.html");

/// Pages by their name. Filled before the browser starts.
type Pages = Arc<parking_lot::Mutex<HashMap<&'static str, String>>>;

/// A site that is served until the program ends.
#[derive(Debug)]
pub(super) struct Attacker {
    port: u16,
    pages: Pages,
    reports: Receiver<String>,
}

impl Attacker {
    pub(super) fn start(gateway: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let (say, reports) = mpsc::channel();
        let pages = Pages::default();
        let site = Site {
            gateway: gateway.to_owned(),
            pages: Arc::clone(&pages),
            say,
        };
        thread::spawn(move || {
            for visitor in listener.incoming().map_while(Result::ok) {
                let site = site.clone();
                // A browser hangs up as it likes: that is no error of the site's.
                thread::spawn(move || site.serve(visitor).unwrap_or_default());
            }
        });
        Ok(Self {
            port,
            pages,
            reports,
        })
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Serves a page that tries these targets at `/attack/NAME`.
    pub(super) fn offer(&self, name: &'static str, targets: &[String]) {
        let list = serde_json::json!(targets).to_string();
        let page = PAGE.replace("\"TARGETS_JSON\"", &list);
        let page = page.replace("REPORT_PATH", "/attack/report");
        self.pages.lock().insert(name, page);
    }

    /// Waits for the next report of a page.
    pub(super) fn report(&self) -> anyhow::Result<String> {
        let told = self.reports.recv_timeout(REPORT);
        told.context("the page did not report: does the browser start?")
    }
}

#[derive(Debug, Clone)]
struct Site {
    gateway: String,
    pages: Pages,
    say: Sender<String>,
}

impl Site {
    fn serve(&self, visitor: TcpStream) -> io::Result<()> {
        let mut visitor = BufReader::new(visitor);
        let (first, head, length) = head(&mut visitor)?;
        let path = first.split(' ').nth(1).unwrap_or_default();
        let Some(name) = path.strip_prefix("/attack/") else {
            return self.pass_on(&head, visitor);
        };
        if name == "report" {
            let mut told = String::new();
            visitor.by_ref().take(length).read_to_string(&mut told)?;
            // Nobody listens any more where the suite has ended.
            self.say.send(told).unwrap_or_default();
            return answer(&mut visitor, "text/plain", "", "heard");
        }
        let page = self.pages.lock().get(name).cloned().unwrap_or_default();
        let sandbox = if name == "sandboxed" {
            "content-security-policy: sandbox allow-scripts allow-forms\r\n"
        } else {
            ""
        };
        answer(&mut visitor, "text/html", sandbox, &page)
    }

    /// Gives the gateway the request as it is, but for one to a connection, and the visitor what comes back.
    fn pass_on(&self, head: &str, mut visitor: BufReader<TcpStream>) -> io::Result<()> {
        let mut gateway = TcpStream::connect(&self.gateway)?;
        // Else the browser would use this connection for its next request too, which may be the site's own.
        let lines = head.lines().filter(|it| {
            !it.to_ascii_lowercase()
                .starts_with("connection: keep-alive")
        });
        let kept: Vec<&str> = lines.filter(|it| !it.is_empty()).collect();
        let ends = if head.to_ascii_lowercase().contains("connection: upgrade") {
            ""
        } else {
            "\r\nconnection: close"
        };
        gateway.write_all(format!("{}{ends}\r\n\r\n", kept.join("\r\n")).as_bytes())?;
        let (mut back, mut to_visitor) = (gateway.try_clone()?, visitor.get_ref().try_clone()?);
        let down = thread::spawn(move || {
            io::copy(&mut back, &mut to_visitor).unwrap_or_default();
            to_visitor.shutdown(Shutdown::Both).unwrap_or_default();
        });
        io::copy(&mut visitor, &mut gateway).unwrap_or_default();
        gateway.shutdown(Shutdown::Both).unwrap_or_default();
        down.join().unwrap_or_default();
        Ok(())
    }
}

/// The first line, the whole head, and the length of the body.
fn head(visitor: &mut BufReader<TcpStream>) -> io::Result<(String, String, u64)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if visitor.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = head
            .get(start..)
            .unwrap_or_default()
            .trim_end()
            .to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line.is_empty() {
            break;
        }
    }
    let first = head.lines().next().unwrap_or_default().to_owned();
    Ok((first, head, length))
}

fn answer(
    visitor: &mut BufReader<TcpStream>,
    kind: &str,
    more: &str,
    body: &str,
) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}; charset=utf-8\r\n{more}cache-control: no-store\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    visitor.get_mut().write_all(head.as_bytes())?;
    visitor.get_mut().write_all(body.as_bytes())
}
