use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(raw: &str, rest: &str, life: Option<Life>) {
    let (bytes, found) = split_cache_control(raw);
    assert_eq!((std::str::from_utf8(&bytes).unwrap(), found), (rest, life));
}

#[test]
fn a_breakpoint_is_left_out_with_its_comma() {
    let short = Some(Life::Short);
    check(
        r#"{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}"#,
        r#"{"type":"text","text":"a"}"#,
        short,
    );
    check(
        r#"{"cache_control": {"type":"ephemeral"}, "type":"text"}"#,
        r#"{ "type":"text"}"#,
        short,
    );
    check(
        r#"{"type":"text","cache_control":{"type":"ephemeral","ttl":"1h"},"text":"a"}"#,
        r#"{"type":"text","text":"a"}"#,
        Some(Life::Long),
    );
    check(r#"{"cache_control":{"type":"ephemeral"}}"#, "{}", short);
}

#[test]
fn the_word_elsewhere_is_no_breakpoint() {
    for raw in [
        r#"{"text":"\"cache_control\":{\"type\":\"ephemeral\"}"}"#,
        r#"{"required":["cache_control"]}"#,
        r#"{"properties":{"cache_control":{"type":"object"}}}"#,
        r#"{"cache_control":null}"#,
        r#"{"cache_control":{"type":"ephemeral""#,
        r#"{"cache_control""#,
    ] {
        check(raw, raw, None);
    }
}

proptest! {
    #[test]
    fn no_bytes_break_it(raw in "(\"cache_control\"|:|\\{|\\}|,| |\"ephemeral\"|\\\\|a)*") {
        let (rest, life) = split_cache_control(&raw);
        prop_assert!(rest.len() <= raw.len());
        prop_assert_eq!(life.is_none(), rest.len() == raw.len());
    }
}
