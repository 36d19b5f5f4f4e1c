use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Strings with everything in them that a scanner could trip over, often longer than a block.
fn nasty_string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("\\\\\\\"".to_owned()),
        Just("}]{[,:".to_owned()),
        Just("\n\u{1b}\u{0}é漢🦀".to_owned()),
        "[a-z ]{0,90}",
    ];
    prop::collection::vec(piece, 0..6).prop_map(|it| it.concat())
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|it| Value::from(f64::from(it) / 8.0)),
        nasty_string().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((nasty_string(), inner), 0..6)
                .prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    })
}

fn written(value: &Value, pretty: bool) -> String {
    if pretty {
        format!("{value:#}")
    } else {
        value.to_string()
    }
}

/// The same text with everything escaped that is not ASCII, as many encoders write it.
fn in_ascii(text: &str) -> String {
    let (mut ascii, mut units) = (String::new(), [0; 2]);
    for it in text.chars() {
        if it.is_ascii() {
            ascii.push(it);
            continue;
        }
        for unit in it.encode_utf16(&mut units) {
            write!(ascii, "\\u{unit:04x}").unwrap();
        }
    }
    ascii
}

proptest! {
    #[test]
    fn a_value_is_skipped_exactly(value in json(), pretty: bool, before in 0_usize..70) {
        let space = " ".repeat(before);
        let text = format!("{space}{} ,", written(&value, pretty));
        let mut cursor = Cursor::new(text.as_bytes());
        let span = cursor.skip().unwrap();
        prop_assert_eq!(span.start, before);
        prop_assert_eq!(serde_json::from_str::<Value>(&text[span.clone()]).unwrap(), value);
        prop_assert_eq!(&text[span.end..], " ,");
    }

    #[test]
    fn a_value_that_is_cut_is_malformed(value in json(), pretty: bool, cut: prop::sample::Index) {
        let text = written(&Value::from(vec![value]), pretty);
        let cut = cut.index(text.len());
        prop_assert!(Cursor::new(&text.as_bytes()[..cut]).skip().is_err());
    }

    #[test]
    fn members_are_found_whatever_is_around_them(
        members in prop::collection::vec((nasty_string(), json()), 0..8), pretty: bool,
    ) {
        let object: serde_json::Map<_, _> = members.into_iter().collect();
        let text = written(&Value::Object(object.clone()), pretty);
        for (name, value) in &object {
            let [found] = fields(text.as_bytes(), [name.as_str()]).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Value>(found.unwrap()).unwrap(), value);
        }
        let [none] = fields(text.as_bytes(), ["no such member"]).unwrap();
        prop_assert_eq!(none, None);
    }

    #[test]
    fn elements_are_those_of_the_array(values in prop::collection::vec(json(), 0..8), pretty: bool) {
        let text = written(&Value::from(values.clone()), pretty);
        let found: Vec<Value> = elements(text.as_bytes())
            .map(|it| serde_json::from_slice(it).unwrap())
            .collect();
        prop_assert_eq!(found, values);
    }

    #[test]
    fn strings_are_read_as_they_were_meant(text in nasty_string(), ascii: bool) {
        let mut written = Value::from(text.as_str()).to_string();
        if ascii {
            written = in_ascii(&written);
        }
        let read = Cursor::new(written.as_bytes()).text().unwrap();
        prop_assert_eq!(read.to_text().unwrap(), text.clone());
        prop_assert_eq!(&*read.decoded().unwrap(), text.as_bytes());
        prop_assert_eq!(read.decoded_len(), text.len());
    }

    /// The masks against the definition, byte by byte, over any number of blocks.
    #[test]
    fn masks_agree_with_a_scan_byte_by_byte(
        bytes in prop::collection::vec(prop::sample::select(&b"\\\\\\\"{}[]a\x1b;\xfb"[..]), 0..400),
    ) {
        let (mut masks, mut rest, mut found) = (Masks::default(), &bytes[..], Vec::new());
        while !rest.is_empty() {
            let mut last = [0; BLOCK];
            let (block, after) = masks::split_block(rest, &mut last);
            let (opening, closing) = masks.brackets(block);
            found.extend((0..BLOCK).map(|it| (opening >> it & 1 == 1, closing >> it & 1 == 1)));
            rest = after;
        }
        let (mut in_string, mut escaped) = (false, false);
        for (at, byte) in bytes.iter().enumerate() {
            let is_quote = *byte == b'"' && !escaped;
            in_string ^= is_quote;
            let outside = !in_string;
            let expected = (
                outside && b"{[".contains(byte),
                outside && b"}]".contains(byte),
            );
            prop_assert_eq!(found[at], expected, "at {}", at);
            escaped = *byte == b'\\' && !escaped;
        }
    }
}

#[test]
fn nesting_of_any_depth_is_passed_over() {
    let deep = [vec![b'['; 1_000_000], vec![b']'; 1_000_000]].concat();
    assert_eq!(Cursor::new(&deep).skip(), Ok(0..2_000_000));
}

#[test]
fn what_is_no_value_is_told_with_its_place() {
    for (text, at) in [
        ("", 0),
        ("  nul", 2),
        ("tru", 0),
        ("+1", 0),
        ("1x", 0),
        ("]", 0),
        ("\"", 1),
        ("\"\\\"", 3),
        ("{\"a\":[}", 7),
    ] {
        let malformed = Cursor::new(text.as_bytes()).skip().unwrap_err();
        assert_eq!(malformed.at, at, "{text}");
    }
}
