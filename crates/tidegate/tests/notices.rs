//! Notices as they arrive at a webhook, and the links in them as they are followed.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
};

use serde_json::Value;

use crate::world::{Gateway, PATIENCE, World, until};

/// A webhook on this machine: it takes everything, and gives it on.
fn webhook() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (posted, arrived) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (_, body) = message(&mut stream);
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
            if posted.send(serde_json::from_str(&body).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, arrived)
}

/// The head and the body of a message with a length.
fn message(stream: &mut TcpStream) -> (String, String) {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let lower = line.to_ascii_lowercase();
        if let Some(it) = lower.strip_prefix("content-length: ") {
            length = it.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

/// Asks a gateway, and reads the answer.
fn http(at: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    message(&mut stream)
}

/// A call that is answered once somebody has decided; its status.
fn call(at: SocketAddr) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let body = r#"{"model":"claude-sonnet-5-5","max_tokens":64,"messages":[{"role":"user","content":"hello"}]}"#;
        let headers = "content-type: application/json\r\nx-api-key: sk-ant-test\r\nanthropic-version: 2023-06-01\r\nx-tidegate-task: t\r\n";
        let (head, _) = http(at, "POST", "/v1/messages", headers, body);
        head.lines().next().unwrap().to_owned()
    })
}

fn next(arrived: &Receiver<Value>, wanted: &str) -> Value {
    loop {
        let one = arrived.recv_timeout(PATIENCE).unwrap();
        if one["type"] == wanted {
            return one;
        }
    }
}

/// The part of a link that is behind the address.
fn path(link: &Value, gateway: &Gateway) -> String {
    let address = format!("http://{}", gateway.address);
    link.as_str()
        .unwrap()
        .strip_prefix(&address)
        .unwrap()
        .to_owned()
}

/// Every task asks before its first call, which is expected to cost $0.0007, and not again after a yes.
fn asking(url: &str) -> String {
    format!(
        "[budgets.task]\nsoft = \"0.0004\"\nhard = 5\n[notify.webhooks.ops]\nurl = \"{url}\"\nsecret = \"whsec_test\"\n"
    )
}

#[test]
fn a_parked_call_goes_on_when_somebody_follows_the_link_in_its_notice() {
    let (mut world, _provider) = World::with_provider();
    let (url, arrived) = webhook();
    world.configure(&asking(&url));
    let gateway = world.serve();
    let parked = call(gateway.address);
    let asked = next(&arrived, "approval_asked");
    let yes = path(&asked["approve_url"], &gateway);
    // A preview looks at every link in a message.
    for link in ["approve_url", "deny_url"] {
        let (head, page) = http(
            gateway.address,
            "GET",
            &path(&asked[link], &gateway),
            "",
            "",
        );
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(page.contains("<form method=post>"), "{page}");
    }
    assert!(!parked.is_finished());
    let (head, page) = http(gateway.address, "POST", &yes, "", "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}{page}");
    assert!(page.contains("Approved by channel ops"), "{page}");
    assert_eq!(parked.join().unwrap(), "HTTP/1.1 200 OK");
    let decided = next(&arrived, "approval_decided");
    assert_eq!(decided["decided_by"], "channel ops");
    let listed = world.json("approvals --json");
    assert_eq!(listed["approvals"][0]["decided_by"], "channel ops");
    let (head, _) = http(gateway.address, "POST", &yes, "", "");
    assert!(head.starts_with("HTTP/1.1 410"), "{head}");
}

#[test]
fn what_was_asked_before_a_crash_is_told_after_it_and_its_link_still_decides() {
    let (mut world, _provider) = World::with_provider();
    // Nobody listens there.
    let (url, arrived) = webhook();
    world.configure(&asking("http://127.0.0.1:9/"));
    let gateway = world.serve();
    drop(call(gateway.address));
    until("somebody is asked", || {
        world.json("approvals --json")["approvals"][0]["state"] == "open"
    });
    drop(gateway);
    world.configure(&asking(&url));
    let gateway = world.serve();
    let asked = next(&arrived, "approval_asked");
    let no = path(&asked["deny_url"], &gateway);
    let (_, page) = http(gateway.address, "POST", &no, "", "");
    assert!(page.contains("Denied by channel ops"), "{page}");
    assert_eq!(
        call(gateway.address).join().unwrap(),
        "HTTP/1.1 429 Too Many Requests"
    );
}

#[test]
fn a_channel_is_tested_and_what_is_wrong_with_one_is_shown() {
    let mut world = World::new();
    let (url, arrived) = webhook();
    world.set("HOOK", &url);
    world.configure("[notify.webhooks.ops]\nurl_env = \"HOOK\"\nformat = \"slack\"\n[notify.webhooks.dead]\nurl = \"http://127.0.0.1:9/\"\n");
    let _gateway = world.serve();
    assert_eq!(
        world.said("notify test ops"),
        "`ops` took the notice (200, ok)\n"
    );
    let sent = arrived.recv_timeout(PATIENCE).unwrap();
    assert_eq!(sent["text"], "Tidegate's notices for `ops` arrive here.");
    let failed = world.ask("notify test dead");
    assert_eq!(failed.code, 1);
    assert!(
        failed.err.contains("no connection to 127.0.0.1"),
        "{}",
        failed.err
    );
    let failed = world.ask("notify test a/b");
    assert!(
        failed.err.contains("there is no channel `a/b`"),
        "{}",
        failed.err
    );
    let shown = world.said("config show");
    assert!(!shown.contains("127.0.0.1:9/"), "{shown}");
    assert!(world.said("doctor").contains("`ops` (slack)"));
}
