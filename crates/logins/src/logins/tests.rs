//! A script of what programs and people do, and what each is told; and what holds whatever they do.

mod promises;

use std::{collections::HashMap, fmt::Write as _, net::IpAddr, sync::Arc, time::Duration};

use expect_test::{Expect, expect};
use tidegate_ledger::keys::{self, Bearers as _};
use tidegate_store::MemoryStore;
use tidegate_types::{KeyId, Monotonic, Priority, Timestamp};

use crate::{Holder, Logins, Poll, RANDOM_BYTES, RefreshError, UserCode};

const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

/// Some sign-ins, their store, a clock, and what programs hold by the names that scripts give them.
struct World {
    store: Arc<MemoryStore>,
    logins: Logins,
    seconds: u64,
    random: u64,
    next_id: u64,
    /// Device codes and user codes.
    codes: HashMap<String, (String, String)>,
    /// Access and refresh tokens.
    tokens: HashMap<String, (String, String)>,
    revoked_keys: Vec<KeyId>,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        let logins = Logins::kept(Arc::clone(&store) as _, |_| true, Timestamp(0));
        Self {
            logins: logins.unwrap(),
            store,
            seconds: 1_000_000,
            random: 0,
            next_id: 0,
            codes: HashMap::new(),
            tokens: HashMap::new(),
            revoked_keys: Vec::new(),
        }
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_seconds(self.seconds)
    }

    fn mono(&self) -> Monotonic {
        Monotonic::default().after(Duration::from_secs(self.seconds))
    }

    fn random(&mut self) -> [u8; RANDOM_BYTES] {
        self.random += 1;
        let bytes = self.random.to_le_bytes();
        std::array::from_fn(|at| bytes[at % bytes.len()] ^ u8::try_from(at).unwrap())
    }

    fn holder(user: &str) -> Holder {
        let here_only = user == "here";
        Holder {
            organisation: "acme".into(),
            user: user.into(),
            by: (!here_only).then(|| KeyId::from_raw(9)),
            here_only,
            default_priority: None,
            highest_priority: Priority::High,
            default_task_type: None,
        }
    }

    fn id(&mut self) -> KeyId {
        self.next_id += 1;
        KeyId::from_raw(self.next_id)
    }

    fn stands(&self, token: &str) -> String {
        match self.logins.bearer(&keys::hash(token), self.wall()) {
            Some(it) if it.here_only => format!("{} here", it.key.user),
            Some(it) => it.key.user.clone(),
            None => "nobody".to_owned(),
        }
    }

    /// Another run on the same store; gives back the one before.
    fn restart(&mut self) -> Logins {
        let revoked = self.revoked_keys.clone();
        let in_force = move |id| !revoked.contains(&id);
        let logins = Logins::kept(Arc::clone(&self.store) as _, in_force, self.wall());
        std::mem::replace(&mut self.logins, logins.unwrap())
    }

    fn poll(&mut self, name: &str, here: bool) -> String {
        let random = self.random();
        let device = self.codes[name].0.clone();
        let polled = self
            .logins
            .poll(&device, here, &random, (self.mono(), self.wall()));
        match polled.unwrap() {
            Poll::Confirmed(tokens, ended) => {
                let both = (
                    tokens.access.expose().clone(),
                    tokens.refresh.expose().clone(),
                );
                self.tokens.insert(name.to_owned(), both);
                let ended = ended.map_or_else(String::new, |it| format!(", {} ended", it.id));
                format!("tokens of {}{ended}", tokens.login.id)
            }
            other => format!("{other:?}").to_lowercase(),
        }
    }

    /// Tokens for the refresh token of `name`, under the name `new`.
    fn refresh(&mut self, name: &str, new: &str, here: bool) -> String {
        let random = self.random();
        let token = self.tokens[name].1.clone();
        match self.logins.refresh(&token, here, &random, self.wall()) {
            Ok(tokens) => {
                let both = (
                    tokens.access.expose().clone(),
                    tokens.refresh.expose().clone(),
                );
                self.tokens.insert(new.to_owned(), both);
                "tokens".to_owned()
            }
            Err(why) => why.to_string(),
        }
    }

    fn act(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = |it: Result<crate::Asking, crate::ConfirmError>| match it {
            Ok(it) => format!("{} at {}", it.surface, it.from),
            Err(why) => why.to_string(),
        };
        match words[..] {
            ["ask", name] => {
                let random = self.random();
                let now = self.mono();
                let asked = self.logins.ask(FROM, "claude_code<", &random, now).unwrap();
                let both = (
                    asked.device_code.expose().clone(),
                    asked.user_code.to_string(),
                );
                self.codes.insert(name.to_owned(), both);
                "codes".to_owned()
            }
            ["confirm", name, "as", user] => {
                let code = self.codes.get(name).map_or(name, |it| &it.1).to_owned();
                let id = self.id();
                let (holder, now) = (Self::holder(user), self.mono());
                answer(self.logins.confirm(user, &code, (id, holder), now))
            }
            ["deny", name, "as", user] => {
                let code = self.codes[name].1.clone();
                answer(self.logins.deny(user, &code, self.mono()))
            }
            ["poll", name] => self.poll(name, true),
            ["poll", name, "elsewhere"] => self.poll(name, false),
            ["refresh", name, "to", new] => self.refresh(name, new, true),
            ["refresh", name, "elsewhere"] => self.refresh(name, name, false),
            ["calls", name] => self.stands(&self.tokens[name].0),
            ["refresh-token-calls", name] => self.stands(&self.tokens[name].1),
            ["sign-out", name] => {
                let ended = self.logins.sign_out(&self.tokens[name].0).unwrap();
                format!("{:?}", ended.map(|it| it.id))
            }
            ["revoke-key", raw] => {
                let key = KeyId::from_raw(raw.parse().unwrap());
                self.revoked_keys.push(key);
                let ended = self.logins.revoke_confirmed_by(key).unwrap();
                format!("{} ended", ended.len())
            }
            ["revoke-key-while-down", raw] => {
                self.revoked_keys
                    .push(KeyId::from_raw(raw.parse().unwrap()));
                drop(self.restart());
                String::new()
            }
            ["pass", seconds] => {
                self.seconds += seconds.parse::<u64>().unwrap();
                String::new()
            }
            ["restart"] => {
                drop(self.restart());
                String::new()
            }
            ["list"] => {
                let live = self.logins.list(self.wall());
                let live = live
                    .iter()
                    .map(|it| format!("{} {}", it.id, it.holder.user));
                live.collect::<Vec<_>>().join(", ")
            }
            _ => panic!("{line}"),
        }
    }
}

