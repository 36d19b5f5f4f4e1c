use proptest::prelude::*;

use super::*;

fn written(text: &str, most: usize) -> (String, bool) {
    let mut json = Json::default();
    let cut = json.text(text, most);
    (json.as_str().to_owned(), cut)
}

#[test]
fn objects_and_lists_have_commas_where_they_belong() {
    let mut json = Json::default();
    json.raw("{");
    json.name("a");
    json.integer(-1);
    json.name("b");
    json.raw("[");
    for it in [1.5, f64::NAN, f64::INFINITY, 1e300, 2.0] {
        json.comma();
        json.double(it);
    }
    json.raw("]");
    json.name("c");
    json.text("[", usize::MAX);
    json.name("d");
    json.hex(&[0, 171]);
    json.raw("}");
    assert_eq!(
        json.as_str(),
        r#"{"a":-1,"b":[1.5,"NaN","inf",1e300,2.0],"c":"[","d":"00ab"}"#
    );
}

#[test]
fn a_text_that_is_too_long_is_cut_at_a_character() {
    assert_eq!(written("héllo", 2), ("\"h…\"".to_owned(), true));
    assert_eq!(written("héllo", 3), ("\"hé…\"".to_owned(), true));
    assert_eq!(written("\n\n\n", 8), ("\"\\n\\n…\"".to_owned(), true));
    assert_eq!(written("", 0), ("\"\"".to_owned(), false));
}

proptest! {
    #[test]
    fn any_text_is_json_and_is_what_it_was(text: String) {
        let (json, cut) = written(&text, usize::MAX);
        prop_assert!(!cut);
        prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn a_cut_text_is_json_begins_as_it_did_and_is_no_longer_than_it_may_be(
        text in "[\\x00-\\x20a-zäé\"\\\\]{0,60}",
        most in 0usize..60,
    ) {
        let (json, cut) = written(&text, most);
        let read: String = serde_json::from_str(&json).unwrap();
        let begins = read.strip_suffix('…').filter(|_| cut).unwrap_or(&read);
        prop_assert!(text.starts_with(begins), "{json}");
        prop_assert_eq!(cut, begins != text);
        prop_assert!(json.len() <= most + 2 + '…'.len_utf8());
    }
}
