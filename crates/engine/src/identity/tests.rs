use expect_test::{Expect, expect};
use tidegate_types::Timestamp;

use super::*;

const SECRET: &str = "tg-of-ann";

fn ring() -> KeyRing {
    let key = |id, name: &str, secret: &str, revoked_at| Key {
        id: KeyId::from_raw(id),
        name: name.to_owned(),
        hash: keys::hash(secret),
        role: Role::Caller,
        user: name.to_owned(),
        organisation: "acme".to_owned(),
        default_priority: None,
        highest_priority: Priority::High,
        default_task_type: None,
        created_at: Timestamp(0),
        revoked_at,
    };
    KeyRing::new([
        key(1, "ann", SECRET, None),
        key(2, "bob", "tg-of-bob", Some(Timestamp(1))),
    ])
}

/// What its lines show that are not ours.
fn own(lines: &str) -> Own {
    let lines = lines.lines().map(str::trim);
    Own::of(lines.filter_map(|it| match it.split_once(": ")? {
        ("x-api-key" | "authorization" | "api-key", value) => Some(value),
        _ => None,
    }))
}

/// What a request from `peer` with these header lines is taken for.
#[track_caller]
fn check(peer: &str, lines: &str, expected: Expect) {
    let line = |name: &str| {
        let mut lines = lines.lines().map(str::trim);
        lines.find_map(|it| it.strip_prefix(name)?.strip_prefix(": "))
    };
    let presented = Presented {
        peer: peer.parse().unwrap(),
        host: line("host"),
        origin: line("origin"),
        x_api_key: line("x-api-key"),
        authorization: line("authorization"),
        tidegate_key: line("x-tidegate-key"),
        own: own(lines),
    };
    let local = Local {
        organisation: "local".into(),
        user: "local".into(),
    };
    let told = match identify(&presented, &ring(), &local, true) {
        Ok(it) => format!(
            "{}/{} {:?} own credential {:?}{}",
            it.organisation,
            it.user,
            it.caller,
            it.credential,
            if it.credential_is_ours {
                ", ours taken off"
            } else {
                ""
            }
        ),
        Err(it) => it.to_string(),
    };
    expected.assert_eq(&told);
}

#[test]
fn a_call_from_this_machine_needs_no_key() {
    check(
        "127.0.0.1",
        "host: 127.0.0.1:8787
         x-api-key: sk-ant-api-1",
        expect!["local/local Keyless own credential KeyOf(Anthropic)"],
    );
    check(
        "::1",
        "host: localhost:8787
         authorization: Bearer sk-ant-oat01-x",
        expect!["local/local Keyless own credential Subscription"],
    );
    check(
        "::ffff:127.0.0.1",
        "host: [::1]:8787",
        expect!["local/local Keyless own credential None"],
    );
}

#[test]
fn a_page_of_our_own_and_a_person_at_the_address_bar_act_as_the_local_user() {
    for (origin, site) in [
        (Some("http://localhost:8787"), Some("same-origin")),
        (None, Some("none")),
        (Some("http://localhost:8787"), None),
    ] {
        let presented = Presented {
            peer: "127.0.0.1".parse().unwrap(),
            host: Some("localhost:8787"),
            origin: page_origin(origin, site),
            x_api_key: None,
            authorization: None,
            tidegate_key: None,
            own: Own::default(),
        };
        assert!(is_local(&presented), "{origin:?} {site:?}");
    }
}

#[test]
fn a_rebound_name_a_foreign_page_and_another_machine_get_nothing() {
    let refused = "calls without a key are taken from this machine only, and not on behalf of a web page: send a Tidegate key";
    for (peer, lines) in [
        ("127.0.0.1", "host: evil.example:8787"),
        ("127.0.0.1", "host: localhost.evil.example"),
        (
            "127.0.0.1",
            "host: 127.0.0.1:8787\norigin: https://evil.example",
        ),
        ("127.0.0.1", "host: 127.0.0.1:8787\norigin: null"),
        (
            "127.0.0.1",
            "host: 127.0.0.1:8787\norigin: http://127.0.0.1:3000",
        ),
        (
            "127.0.0.1",
            "host: 127.0.0.1:8787\nsec-fetch-site: cross-site",
        ),
        (
            "127.0.0.1",
            "host: localhost:8787\nsec-fetch-site: same-site",
        ),
        ("127.0.0.1", ""),
        ("192.0.2.7", "host: 127.0.0.1:8787"),
    ] {
        let presented = |name: &str| {
            let mut lines = lines.lines();
            lines.find_map(|it| it.strip_prefix(name)?.strip_prefix(": "))
        };
        let told = identify(
            &Presented {
                peer: peer.parse().unwrap(),
                host: presented("host"),
                origin: page_origin(presented("origin"), presented("sec-fetch-site")),
                x_api_key: None,
                authorization: None,
                tidegate_key: None,
                own: Own::default(),
            },
            &ring(),
            &Local {
                organisation: "local".into(),
                user: "local".into(),
            },
            true,
        );
        assert_eq!(told.unwrap_err().to_string(), refused, "{peer} {lines}");
    }
}

