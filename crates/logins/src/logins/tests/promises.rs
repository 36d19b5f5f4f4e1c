//! What holds whatever is done.

use proptest::prelude::*;
use tidegate_ledger::{
    SettingStore as _,
    keys::{self, Bearers as _},
};
use tidegate_types::KeyId;

use super::World;

/// Things that may be done, in words of the script.
fn deeds() -> impl Strategy<Value = Vec<String>> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let deed = prop_oneof![
        name.clone().prop_map(|it| format!("ask {it}")),
        name.clone().prop_map(|it| format!("confirm {it} as ann")),
        name.clone().prop_map(|it| format!("confirm {it} as here")),
        name.clone().prop_map(|it| format!("deny {it} as ann")),
        name.clone().prop_map(|it| format!("poll {it}")),
        (name.clone(), name.clone()).prop_map(|(a, b)| format!("refresh {a} to {b}")),
        name.prop_map(|it| format!("sign-out {it}")),
        (1_u64..4_000).prop_map(|it| format!("pass {it}")),
        Just("restart".to_owned()),
        Just("revoke-key 9".to_owned()),
    ];
    prop::collection::vec(deed, 1..60)
}

proptest! {
    /// Whatever is done: each access token stands for a sign-in that is listed and confirmed by a key
    /// in force, or for nobody; after a restart for the same; and nothing kept holds a secret.
    #[test]
    fn a_token_never_outlives_its_sign_in_and_no_secret_is_kept(deeds in deeds()) {
        let mut world = World::new();
        let mut secrets: Vec<(String, String)> = Vec::new();
        for deed in deeds {
            let named: Vec<&str> = deed.split_whitespace().collect();
            let known = match named[0] {
                "confirm" | "deny" | "poll" => world.codes.contains_key(named[1]),
                "refresh" | "sign-out" => world.tokens.contains_key(named[1]),
                // A key is revoked once, and confirms nothing afterwards.
                "revoke-key" => world.revoked_keys.is_empty(),
                _ => true,
            };
            let gone = named.last() == Some(&"ann") && !world.revoked_keys.is_empty();
            if !known || gone {
                continue;
            }
            world.act(&deed);
            secrets.extend(world.tokens.values().cloned());
            let stands: Vec<String> = secrets.iter().map(|it| world.stands(&it.0)).collect();
            for ((access, refresh), stands) in secrets.iter().zip(&stands) {
                prop_assert_eq!(&world.stands(refresh), "nobody");
                if let Some(it) = world.logins.bearer(&keys::hash(access), world.wall()) {
                    let login = world.logins.get(it.key.id);
                    let in_force = |it: &KeyId| !world.revoked_keys.contains(it);
                    let stands = login.is_some_and(|it| it.holder.by.as_ref().is_none_or(in_force));
                    prop_assert!(stands);
                } else {
                    prop_assert_eq!(stands, "nobody");
                }
            }
            let open = std::mem::take(&mut world.codes);
            let running = world.restart();
            let after: Vec<String> = secrets.iter().map(|it| world.stands(&it.0)).collect();
            prop_assert_eq!(stands, after);
            // What programs wait for is only known to the one that ran.
            world.logins = running;
            world.codes = open;
        }
        for (_, kept) in world.store.settings_below("").unwrap() {
            let kept = String::from_utf8(kept).unwrap();
            for (access, refresh) in &secrets {
                prop_assert!(!kept.contains(access.as_str()) && !kept.contains(refresh.as_str()));
            }
        }
    }
}
