//! How clients are held while their calls wait.

use std::time::Duration;

use tidegate_gateway::patience::{ClientPatience, Patience};

use crate::config::{schema::Reader, sections, tree};

/// No connection is held for longer: whoever waits for an hour is better told when to come back.
const HELD_MAX: Duration = Duration::from_hours(1);

/// Streams are not pinged more often: thousands of them would do nothing else.
const PING_MIN: Duration = Duration::from_secs(1);

pub(super) fn check(raw: &sections::Waiting, reader: &mut Reader) -> Patience {
    for (key, value) in [
        ("waiting.silent", raw.silent),
        ("waiting.opened", raw.opened),
        ("waiting.timeout", raw.timeout),
    ] {
        is_held_for(value, key, reader);
    }
    if raw.ping < PING_MIN {
        let key = "waiting.ping";
        let message = format!(
            "{} ms is too often; the shortest is {} s, the default \"10s\"",
            raw.ping.as_millis(),
            PING_MIN.as_secs()
        );
        reader.refuse(reader.origin(key), key.to_owned(), message);
    }
    let clients = raw.clients.iter();
    Patience {
        silent: raw.silent,
        opened: raw.opened,
        ping_every: raw.ping,
        timeout: raw.timeout,
        clients: clients.map(|(name, it)| client(name, it, reader)).collect(),
    }
}

fn client(name: &str, raw: &sections::WaitingClient, reader: &mut Reader) -> ClientPatience {
    let path = format!("waiting.clients.{}", tree::key(name));
    let key = format!("{path}.agent");
    super::name_fits(name, &key, reader);
    if raw.agent.is_empty() {
        let message = "every user-agent begins with nothing; write what this client's begins with, like \"claude-cli/\"";
        reader.refuse(reader.origin(&key), key, message);
    }
    if let Some(timeout) = raw.timeout {
        is_held_for(timeout, &format!("{path}.timeout"), reader);
    }
    ClientPatience {
        agent: raw.agent.to_ascii_lowercase(),
        timeout: raw.timeout,
        opens: raw.opens,
    }
}

fn is_held_for(value: Duration, key: &str, reader: &mut Reader) {
    if value > HELD_MAX {
        let message = format!(
            "{} s is longer than any client is held, {} s; those that come back keep their place",
            value.as_secs(),
            HELD_MAX.as_secs()
        );
        reader.refuse(reader.origin(key), key.to_owned(), message);
    }
}
