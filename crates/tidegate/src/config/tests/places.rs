//! Where an error points, and what it names there.

use super::*;

#[test]
fn a_key_that_is_there_twice_is_named() {
    check_wrong(
        "[budgets.task]\nhard = 5\nsoft = 1\nhard = 6\n",
        expect![[r#"
            tidegate.toml:5:1: this is not TOML: the key `hard` is there twice; keep one of them
        "#]],
    );
    check_wrong(
        "[log]\n[server]\n[log]\n",
        expect![[r#"
        tidegate.toml:4:2: this is not TOML: the key `log` is there twice; keep one of them
    "#]],
    );
}

#[test]
fn a_name_that_is_none_is_pointed_at() {
    check_wrong(
        "[platforms.sonnet]\nmodels = ['a']\n[platforms.'a b']\nprovider = 'anthropic'\n[platforms.openai.buckets.'c d']\nresource = 'requests'\ncapacity = 1\nrefill = 1\n[providers.'e f']\nfamily = 'openai'\nbase_url = 'https://e.example'\n[notify.webhooks.'g h']\nurl = 'https://g.example'\n",
        expect![[r#"
            tidegate.toml:10:12: providers."e f": `e f` is not a name; use 1 to 64 letters, digits, dots, dashes and underscores
            tidegate.toml:6:27: platforms.openai.buckets."c d": `c d` is not a name; use 1 to 64 letters, digits, dots, dashes and underscores
            tidegate.toml:4:12: platforms."a b": `a b` is not a name; use 1 to 64 letters, digits, dots, dashes and underscores
            tidegate.toml:13:18: notify.webhooks."g h": `g h` is not a name; use 1 to 64 letters, digits, dots, dashes and underscores
        "#]],
    );
}

#[test]
fn an_amount_that_is_too_large_is_refused_with_the_largest() {
    check_wrong(
        "[budgets.task]\nhard = 99_999_999_999\n",
        expect![[r#"
        tidegate.toml:3:8: budgets.task.hard: `99999999999` is too large: the largest amount is $18446744073.709551615
    "#]],
    );
    let bucket = |resource: &str| {
        format!(
            "[platforms.openai.buckets.all]\nresource = '{resource}'\ncapacity = 18446744074\nrefill = 1\n"
        )
    };
    check_wrong(
        &bucket("dollars"),
        expect![[r#"
        tidegate.toml:4:12: platforms.openai.buckets.all.capacity: `18446744074` is too large: the largest amount is $18446744073.709551615
    "#]],
    );
    // So many tokens are none too many.
    settings(&bucket("tokens"));
}