#[track_caller]
fn check(script: &str, expected: Expect) {
    let mut world = World::new();
    let mut told = String::new();
    for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let answer = world.act(line);
        writeln!(told, "{}", format!("{line}: {answer}").trim_end()).unwrap();
    }
    expected.assert_eq(&told);
}

#[test]
fn a_program_that_somebody_confirms_gets_tokens_once() {
    check(
        "ask laptop
         poll laptop
         confirm laptop as ann
         confirm laptop as eve
         poll laptop
         pass 10
         poll laptop
         calls laptop
         refresh-token-calls laptop
         poll laptop
         list",
        expect![[r#"
            ask laptop: codes
            poll laptop: open
            confirm laptop as ann: claude_code at 10.0.0.7
            confirm laptop as eve: nobody waits with this code: codes are good for 10 minutes and once; start again with `/login`
            poll laptop: tooearly
            pass 10:
            poll laptop: tokens of key_0000000000000001
            calls laptop: ann
            refresh-token-calls laptop: nobody
            poll laptop: unknown
            list: key_0000000000000001 ann
        "#]],
    );
}

#[test]
fn a_no_is_told_once_and_a_code_is_good_for_ten_minutes() {
    check(
        "ask laptop
         deny laptop as ann
         poll laptop
         poll laptop
         ask desk
         pass 599
         poll desk
         pass 1
         confirm desk as ann
         poll desk
         poll desk",
        expect![[r#"
            ask laptop: codes
            deny laptop as ann: claude_code at 10.0.0.7
            poll laptop: denied
            poll laptop: unknown
            ask desk: codes
            pass 599:
            poll desk: open
            pass 1:
            confirm desk as ann: nobody waits with this code: codes are good for 10 minutes and once; start again with `/login`
            poll desk: expired
            poll desk: unknown
        "#]],
    );
}

#[test]
fn a_program_that_polls_too_often_is_slowed_down() {
    check(
        "ask laptop
         poll laptop
         pass 4
         poll laptop
         pass 3
         poll laptop
         pass 8
         poll laptop
         pass 14
         poll laptop",
        expect![[r#"
            ask laptop: codes
            poll laptop: open
            pass 4:
            poll laptop: open
            pass 3:
            poll laptop: tooearly
            pass 8:
            poll laptop: tooearly
            pass 14:
            poll laptop: open
        "#]],
    );
}

#[test]
fn tokens_follow_one_another_and_a_used_one_ends_the_sign_in() {
    check(
        "ask laptop
         confirm laptop as ann
         poll laptop
         refresh laptop to second
         pass 60
         refresh laptop to sibling
         calls laptop
         calls second
         calls sibling
         refresh second to third
         pass 61
         refresh second to stolen
         calls third
         refresh third to fourth
         list",
        expect![[r#"
            ask laptop: codes
            confirm laptop as ann: claude_code at 10.0.0.7
            poll laptop: tokens of key_0000000000000001
            refresh laptop to second: tokens
            pass 60:
            refresh laptop to sibling: tokens
            calls laptop: ann
            calls second: ann
            calls sibling: ann
            refresh second to third: tokens
            pass 61:
            refresh second to stolen: this refresh token was used before, so the sign-in was ended: sign in again with `/login`
            calls third: nobody
            refresh third to fourth: the sign-in is over or was revoked: sign in again with `/login`
            list:
        "#]],
    );
}

#[test]
fn an_access_token_is_good_for_an_hour_and_an_unused_sign_in_for_thirty_days() {
    check(
        "ask laptop
         confirm laptop as ann
         poll laptop
         pass 3599
         calls laptop
         pass 1
         calls laptop
         refresh laptop to second
         calls second
         pass 2591999
         list
         pass 1
         list
         refresh second to third",
        expect![[r#"
            ask laptop: codes
            confirm laptop as ann: claude_code at 10.0.0.7
            poll laptop: tokens of key_0000000000000001
            pass 3599:
            calls laptop: ann
            pass 1:
            calls laptop: nobody
            refresh laptop to second: tokens
            calls second: ann
            pass 2591999:
            list: key_0000000000000001 ann
            pass 1:
            list:
            refresh second to third: the sign-in is over or was revoked: sign in again with `/login`
        "#]],
    );
}

#[test]
fn tokens_outlive_a_restart_and_open_codes_do_not() {
    check(
        "ask laptop
         confirm laptop as ann
         poll laptop
         ask desk
         restart
         calls laptop
         refresh laptop to second
         calls second
         calls laptop
         poll desk
         list",
        expect![[r#"
            ask laptop: codes
            confirm laptop as ann: claude_code at 10.0.0.7
            poll laptop: tokens of key_0000000000000001
            ask desk: codes
            restart:
            calls laptop: ann
            refresh laptop to second: tokens
            calls second: ann
            calls laptop: ann
            poll desk: unknown
            list: key_0000000000000001 ann
        "#]],
    );
}

#[test]
fn what_a_key_confirmed_ends_with_it() {
    check(
        "ask laptop
         confirm laptop as ann
         poll laptop
         ask desk
         confirm desk as ann
         ask here
         confirm here as here
         poll here
         revoke-key 9
         calls laptop
         refresh laptop to second
         poll desk
         calls here
         restart
         list",
        expect![[r#"
            ask laptop: codes
            confirm laptop as ann: claude_code at 10.0.0.7
            poll laptop: tokens of key_0000000000000001
            ask desk: codes
            confirm desk as ann: claude_code at 10.0.0.7
            ask here: codes
            confirm here as here: claude_code at 10.0.0.7
            poll here: tokens of key_0000000000000003
            revoke-key 9: 1 ended
            calls laptop: nobody
            refresh laptop to second: the sign-in is over or was revoked: sign in again with `/login`
            poll desk: denied
            calls here: here here
            restart:
            list: key_0000000000000003 here
        "#]],
    );
}

#[test]
fn what_a_key_confirmed_ends_with_it_also_where_that_was_revoked_while_nothing_ran() {
    check(
        "ask laptop
         confirm laptop as ann
         poll laptop
         revoke-key-while-down 9
         calls laptop
         refresh laptop to second
         list",
        expect![[r#"
            ask laptop: codes
            confirm laptop as ann: claude_code at 10.0.0.7
            poll laptop: tokens of key_0000000000000001
            revoke-key-while-down 9:
            calls laptop: nobody
            refresh laptop to second: the sign-in is over or was revoked: sign in again with `/login`
            list:
        "#]],
    );
}

#[test]
fn what_was_confirmed_without_a_key_is_fetched_on_this_machine_alone() {
    check(
        "ask laptop
         confirm laptop as here
         poll laptop elsewhere
         ask desk
         confirm desk as here
         poll desk
         calls desk
         refresh desk elsewhere
         refresh desk to second
         sign-out second
         calls second
         calls desk
         sign-out desk",
        expect![[r#"
            ask laptop: codes
            confirm laptop as here: claude_code at 10.0.0.7
            poll laptop elsewhere: denied
            ask desk: codes
            confirm desk as here: claude_code at 10.0.0.7
            poll desk: tokens of key_0000000000000002
            calls desk: here here
            refresh desk elsewhere: the sign-in is over or was revoked: sign in again with `/login`
            refresh desk to second: tokens
            sign-out second: Some(key_0000000000000002)
            calls second: nobody
            calls desk: nobody
            sign-out desk: None
        "#]],
    );
}

#[test]
fn ten_wrong_codes_are_the_most_that_a_user_may_try() {
    let mut world = World::new();
    world.act("ask laptop");
    for _ in 0..10 {
        assert!(
            world
                .act("confirm BBBB-BBBB as eve")
                .starts_with("nobody waits")
        );
    }
    expect!["too many wrong codes: try again in 601 s"]
        .assert_eq(&world.act("confirm laptop as eve"));
    expect!["claude_code at 10.0.0.7"].assert_eq(&world.act("confirm laptop as ann"));
    world.act("pass 600");
    assert!(
        world
            .act("confirm laptop as eve")
            .starts_with("nobody waits")
    );
}

#[test]
fn programs_that_wait_and_sign_ins_of_a_user_are_bounded() {
    let mut world = World::new();
    for number in 0..33 {
        world.act(&format!("ask {number}"));
        world.act(&format!("confirm {number} as ann"));
        let told = world.act(&format!("poll {number}"));
        assert_eq!(told.ends_with("ended"), number == 32, "{told}");
        world.act("pass 1");
    }
    assert_eq!(world.act("calls 0"), "nobody");
    assert_eq!(world.act("calls 1"), "ann");
    assert_eq!(world.logins.list(world.wall()).len(), 32);
    let now = world.mono();
    let mut asked = 0;
    loop {
        let random = world.random();
        if world.logins.ask(FROM, "x", &random, now).is_err() {
            break;
        }
        asked += 1;
    }
    assert!(asked <= 100, "{asked}");
}

#[test]
fn codes_are_read_as_people_type_them() {
    let code = UserCode::of(123_456_789_012);
    let shown = code.to_string();
    assert_eq!(shown.len(), 9);
    let spaced = shown.to_lowercase().replace('-', " ");
    for typed in [&shown, &spaced, &shown.replace('-', "")] {
        assert!(UserCode::read(typed) == Some(code), "{typed}");
    }
    for wrong in [
        "",
        "BBBB",
        "BBBB-BBBBB",
        "AEIO-UAEI",
        "tg-0123456789",
        "BBBB/BBBB",
    ] {
        assert!(UserCode::read(wrong).is_none(), "{wrong}");
    }
    assert_eq!(format!("{code:?}"), "[redacted]");
}

#[test]
fn a_stolen_refresh_token_is_told_from_an_unknown_one() {
    let mut world = World::new();
    for line in [
        "ask a",
        "confirm a as ann",
        "poll a",
        "refresh a to b",
        "pass 61",
    ] {
        world.act(line);
    }
    let random = world.random();
    let stolen = world.tokens["a"].1.clone();
    let refused = world.logins.refresh(&stolen, true, &random, world.wall());
    assert!(matches!(refused, Err(RefreshError::UsedBefore(_))));
    let refused = world.logins.refresh(&stolen, true, &random, world.wall());
    assert!(matches!(refused, Err(RefreshError::Unknown)));
}
