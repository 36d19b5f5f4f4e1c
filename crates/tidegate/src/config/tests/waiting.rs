//! How clients are held while their calls wait.

use std::time::Duration;

use expect_test::expect;
use tidegate_gateway::patience::{ClientPatience, Patience};

use super::{check_wrong, settings};

#[test]
fn how_long_clients_are_held_is_as_it_is_said() {
    assert_eq!(settings("").waiting, Patience::default());
    let settings = settings(
        "
[waiting]
silent = '20s'
ping = '5s'
[waiting.clients.nightly]
agent = 'Nightly-Job/'
timeout = '30m'
opens = false
",
    );
    let expected = Patience {
        silent: Duration::from_secs(20),
        ping_every: Duration::from_secs(5),
        clients: vec![ClientPatience {
            agent: "nightly-job/".to_owned(),
            timeout: Some(Duration::from_mins(30)),
            opens: false,
        }],
        ..Patience::default()
    };
    assert_eq!(settings.waiting, expected);
    check_wrong(
        "
[waiting]
silent = '2h'
ping = '10ms'
[waiting.clients.nightly]
agent = ''
timeout = '1d'
",
        expect![[r#"
            tidegate.toml:4:10: waiting.silent: 7200 s is longer than any client is held, 3600 s; those that come back keep their place
            tidegate.toml:5:8: waiting.ping: 10 ms is too often; the shortest is 1 s, the default "10s"
            tidegate.toml:7:9: waiting.clients.nightly.agent: every user-agent begins with nothing; write what this client's begins with, like "claude-cli/"
            tidegate.toml:8:11: waiting.clients.nightly.timeout: 86400 s is longer than any client is held, 3600 s; those that come back keep their place
        "#]],
    );
}
