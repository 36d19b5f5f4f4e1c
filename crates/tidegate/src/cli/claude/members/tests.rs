use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(before: &str, path: &[&str], value: &str, expected: Expect) {
    let mut members = Members::of(before).unwrap();
    members.set(path, value).unwrap();
    expected.assert_eq(members.text());
    assert_eq!(
        members.get(path),
        Some(serde_json::from_str(value).unwrap())
    );
}

#[test]
fn a_member_is_added_as_the_others_are_written() {
    check(
        "{\n    \"theme\": \"dark\",\n    \"x\": [1, {\"a\": \"}\"}]\n}\n",
        &["statusLine"],
        r#"{"type": "command"}"#,
        expect![[r#"
            {
                "theme": "dark",
                "x": [1, {"a": "}"}],
                "statusLine": {"type": "command"}
            }
        "#]],
    );
    check(
        r#"{"a":1}"#,
        &["env", "A"],
        "\"1\"",
        expect![[r#"
            {"a":1, "env": {
              "A": "1"
            }}"#]],
    );
    check(
        "",
        &["env", "A"],
        "\"1\"",
        expect![[r#"
            {
              "env": {
                "A": "1"
              }
            }
        "#]],
    );
}

#[test]
fn a_member_that_is_there_is_replaced_where_it_stands() {
    check(
        "{ \"a\" : \"\\\"}\" , \"env\":{\"A\":\"old\", \"B\":\"\u{e9}\"} }",
        &["env", "A"],
        "\"new\"",
        expect![[r#"{ "a" : "\"}" , "env":{"A":"new", "B":"é"} }"#]],
    );
}

#[test]
fn what_is_no_object_is_refused_with_its_line() {
    let problem = |text: &str| Members::of(text).unwrap_err().to_string();
    assert_eq!(
        problem("[1]"),
        "line 1: `the file` must be an object, in braces"
    );
    let trailing = problem("{\n  \"a\": 1,\n}");
    assert!(trailing.starts_with("line 3: trailing comma"), "{trailing}");
    let comment = problem("{\n  // mine\n}");
    assert!(comment.starts_with("line 2: "), "{comment}");
    let mut members = Members::of("{\n  \"env\": \"none\"\n}").unwrap();
    assert_eq!(
        members.set(&["env", "A"], "1").unwrap_err().to_string(),
        "line 2: `env` must be an object, in braces"
    );
}

#[test]
fn the_first_of_several_is_taken_out_with_its_comma() {
    let mut members = Members::of(r#"{ "a": 1, "b": 2 }"#).unwrap();
    members.remove(&["a"]);
    assert_eq!(members.text(), r#"{ "b": 2 }"#);
    members.remove(&["nothing", "here"]);
    assert_eq!(members.text(), r#"{ "b": 2 }"#);
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..4)
                .prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_was_added_is_taken_out_again_without_a_trace(
        before in prop::collection::btree_map("[a-d]{1,2}", json(), 1..4),
        pretty in any::<bool>(),
        value in json(),
    ) {
        let before = Value::Object(before.into_iter().collect());
        let text = if pretty {
            serde_json::to_string_pretty(&before).unwrap()
        } else {
            before.to_string()
        };
        let mut members = Members::of(&text).unwrap();
        members.set(&["zzz"], &value.to_string()).unwrap();
        prop_assert_eq!(members.get(&["zzz"]), Some(value));
        for (key, there) in before.as_object().unwrap() {
            let found = members.get(&[key]);
            prop_assert_eq!(found.as_ref(), Some(there));
        }
        members.remove(&["zzz"]);
        prop_assert_eq!(members.text(), text);
    }
}
