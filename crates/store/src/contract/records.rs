//! What stores of keys, changes and settings promise, and what those of calls do.

use std::sync::Arc;

use tidegate_ledger::{
    SettingStore,
    keys::{self, Key, KeyStore},
};
use tidegate_observe::{
    audit::{Action, Actor, AuditRow, AuditStore},
    calls::{CallFilter, CallRecord, CallStore},
};
use tidegate_types::{CallId, KeyId, Priority, Role, Timestamp};

use super::NOW;

/// The contract of everything but the ledger, for the backend that `$new` builds.
macro_rules! records_contract {
    ($new:expr) => {
        $crate::contract::suite!(
            records,
            $new,
            [
                keys_are_listed_as_they_were_made,
                a_key_is_revoked_once_and_keeps_the_time,
                neither_an_id_nor_a_secret_is_given_twice,
                changes_are_listed_newest_first,
                settings_are_set_together_and_read_alone,
                settings_that_are_unset_are_forgotten,
            ]
        );
    };
}
pub(crate) use records_contract;

/// The contract of records of calls, for the backend that `$new` builds.
macro_rules! calls_contract {
    ($new:expr) => {
        mod calls_contract {
            use super::*;

            $crate::contract::suite!(
                records,
                $new,
                [
                    calls_are_found_by_id_and_by_what_they_were_made_for,
                    a_record_that_is_given_twice_is_one,
                ]
            );
        }
    };
}
pub(crate) use calls_contract;

fn key(id: u64, secret: &str) -> Key {
    Key {
        id: KeyId::from_raw(id),
        name: format!("key {id}"),
        hash: keys::hash(secret),
        role: Role::Caller,
        user: "ann".to_owned(),
        organisation: "acme".to_owned(),
        default_priority: None,
        highest_priority: Priority::High,
        default_task_type: Some("review".to_owned()),
        created_at: NOW,
        revoked_at: None,
    }
}

pub(crate) fn keys_are_listed_as_they_were_made(store: &dyn KeyStore) {
    let (one, two) = (key(1, "a"), key(2, "b"));
    store.insert(&two).unwrap();
    store.insert(&one).unwrap();
    assert_eq!(store.list().unwrap(), [one, two]);
}

pub(crate) fn a_key_is_revoked_once_and_keeps_the_time(store: &dyn KeyStore) {
    store.insert(&key(1, "a")).unwrap();
    let id = KeyId::from_raw(1);
    assert!(store.revoke(id, Timestamp(5)).unwrap());
    assert!(!store.revoke(id, Timestamp(9)).unwrap());
    assert!(!store.revoke(KeyId::from_raw(2), Timestamp(9)).unwrap());
    assert_eq!(store.list().unwrap()[0].revoked_at, Some(Timestamp(5)));
}

pub(crate) fn neither_an_id_nor_a_secret_is_given_twice(store: &dyn KeyStore) {
    store.insert(&key(1, "a")).unwrap();
    assert!(store.insert(&key(1, "b")).is_err());
    assert!(store.insert(&key(2, "a")).is_err());
    assert_eq!(store.list().unwrap().len(), 1);
}

pub(crate) fn changes_are_listed_newest_first(store: &dyn AuditStore) {
    let change = |object: &str| AuditRow {
        at: NOW,
        who: Actor::Key(KeyId::from_raw(1)),
        role: Role::Admin,
        organisation: None,
        action: Action::KeyAdded,
        object: object.to_owned(),
        before: None,
        after: Some("{}".to_owned()),
    };
    for object in ["a", "b", "c"] {
        store.append(&change(object)).unwrap();
    }
    assert_eq!(store.list(2).unwrap(), [change("c"), change("b")]);
    assert_eq!(store.list(9).unwrap().len(), 3);
}

pub(crate) fn call(id: u64, user: &str, task: Option<&str>) -> CallRecord {
    let at = Timestamp(NOW.0 + id);
    CallRecord {
        organisation: "acme".into(),
        user: user.into(),
        session: Some(Arc::from("s1")).filter(|_| task.is_some()),
        root_task: task.map(Into::into),
        task: task.map(|it| format!("{it}-sub").into()),
        ..CallRecord::arrived(CallId::from_raw(id), at, "anthropic_messages")
    }
}

