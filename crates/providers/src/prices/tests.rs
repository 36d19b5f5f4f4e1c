use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;

/// Looks up lines of `provider model`.
#[track_caller]
fn check(book: &PriceBook, script: &str, expected: Expect) {
    let mut transcript = String::new();
    for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let (provider, model) = line.split_once(' ').unwrap();
        let Quote {
            price,
            known,
            row,
            version,
        } = book.look_up(provider, model);
        let Rates {
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
        } = price.rates;
        let word = if known { "known" } else { "UNKNOWN" };
        let prices = format!("{input} {cache_read} {cache_write_5m} {cache_write_1h} {output}");
        writeln!(transcript, "{line} -> {prices}; {word}, {row}, {version}").unwrap();
    }
    expected.assert_eq(&transcript);
}

#[test]
fn models_are_found_under_the_names_they_go_by() {
    check(
        &PriceBook::builtin(),
        "
        anthropic claude-opus-5-5
        anthropic claude-opus-5-5-20260901
        anthropic claude-opus-5-5[1m]
        anthropic anthropic/claude-opus-5-5
        anthropic claude-haiku-4-5-20251001
        openai gpt-5.6
        openai gpt-4o-2024-05-13
        openai gpt-4o-2031-01-01
        openai ft:gpt-4o-mini-2024-07-18:acme::a1b2
        openai anthropic/claude-sonnet-5-5
        openrouter anthropic/claude-opus-4.5
        bedrock us.anthropic.claude-opus-4-5-20251101-v1:0
        gateway gpt-5.6
        ",
        expect![[r#"
            anthropic claude-opus-5-5 -> 4 0.2 5 8 20; known, claude-opus-5-5, anthropic-2026-11-21
            anthropic claude-opus-5-5-20260901 -> 4 0.2 5 8 20; known, claude-opus-5-5, anthropic-2026-11-21
            anthropic claude-opus-5-5[1m] -> 4 0.2 5 8 20; known, claude-opus-5-5, anthropic-2026-11-21
            anthropic anthropic/claude-opus-5-5 -> 4 0.2 5 8 20; known, claude-opus-5-5, anthropic-2026-11-21
            anthropic claude-haiku-4-5-20251001 -> 1 0.1 1.25 2 5; known, claude-haiku-4-5-20251001, anthropic-2026-11-21
            openai gpt-5.6 -> 4 0.4 5 5 20; known, gpt-5.6, openai-2026-10-07
            openai gpt-4o-2024-05-13 -> 5 5 5 5 15; known, gpt-4o-2024-05-13, openai-2026-10-07
            openai gpt-4o-2031-01-01 -> 2.5 1.25 2.5 2.5 10; known, gpt-4o, openai-2026-10-07
            openai ft:gpt-4o-mini-2024-07-18:acme::a1b2 -> 0.3 0.15 0.3 0.3 1.2; known, ft:gpt-4o-mini-2024-07-18, openai-2026-10-07
            openai anthropic/claude-sonnet-5-5 -> 2 0.1 2.5 4 10; known, anthropic/claude-sonnet-5-5, anthropic-2026-11-21
            openrouter anthropic/claude-opus-4.5 -> 5 0.5 6.25 10 25; known, anthropic/claude-opus-4-5, anthropic-2026-11-21
            bedrock us.anthropic.claude-opus-4-5-20251101-v1:0 -> 5 0.5 6.25 10 25; known, anthropic/claude-opus-4-5, anthropic-2026-11-21
            gateway gpt-5.6 -> 4 0.4 5 5 20; known, openai/gpt-5.6, openai-2026-10-07
        "#]],
    );
}

#[test]
fn an_unknown_model_costs_the_dearest_row_and_says_so() {
    check(
        &PriceBook::builtin(),
        "
        anthropic claude-next
        openai gpt-next
        openai someone/gpt
        synthetic hf:zai-org/GLM-4.7
        ",
        expect![[r#"
            anthropic claude-next -> 10 1 12.5 20 50; UNKNOWN, dearest of anthropic, anthropic-2026-11-21
            openai gpt-next -> 150 150 150 150 600; UNKNOWN, dearest of openai, openai-2026-10-07
            openai someone/gpt -> 150 150 150 150 600; UNKNOWN, dearest of openai, openai-2026-10-07
            synthetic hf:zai-org/GLM-4.7 -> 150 150 150 150 600; UNKNOWN, dearest of all, anthropic-2026-11-21, openai-2026-10-07
        "#]],
    );
}

#[test]
fn the_dearest_row_is_as_dear_as_every_row_in_everything() {
    let book = PriceBook::builtin();
    let dearest = book.look_up("nobody", "nothing").price;
    assert!(book.rows().count() > 100);
    for row in book.rows() {
        let raised = dearest.dearer(row.price);
        assert_eq!(raised, *dearest, "{} {}", row.provider, row.model);
    }
}

#[test]
fn every_builtin_row_names_its_source_and_date() {
    for row in PriceBook::builtin().rows() {
        assert!(
            !row.source.is_empty() && row.version.contains(row.date),
            "{row:?}"
        );
        assert!(row.date.parse::<jiff::civil::Date>().is_ok(), "{row:?}");
        let (rates, model) = (row.price.rates, row.model);
        assert!(
            rates.input > PicoUsd(0) && rates.output > PicoUsd(0),
            "{model}"
        );
        assert!(rates.cache_read <= rates.input, "{model}");
        assert!(rates.input <= rates.cache_write_5m, "{model}");
        assert!(rates.cache_write_5m <= rates.cache_write_1h, "{model}");
        assert!(row.price.output_max <= row.price.context, "{model}");
    }
}

#[test]
fn the_builtin_anthropic_table_is_the_published_one() {
    let mut listed = String::new();
    for it in PriceBook::builtin()
        .rows()
        .filter(|it| it.provider == "anthropic")
    {
        let ModelPrice {
            rates,
            tiers,
            context,
            output_max,
            ..
        } = it.price;
        let Rates {
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
        } = rates;
        let tiers = tiers.len();
        let model = it.model;
        writeln!(
            listed,
            "{model}: {input} {output} {cache_write_5m} {cache_write_1h} {cache_read}, {context} / {output_max}, {tiers} tiers"
        )
        .unwrap();
    }
    expect![[r#"
        claude-fable-5: 10 50 12.5 20 1, 1000000 tok / 128000 tok, 0 tiers
        claude-fable-5-1: 10 50 12.5 20 0.25, 1000000 tok / 128000 tok, 0 tiers
        claude-fable-5-2: 8 40 10 16 0.2, 1000000 tok / 128000 tok, 0 tiers
        claude-haiku-4-5: 1 5 1.25 2 0.1, 200000 tok / 64000 tok, 0 tiers
        claude-haiku-4-5-20251001: 1 5 1.25 2 0.1, 200000 tok / 64000 tok, 0 tiers
        claude-haiku-5-5: 0.1 0.5 0.125 0.2 0.01, 1000000 tok / 128000 tok, 1 tiers
        claude-mythos-5: 10 50 12.5 20 1, 1000000 tok / 128000 tok, 0 tiers
        claude-mythos-5-1: 10 50 12.5 20 0.25, 1000000 tok / 128000 tok, 0 tiers
        claude-mythos-5-2: 8 40 10 16 0.2, 1000000 tok / 128000 tok, 0 tiers
        claude-opus-4-5: 5 25 6.25 10 0.5, 200000 tok / 64000 tok, 0 tiers
        claude-opus-4-6: 5 25 6.25 10 0.5, 1000000 tok / 128000 tok, 0 tiers
        claude-opus-4-7: 5 25 6.25 10 0.5, 1000000 tok / 128000 tok, 0 tiers
        claude-opus-4-8: 5 25 6.25 10 0.5, 1000000 tok / 128000 tok, 0 tiers
        claude-opus-5: 5 25 6.25 10 0.5, 1000000 tok / 128000 tok, 0 tiers
        claude-opus-5-5: 4 20 5 8 0.2, 1000000 tok / 128000 tok, 0 tiers
        claude-sonnet-4-5: 3 15 3.75 6 0.3, 1000000 tok / 64000 tok, 0 tiers
        claude-sonnet-4-6: 3 15 3.75 6 0.3, 1000000 tok / 128000 tok, 0 tiers
        claude-sonnet-5: 2 10 2.5 4 0.2, 1000000 tok / 128000 tok, 0 tiers
        claude-sonnet-5-5: 2 10 2.5 4 0.1, 1000000 tok / 128000 tok, 0 tiers
    "#]]
    .assert_eq(&listed);
}

#[test]
fn an_operator_changes_rows_adds_rows_and_declares_free() {
    let book = PriceBook::builtin()
        .with_overrides(
            r#"
            format = 1
            version = "acme-7"

            [providers.anthropic.models.claude-opus-5-5]
            output = 18.5

            [providers.synthetic.models."hf:zai-org/GLM-4.7"]
            input = 0.55
            output = "2.19"

            [providers.vllm]
            free = true
            "#,
        )
        .unwrap();
    check(
        &book,
        "
        anthropic claude-opus-5-5
        anthropic claude-opus-5
        synthetic hf:zai-org/GLM-4.7
        synthetic another
        vllm anything
        vllm claude-opus-5-5
        ",
        expect![[r#"
            anthropic claude-opus-5-5 -> 4 0.2 5 8 18.5; known, claude-opus-5-5, acme-7
            anthropic claude-opus-5 -> 5 0.5 6.25 10 25; known, claude-opus-5, anthropic-2026-11-21
            synthetic hf:zai-org/GLM-4.7 -> 0.55 0.55 0.6875 1.1 2.19; known, hf:zai-org/GLM-4.7, acme-7
            synthetic another -> 0.55 0.55 0.6875 1.1 2.19; UNKNOWN, dearest of synthetic, acme-7
            vllm anything -> 0 0 0 0 0; known, free, acme-7, anthropic-2026-11-21, openai-2026-10-07
            vllm claude-opus-5-5 -> 0 0 0 0 0; known, free, acme-7, anthropic-2026-11-21, openai-2026-10-07
        "#]],
    );
    assert_eq!(book.free_providers().collect::<Vec<_>>(), ["vllm"]);
    // The book it was made from is as it was.
    check(
        &PriceBook::builtin(),
        "anthropic claude-opus-5-5",
        expect![[r#"
            anthropic claude-opus-5-5 -> 4 0.2 5 8 20; known, claude-opus-5-5, anthropic-2026-11-21
        "#]],
    );
}

#[test]
fn what_a_new_row_does_not_say_is_the_dearest_that_is_common() {
    let text = "format = 1\n[providers.lab.models.m]\ninput = 1\noutput = 2";
    let book = PriceBook::builtin().with_overrides(text).unwrap();
    let price = book.look_up("lab", "m").price;
    let largest = book.look_up("nobody", "nothing").price;
    assert_eq!(price.multipliers.fast, largest.multipliers.fast);
    assert_eq!(price.multipliers.regional, largest.multipliers.regional);
    assert_eq!(price.multipliers.batch, Ratio::ONE);
    assert_eq!(price.web_search, largest.web_search);
    assert_eq!(price.context, largest.context);
    let Rates {
        cache_read,
        cache_write_5m,
        cache_write_1h,
        ..
    } = price.rates;
    let common = [cache_read, cache_write_5m, cache_write_1h].map(|it| it.to_string());
    assert_eq!(common, ["1", "1.25", "2"]);
}

#[test]
fn a_provider_declared_free_costs_nothing_until_the_file_says_otherwise() {
    let free = PriceBook::builtin().declare_free("anthropic");
    check(
        &free,
        "
        anthropic claude-opus-5-5
        anthropic claude-next
        openai gpt-5.6
        openrouter claude-opus-5-5
        ",
        expect![[r#"
            anthropic claude-opus-5-5 -> 0 0 0 0 0; known, free, anthropic-2026-11-21
            anthropic claude-next -> 0 0 0 0 0; known, free, anthropic-2026-11-21
            openai gpt-5.6 -> 4 0.4 5 5 20; known, gpt-5.6, openai-2026-10-07
            openrouter claude-opus-5-5 -> 4 0.2 5 8 20; known, anthropic/claude-opus-5-5, anthropic-2026-11-21
        "#]],
    );
    assert!(
        free.rows()
            .any(|it| it.model == "claude-opus-5-5" && it.price.rates == Rates::default())
    );
    let charged = free
        .with_overrides("format = 1\nproviders.anthropic.free = false")
        .unwrap();
    check(
        &charged,
        "anthropic claude-opus-5-5",
        expect![[r#"
        anthropic claude-opus-5-5 -> 4 0.2 5 8 20; known, claude-opus-5-5, anthropic-2026-11-21
    "#]],
    );
}

/// Shows why each of these tables is refused.
#[track_caller]
fn refused(tables: &[&str], expected: Expect) {
    let mut transcript = String::new();
    for text in tables {
        let error = PriceBook::builtin().with_overrides(text).unwrap_err();
        writeln!(transcript, "{error}").unwrap();
    }
    expected.assert_eq(&transcript);
}

#[test]
fn a_refusal_names_line_key_value_and_remedy() {
    refused(
        &[
            "",
            "format = 2",
            "format = 1\nfree = true",
            "format = 1\n\n= 3",
            "format = 1\nproviders.x = 3",
            "format = 1\nproviders.x.free = 1",
            &format!("# {}", "x".repeat(2 << 20)),
        ],
        expect![[r#"
            line 1: `format` is missing: write `format = 1` first
            line 1: `format` cannot be 2: this version reads format 1
            line 2: `free` is unknown; known here: format, version, source, date, providers
            line 3: the price table is not TOML; the cause names the place
            line 2: `providers.x` cannot be 3: write a table, in braces or under a header
            line 2: `providers.x.free` cannot be 1: write true or false
            the price table has 2097154 bytes; at most 1048576 are read: leave out rows you don't use
        "#]],
    );
}

#[test]
fn a_refused_row_names_line_key_value_and_remedy() {
    let rows = [
        "inptu = 1\noutput = 2",
        "input = 1",
        "input = 1\noutput = -2",
        "input = 1\noutput = 0.0000001",
        "input = 1\noutput = 1e7",
        "input = nan\noutput = 1",
        "input = 1\noutput = 2\nbatch = 0",
        "input = 1\noutput = 2\nfast = \"1/0\"",
        "input = 1\noutput = 2\ncontext = 1.5",
        "input = 1\noutput = 2\ntiers = 1",
        "input = 1\noutput = 2\ntiers = [{ input = 1, output = 2 }]",
        "input = 1\noutput = 2\ntiers = [{ above = 9, input = 1, output = 2 },\n{ above = 9, input = 1, output = 2 }]",
        "input = 1\noutput = 2\ntiers = [{ above = 9, input = 1 }]",
    ];
    let tables = rows.map(|it| format!("format = 1\n[providers.x.models.\"m.1\"]\n{it}\n"));
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    refused(
        &tables,
        expect![[r#"
        line 3: `providers.x.models.m.1.inptu` is unknown; known here: input, cache_read, cache_write_5m, cache_write_1h, output, batch, flex, fast, regional, web_search_per_1000, automatic_cache_writes, context, output_max, tiers
        line 2: `providers.x.models.m.1.output` is missing: write dollars per million tokens
        line 4: `providers.x.models.m.1.output` cannot be -2: write dollars per million tokens, like 4 or 0.125, with at most six decimals and at most 1000000
        line 4: `providers.x.models.m.1.output` cannot be 0.0000001: write dollars per million tokens, like 4 or 0.125, with at most six decimals and at most 1000000
        line 4: `providers.x.models.m.1.output` cannot be 1e7: write dollars per million tokens, like 4 or 0.125, with at most six decimals and at most 1000000
        line 3: `providers.x.models.m.1.input` cannot be nan: write dollars per million tokens, like 4 or 0.125, with at most six decimals and at most 1000000
        line 5: `providers.x.models.m.1.batch` cannot be 0: write a factor above zero, like 0.5, or "5/3" with parts up to 1000; to charge nothing, declare the provider `free = true`
        line 5: `providers.x.models.m.1.fast` cannot be "1/0": write a factor above zero, like 0.5, or "5/3" with parts up to 1000; to charge nothing, declare the provider `free = true`
        line 5: `providers.x.models.m.1.context` cannot be 1.5: write a whole number of tokens, from 1 to 1000000000
        line 5: `providers.x.models.m.1.tiers` cannot be 1: write a list of tables
        line 5: `providers.x.models.m.1.tiers.above` is missing: the longest input the tier does not apply to
        line 6: `providers.x.models.m.1.tiers.above` cannot be 9: give at most 4 tiers, by rising threshold
        line 5: `providers.x.models.m.1.tiers.output` is missing: write dollars per million tokens
    "#]],
    );
}

#[test]
fn what_is_no_toml_says_why_in_its_cause() {
    let error = PriceBook::builtin()
        .with_overrides("format = 1\n\n= 3")
        .unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("= 3"), "{cause}");
}
