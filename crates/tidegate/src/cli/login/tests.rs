use expect_test::expect;
use tidegate_control::wire::{Login, Logins};
use tidegate_types::KeyId;

use super::show;
use crate::cli::table::for_reader;

#[test]
fn sign_ins_are_listed_with_who_confirmed_them() {
    let login = |raw, confirmed_by, here_only| Login {
        id: KeyId::from_raw(raw),
        user: "ann".to_owned(),
        organisation: "acme".to_owned(),
        program: "claude_code".to_owned(),
        confirmed_by,
        here_only,
        created_at: "2026-11-22T10:00:00Z".to_owned(),
        renewed_at: "2026-11-22T11:00:00Z".to_owned(),
        ends_at: "2026-12-22T11:00:00Z".to_owned(),
    };
    let logins = Logins {
        logins: vec![
            login(1, Some(KeyId::from_raw(9)), false),
            login(2, None, false),
            login(3, None, true),
        ],
    };
    expect![[r#"
        sign-in               program      user         confirmed by                     since                 renewed
        key_0000000000000001  claude_code  ann of acme  key_0000000000000009             2026-11-22T10:00:00Z  2026-11-22T11:00:00Z
        key_0000000000000002  claude_code  ann of acme  the token                        2026-11-22T10:00:00Z  2026-11-22T11:00:00Z
        key_0000000000000003  claude_code  ann of acme  nobody's key: this machine only  2026-11-22T10:00:00Z  2026-11-22T11:00:00Z
    "#]].assert_eq(&for_reader(&show(&logins), false));
    expect![["
        no program is signed in
    "]]
    .assert_eq(&show(&Logins { logins: Vec::new() }));
}