#[test]
fn a_key_is_found_wherever_it_is_put() {
    for line in [
        "x-api-key: tg-of-ann",
        "authorization: Bearer tg-of-ann",
        "authorization: bearer tg-of-ann",
    ] {
        let expected = expect!["acme/ann Asking own credential None, ours taken off"];
        check("192.0.2.7", line, expected);
    }
    check(
        "192.0.2.7",
        "x-tidegate-key: tg-of-ann
         authorization: Bearer sk-ant-oat01-x",
        expect!["acme/ann Asking own credential Subscription"],
    );
}

#[test]
fn an_unknown_or_revoked_key_is_refused_also_on_this_machine() {
    for line in ["x-api-key: tg-of-bob", "x-tidegate-key: nonsense"] {
        let expected = expect![
            "the Tidegate key is unknown or revoked: ask an admin for one (`tidegate keys add`)"
        ];
        check("127.0.0.1", &format!("host: localhost\n{line}"), expected);
    }
}

#[test]
fn the_token_for_changes_is_taken_for_ours_and_sends_no_calls() {
    for line in [
        "x-api-key: tgl-of-this-machine",
        "authorization: Bearer tgl-of-this-machine",
        "x-tidegate-key: tgl-of-this-machine",
    ] {
        let expected = expect![
            "the token of the data directory changes things through /api/v1 and sends no calls: send a Tidegate key, or none"
        ];
        check("127.0.0.1", &format!("host: localhost\n{line}"), expected);
    }
}

/// Knows one access token until a second after the beginning of time.
struct OneToken {
    here_only: bool,
}

impl Bearers for OneToken {
    fn bearer(&self, hash: &[u8; 32], now: Timestamp) -> Option<keys::Bearer> {
        let known = *hash == keys::hash("tg-access-of-ann") && now < Timestamp::from_seconds(1);
        known.then(|| keys::Bearer {
            key: Arc::clone(ring().find(SECRET).unwrap()),
            here_only: self.here_only,
        })
    }
}

#[test]
fn an_access_token_stands_for_its_sign_in_while_it_is_known_and_where_it_is_good() {
    let told = |token: &str, peer: &str, here_only, keyless, at| {
        let authorization = format!("Bearer {token}");
        let presented = Presented {
            peer: peer.parse().unwrap(),
            host: Some("127.0.0.1:8787"),
            origin: None,
            x_api_key: None,
            authorization: Some(&authorization),
            tidegate_key: None,
            own: Own::default(),
        };
        let local = Local {
            organisation: "local".into(),
            user: "local".into(),
        };
        // It is no key, whatever keys there are.
        let as_key = identify(&presented, &ring(), &local, true);
        assert_eq!(as_key.unwrap_err(), Unidentified::SignedOut);
        let tokens = OneToken { here_only };
        let known = identify_bearer(&presented, &tokens, keyless, Timestamp(at));
        known.map(|it| {
            assert!(it.credential_is_ours && it.credential == Credential::None);
            it.user.to_string()
        })
    };
    let (here, there) = ("127.0.0.1", "203.0.113.9");
    let token = "tg-access-of-ann";
    let ann = Ok("ann".to_owned());
    let nobody = Err(Unidentified::SignedOut);
    assert_eq!(told(token, there, false, false, 0), ann);
    assert_eq!(told(token, there, false, false, 1_000_000_000), nobody);
    assert_eq!(told("tg-access-other", there, false, false, 0), nobody);
    assert_eq!(told(token, here, true, true, 0), ann);
    assert_eq!(told(token, there, true, true, 0), nobody);
    assert_eq!(told(token, here, true, false, 0), nobody);
}
