use clap::Parser as _;
use expect_test::expect;

use super::*;
use crate::{
    cli::{Cli, Command, table::for_reader},
    config::Sources,
};

#[test]
fn keys_show_no_secret() {
    let keys = serde_json::json!([
        { "id": "key_0000000000000001", "name": "laptop", "role": "caller", "user": "ada",
          "organisation": "acme", "highest_priority": "high", "created_at": "2026-11-21T10:00:00Z",
          "hash": "must not be shown" },
        { "id": "key_0000000000000002", "name": "old", "role": "admin", "user": "bob",
          "organisation": "acme", "highest_priority": "critical", "created_at": "1970-01-01T00:00:00Z",
          "revoked_at": "2026-11-21T10:00:00Z" },
    ]);
    let keys: Vec<Key> = serde_json::from_value(keys).unwrap();
    let shown = for_reader(&show(&keys), false);
    expect![[r#"
        key                   name    user         role    up to     made                  state
        key_0000000000000001  laptop  ada of acme  caller  high      2026-11-21T10:00:00Z  in force
        key_0000000000000002  old     bob of acme  admin   critical  1970-01-01T00:00:00Z  revoked 2026-11-21T10:00:00Z
    "#]]
    .assert_eq(&shown);
}

#[test]
fn a_key_made_without_a_gateway_is_in_force_in_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let sources = Sources {
        data: Some(folder.path().join("data")),
        listen: Some("127.0.0.1:0".to_owned()),
        ..Sources::default()
    };
    let settings = crate::config::load(&sources).unwrap().settings;
    let ask = |line: &str| {
        let Command::Keys(command) = Cli::try_parse_from(line.split_whitespace())
            .unwrap()
            .command
        else {
            panic!("not keys")
        };
        answer(&command, &settings).map(|it| it.text)
    };
    let made = ask("tidegate keys add laptop --user ada --role admin --json").unwrap();
    let made: KeyMade = serde_json::from_str(&made).unwrap();
    assert_eq!(made.key.organisation, "local");
    let kept = SqliteStore::read(&settings.data).unwrap();
    let kept = KeyStore::list(&kept).unwrap();
    assert_eq!(kept[0].hash, keys::hash(&made.secret));
    let id = made.key.id;
    ask(&format!("tidegate keys revoke {id}")).unwrap();
    let again = ask(&format!("tidegate keys revoke {id}")).unwrap_err();
    assert!(
        again.to_string().contains("`tidegate keys list`"),
        "{again}"
    );
    let listed = ask("tidegate keys list").unwrap();
    assert!(listed.contains("revoked 2"), "{listed}");
    let above = ask("tidegate keys add x --user a --default-priority critical").unwrap_err();
    assert!(above.to_string().contains("--highest-priority"), "{above}");
}
