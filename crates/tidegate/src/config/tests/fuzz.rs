//! Configurations broken in every way: each is settings, or problems that somebody can act upon.

use tidegate_types::mutate::Mutator;

use super::*;

/// A build takes some 100 µs where nothing is optimized.
const ROUNDS: usize = 3_000;

const FILES: &[&str] = &[
    "version = 1\nlisten = \"[::1]:0\"\ndata = \"/nowhere\"\nenforce = true\n",
    "version = 1\n[server]\nbody_memory = \"64 MiB\"\nbody_max = 1_000_000\ndrain = \"5m\"\n[identity]\nuser = \"ada\"\n",
    "version = 1\n[providers.mine]\nfamily = \"openai\"\nbase_url = \"https://api.example.com/llm\"\napi_key = \"sk-0123456789\"\nlocal_may_spend = true\nhttp2 = false\n",
    "version = 1\n[platforms.mine]\nprovider = \"anthropic\"\nmodels = [\"claude-*\", \"m\"]\nmodel_map = { a = \"b\", \"c d\" = 'e' }\nfallback = [\"sonnet\"]\n[platforms.mine.buckets.calls]\nresource = \"requests\"\ncapacity = 50\nrefill = 5\nper = \"second\"\nthreshold = 10\nmode = \"enforce\"\nof_provider = true\n",
    "version = 1\n[budgets]\nzone = \"Europe/Berlin\"\ntask = { soft = \"1\", hard = \"$5.25\" }\n[budgets.organisations.acme.users.ada]\nuser_day = { hard = \"none\" }\n[budgets.organisations.acme.tasks.\"the move\"]\nhard = 2\noverage = true\n",
    "version = 1\n[weights]\notherwise = 3\n[[weights.rules]]\nclasses = [\"main\"]\nunits = 5\n[reserve]\nshare_of_left = 2\n[redact]\npatterns = ['ticket-[0-9]+']\n[log]\nlevel = \"debug\"\nformat = \"json\"\n",
];

const VARIABLES: &[(&str, &str)] = &[
    ("TIDEGATE__LOG__LEVEL", "warning"),
    ("TIDEGATE__SERVER__BODY_MEMORY", "512 MiB"),
    (
        "TIDEGATE__PROVIDERS__ANTHROPIC__BASE_URL",
        "http://127.0.0.1:1",
    ),
    ("TIDEGATE__PROVIDERS__OPENAI__API_KEY", "sk-0123456789"),
    (
        "TIDEGATE__PLATFORMS__CLAUDE_CODE__BUCKETS__UNITS__CAPACITY",
        "10_000",
    ),
    ("TIDEGATE__PLATFORMS__OPENAI__MODELS", "gpt-*, o4"),
    ("TIDEGATE__BUDGETS__TASK__HARD", "2.50"),
    (
        "TIDEGATE__BUDGETS__USER_DAY",
        "{ hard = 1, mode = \"watch\" }",
    ),
    ("TIDEGATE__WEIGHTS__RULES", "[{ fast = true, units = 9 }]"),
    ("TIDEGATE__REDACT__PATTERNS", "['a+']"),
    ("TIDEGATE_LISTEN", "127.0.0.1:9"),
];

/// Pieces that mean something to TOML, to our values, and to names of variables.
const WORDS: &[&str] = &[
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "#",
    "\n",
    "\r",
    "\\",
    "\\u0000",
    "\u{0}",
    "é",
    "__",
    "_",
    "-",
    "true",
    "nan",
    "1e400",
    "0x10",
    "99999999999999999999999999999999999999999",
    "1979-05-27T07:32:00Z",
    "-1",
    "0",
    "none",
    "version = 2\n",
    "[budgets]\n",
    "api_key = 1\n",
    "(",
    "*",
    "30s",
    "9999999999999999 d",
    "GiB",
    "://",
    "@",
    "/v1",
];

/// What is wrong is told with its place, its key and in words.
fn assert_helpful(problems: &Problems, text: &str) {
    assert!(!problems.0.is_empty(), "refused for nothing");
    let lines = text.split('\n').count();
    for Problem {
        origin,
        key,
        message,
    } in &problems.0
    {
        match origin {
            Origin::File { line, column, .. } => {
                assert!(
                    (1..=lines).contains(line) && *column >= 1,
                    "{origin}: {message}"
                );
            }
            Origin::Environment(name) => assert!(name.starts_with("TIDEGATE"), "{name}: {message}"),
            Origin::BuiltIn | Origin::Flag(_) => panic!("{key}: {message}: that is nobody's place"),
        }
        let of_syntax =
            message.starts_with("this is not TOML") || message.starts_with("two underscores");
        assert!(!key.is_empty() || of_syntax, "{message}");
        assert!(message.len() > 10 && !message.ends_with('.'), "{message}");
    }
    let shown = problems.to_string();
    assert!(!shown.contains("sk-0123456789"), "{shown}");
}

#[test]
fn a_broken_file_is_read_or_refused_with_place_and_key() {
    let mut mutator = Mutator::new(0x5EED_0011, WORDS);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let seed = mutator.of(FILES);
        let text = mutator.mutated_text(seed);
        match build_text(&text, &sources(&[])) {
            Ok((_, effective)) => {
                read += 1;
                let shown = effective
                    .iter()
                    .any(|it| it.value.contains("sk-0123456789"));
                assert!(!shown, "{text}");
            }
            Err(problems) => {
                refused += 1;
                assert_helpful(&problems, &text);
            }
        }
    }
    assert!(
        read > ROUNDS / 50 && refused > ROUNDS / 4,
        "{read} read, {refused} refused"
    );
}

#[test]
fn broken_variables_are_read_or_refused_by_their_names() {
    let mut mutator = Mutator::new(0x5EED_0012, WORDS);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let mut all: Vec<(String, String)> = Vec::new();
        for _ in 0..=mutator.below(3) {
            let (name, value) = *mutator.of(VARIABLES);
            let broken_name = mutator.below(3) == 0;
            let name = if broken_name {
                mutator.mutated_text(name)
            } else {
                name.to_owned()
            };
            all.push((name, mutator.mutated_text(value)));
        }
        let borrowed: Vec<(&str, &str)> = all
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        match build(None, &sources(&borrowed)) {
            Ok(_) => read += 1,
            Err(problems) => {
                refused += 1;
                assert_helpful(&problems, "");
            }
        }
    }
    assert!(
        read > ROUNDS / 50 && refused > ROUNDS / 4,
        "{read} read, {refused} refused"
    );
}
