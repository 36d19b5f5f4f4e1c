use expect_test::{Expect, expect};

use super::{
    page::{Block, blocks, missing, spans, suites},
    strange_names,
};

fn line(block: &Block) -> String {
    let Block {
        line,
        language,
        mark,
        ..
    } = block;
    let (text, shows) = (block.text.trim(), block.shows.as_deref().map(str::trim));
    format!("{line}: {language:?} {mark:?} {text:?} shows {shows:?}\n")
}

#[track_caller]
fn check(page: &str, expected: Expect) {
    let told = match blocks(page) {
        Ok(blocks) => blocks.iter().map(line).collect(),
        Err(error) => format!("{error:#}\n"),
    };
    expected.assert_eq(&told);
}

#[test]
fn blocks_are_read_with_their_marks_and_what_they_show() {
    check(
        "# A page

<!-- test: serve 127.0.0.1:1 -->
```sh
cargo run --release -- serve
```

```text
it serves
```

<!-- test: none because it never ends -->
```sh
wait
```

```text
 a picture below a block that nothing else parts from it
```

```toml
version = 1
```

Words between.

```text
 a picture
```

```python
print(1)
```
",
        expect![[r#"
            5: Shell Serve("127.0.0.1:1") "cargo run --release -- serve" shows Some("it serves")
            14: Shell None("it never ends") "wait" shows Some("a picture below a block that nothing else parts from it")
            22: Toml Run "version = 1" shows None
            32: Python Run "print(1)" shows None
        "#]],
    );
}

#[test]
fn a_mark_that_would_be_passed_over_in_silence_is_refused() {
    check(
        "<!-- test: skip -->\n```sh\n```\n",
        expect![[r#"
            line 1: `skip` is no mark: write `serve ADDRESS` or `none because REASON`
        "#]],
    );
    check(
        "<!-- test: none because -->\n```sh\n```\n",
        expect![[r#"
            line 1: `none because` is no mark: write `serve ADDRESS` or `none because REASON`
        "#]],
    );
    check(
        "<!-- test: none because of this -->\nwords\n```sh\n```\n",
        expect![[r#"
            line 1: a mark above no block
        "#]],
    );
    check(
        "\n```sh\ntidegate\n",
        expect![[r#"
            line 2: a block without an end
        "#]],
    );
}

#[test]
fn shown_lines_are_looked_for_in_order_and_dots_stand_for_anything() {
    let output = "at  http://a, data in there\nsum   12  $3\nend\n";
    for (shown, expected) in [
        ("at http://a, data in …\nend", None),
        ("sum … $3", None),
        ("…12…", None),
        ("sum … 12 …", None),
        ("", None),
        ("end\nsum 12 $3", Some("sum 12 $3")),
        ("sum 12", Some("sum 12")),
        ("…13…", Some("…13…")),
        ("en", Some("en")),
    ] {
        assert_eq!(missing(shown, output), expected, "{shown:?}");
    }
}

#[test]
fn what_is_named_in_running_text_is_found() {
    let page = "`one` and `two`,\n```sh\n`not this`\n```\nthen `three`, by suite `crash`\n";
    assert_eq!(spans(page), ["one", "two", "three", "crash"]);
    assert_eq!(suites(page), ["crash"]);
}

#[test]
fn a_name_that_no_source_has_is_strange() {
    let sources = "fn every_byte_passes_in_order() {}\nconst A: &str = \"tidegate_b_c_total\";";
    let page = "`every_byte_passes_in_order`, `tidegate_b_c_total`, `byte_passes_in_order`, `a_b`, `A_B_C_D`";
    assert_eq!(strange_names(page, sources), ["byte_passes_in_order"]);
}