pub(crate) fn calls_are_found_by_id_and_by_what_they_were_made_for(store: &dyn CallStore) {
    let calls = [
        call(1, "ann", Some("t1")),
        call(2, "bob", None),
        call(3, "ann", Some("t2")),
        call(4, "ann", None),
    ];
    store.append(&calls.clone().map(Arc::new)).unwrap();
    assert_eq!(store.get(calls[1].id).unwrap().as_ref(), Some(&calls[1]));
    assert_eq!(store.get(CallId::from_raw(9)).unwrap(), None);
    let ids = |filter: CallFilter| -> Vec<u64> {
        let listed = store.list(&filter).unwrap();
        let matching = calls.iter().rev().filter(|it| filter.matches(it));
        assert!(listed.iter().eq(matching.take(filter.page())), "{filter:?}");
        listed.iter().map(|it| it.id.raw()).collect()
    };
    let all = CallFilter::default;
    let some = |text: &str| Some(Arc::from(text));
    assert_eq!(ids(all()), [4, 3, 2, 1]);
    assert_eq!(ids(CallFilter { limit: 2, ..all() }), [4, 3]);
    assert_eq!(
        ids(CallFilter {
            user: some("ann"),
            ..all()
        }),
        [4, 3, 1]
    );
    assert_eq!(
        ids(CallFilter {
            task: some("t1"),
            ..all()
        }),
        [1]
    );
    assert_eq!(
        ids(CallFilter {
            task: some("t2-sub"),
            ..all()
        }),
        [3]
    );
    assert_eq!(
        ids(CallFilter {
            session: some("s1"),
            ..all()
        }),
        [3, 1]
    );
    assert_eq!(
        ids(CallFilter {
            organisation: some("other"),
            ..all()
        }),
        [0; 0]
    );
    let (before, user) = (Some(CallId::from_raw(3)), some("ann"));
    let annes = CallFilter {
        before,
        user,
        ..all()
    };
    assert_eq!(ids(annes), [1]);
    let since = Some(Timestamp(NOW.0 + 3));
    assert_eq!(ids(CallFilter { since, ..all() }), [4, 3]);
}

pub(crate) fn a_record_that_is_given_twice_is_one(store: &dyn CallStore) {
    let (one, two) = (call(1, "ann", Some("t1")), call(2, "bob", None));
    let kept = [one.clone(), two.clone()].map(Arc::new);
    store.append(&kept[..1]).unwrap();
    store.append(&kept).unwrap();
    assert_eq!(store.get(one.id).unwrap().as_ref(), Some(&one));
    let first = CallFilter {
        limit: 1,
        ..CallFilter::default()
    };
    assert_eq!(store.list(&first).unwrap(), std::slice::from_ref(&two));
    let listed = store.list(&CallFilter::default()).unwrap();
    assert_eq!(listed, [two, one]);
}

pub(crate) fn settings_are_set_together_and_read_alone(store: &dyn SettingStore) {
    assert_eq!(store.setting("levels").unwrap(), None);
    store
        .set(&[("levels", b"1"), ("other", b"\0\xff")])
        .unwrap();
    store.set(&[("levels", b"2")]).unwrap();
    assert_eq!(store.setting("levels").unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(
        store.setting("other").unwrap().as_deref(),
        Some(&b"\0\xff"[..])
    );
    store
        .set(&[
            ("task", b"0"),
            ("task\n1", b"1"),
            ("task\n\u{10fffe}", b"2"),
            ("tasks", b"3"),
        ])
        .unwrap();
    let mut below = store.settings_below("task\n").unwrap();
    below.sort();
    let row = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    assert_eq!(below, [row("task\n1", b"1"), row("task\n\u{10fffe}", b"2")]);
    assert_eq!(store.settings_below("nothing\n").unwrap(), []);
}

pub(crate) fn settings_that_are_unset_are_forgotten(store: &dyn SettingStore) {
    store.set(&[("a/1", b"1"), ("a/2", b"2")]).unwrap();
    store.unset(&["a/1", "nobody"]).unwrap();
    let left = store.settings_below("a/").unwrap();
    assert_eq!(left, [("a/2".to_owned(), b"2".to_vec())]);
    assert_eq!(store.setting("a/1").unwrap(), None);
}
