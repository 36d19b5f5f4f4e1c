mod claude_code;
mod fuzz;
mod notify;
mod places;
mod providers;
mod quotas;
mod variables;
mod waiting;

use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;

/// Sources with these variables, a home, and nothing else.
fn sources(variables: &[(&str, &str)]) -> Sources {
    let all = [("HOME", "/home/ada")].iter().chain(variables);
    Sources {
        environment: all
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Sources::default()
    }
}

fn build_text(text: &str, sources: &Sources) -> Result<(Settings, Vec<Effective>), Problems> {
    build(Some((Path::new("tidegate.toml"), text)), sources)
}

/// Checks a file that is wrong; `version = 1` stands in line 1, `text` begins in line 2.
#[track_caller]
fn check_wrong(text: &str, expected: Expect) {
    let text = format!("version = 1\n{text}");
    let problems = build_text(&text, &sources(&[])).expect_err("this should be refused");
    expected.assert_eq(&format!("{problems}\n"));
}

/// Checks a file and variables that are right, and shows what differs from the defaults.
#[track_caller]
fn check(text: &str, variables: &[(&str, &str)], expected: Expect) {
    let text = format!("version = 1\n{text}");
    let effective = build_text(&text, &sources(variables))
        .expect("this should be right")
        .1;
    let mut shown = String::new();
    for it in effective.iter().filter(|it| it.origin != Origin::BuiltIn) {
        writeln!(shown, "{} = {}  # {}", it.key, it.value, it.origin).unwrap();
    }
    expected.assert_eq(&shown);
}

fn settings(text: &str) -> Settings {
    let text = format!("version = 1\n{text}");
    build_text(&text, &sources(&[]))
        .expect("this should be right")
        .0
}

#[test]
fn nothing_needs_to_be_configured() {
    let (settings, effective) = build(None, &sources(&[])).unwrap();
    assert!(effective.iter().all(|it| it.origin == Origin::BuiltIn));
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8787");
    assert_eq!(settings.data, Path::new("/home/ada/.local/share/tidegate"));
    let names: Vec<&str> = settings.platforms.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["claude_code", "sonnet", "openai"]);
    let watched = settings.built_in_limits().join(" ");
    expect!["organisation user_month user_day llm tools infrastructure task quotas.user claude_code.units sonnet.units"]
        .assert_eq(&watched);
}

#[test]
fn telemetry_that_could_not_work_is_refused_with_what_could() {
    check_wrong(
        "[telemetry]
logs = \"30m\"
recent = \"1 MiB\"
disk = \"2 MiB\"
",
        expect![[r#"
            tidegate.toml:3:8: telemetry.logs: 1800 s can't be kept; between "1h" and "36500d" can
            tidegate.toml:4:10: telemetry.recent: 1048576 bytes hold too few batches; the least is "64 MiB", the default "512 MiB"
            tidegate.toml:5:8: telemetry.disk: 2097152 bytes are too few with 1048576 for recent records; make it 3 times as much or more, or lower telemetry.recent
        "#]],
    );
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    check_wrong(
        "
[server]
body_memroy = '1 GiB'
[plattforms.mine]
[budgets.organisations.acme.users.ada.llm]
hard = 5
[xyzzy]
",
        expect![[r#"
            tidegate.toml:5:2: plattforms: this key is not known; did you mean `platforms`?
            tidegate.toml:8:2: xyzzy: this key is not known; known here: version, listen, data, enforce, server, waiting, identity, providers, platforms, fallback, budgets, quotas, reserve, weights, prices, notify, claude_code, telemetry, otlp, redact, log
            tidegate.toml:4:1: server.body_memroy: this key is not known; did you mean `body_memory`?
            tidegate.toml:6:39: budgets.organisations.acme.users.ada.llm: this key is not known; known here: user_month, user_day, task
        "#]],
    );
}

#[test]
fn values_of_the_wrong_form_are_shown_with_the_right_one() {
    check_wrong(
        "
listen = 8787
enforce = 'yes'
[server]
drain = 30
body_max = '32 mb'
[budgets]
zone = 'Mars'
task = 5
[budgets.user_day]
hard = -1
mode = 'enforced'
[log]
level = 'loud'
[redact]
patterns = ['(']
[weights]
rules = [{ classes = ['mains'], units = 1.5 }]
",
        expect![[r#"
            tidegate.toml:3:10: listen: `8787` is not an address and a port, like "127.0.0.1:8787" or "[::1]:8787"
            tidegate.toml:4:11: enforce: `"yes"` is not true or false
            tidegate.toml:7:12: server.body_max: `"32 mb"` is not a number of bytes, or a text with a unit: kB, MB, GB (thousands), KiB, MiB, GiB (1,024s)
            tidegate.toml:6:9: server.drain: `30` is not a duration in quotes: a whole number and ms, s, m, h or d, like "30s"
            tidegate.toml:9:8: budgets.zone: `"Mars"` is not the name of a time zone, like "Europe/Berlin" or "UTC"
            tidegate.toml:12:8: budgets.user_day.hard: `-1` is not an amount in dollars, like 5, "0.25" or "$12.50", or "none"
            tidegate.toml:13:8: budgets.user_day.mode: `"enforced"` is not "watch" or "enforce"
            tidegate.toml:10:8: budgets.task: `5` is not a table; write [budgets.task] and its keys below
            tidegate.toml:19:22: weights.rules[0].classes: `"mains"` is not "main", "subagent", "workflow", "compaction", "auxiliary", "side_reply" or "unknown"
            tidegate.toml:19:41: weights.rules[0].units: `1.5` is not a whole number, not negative
            tidegate.toml:15:9: log.level: `"loud"` is not "debug", "info", "warning", "error" or "critical"
        "#]],
    );
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    check_wrong(
        "
[[providers]]
api_key = 'hunter2'
[platforms]
mine = 'hunter2'
[budgets]
task = ['hunter2']
[local]
'sk-ant-api03-0123456789' = 1
[log]
level = 'sk-ant-api03-0123456789'
",
        expect![[r#"
            tidegate.toml:9:2: local: this key is not known; known here: version, listen, data, enforce, server, waiting, identity, providers, platforms, fallback, budgets, quotas, reserve, weights, prices, notify, claude_code, telemetry, otlp, redact, log
            tidegate.toml:3:1: providers: a list is not a table; write [providers] and its keys below
            tidegate.toml:6:8: platforms.mine: a text is not a table; write [platforms.mine] and its keys below
            tidegate.toml:8:8: budgets.task: a list is not a table; write [budgets.task] and its keys below
            tidegate.toml:12:9: log.level: `"[redacted]"` is not "debug", "info", "warning", "error" or "critical"
        "#]],
    );
}

#[test]
fn what_does_not_fit_together_is_refused() {
    check_wrong(
        "
[server]
body_memory = '1 MB'
[providers.mine]
family = 'openai'
base_url = 'https://user:hunter2@api.example.com/v1'
local_may_spend = true
[providers.other]
base_url = 'https://api.example.com/v1'
family = 'anthropic'
api_key = 'a'
api_key_env = 'B'
[providers.third]
family = 'openai'
base_url = 'ftp://x'
api_key_env = 'NOT_SET'
[platforms.mine]
provider = 'minne'
fallback = ['mine', 'sonet']
models = ['a*b']
[platforms.mine.buckets.rate]
resource = 'requests'
capacity = 0
[platforms.mine.buckets.slots]
resource = 'concurrency'
capacity = '2.5'
refill = 1
[platforms.mine.buckets.money]
resource = 'dollars'
capacity = 5
refill = 0
threshold = 6
[budgets.task]
soft = 9
hard = 8
[reserve]
share_of_left = 0
output_floor = 100
[prices]
file = '/nowhere/prices.toml'
",
        expect![[r#"
            tidegate.toml:4:15: server.body_memory: 1000000 bytes hold no body of server.body_max, 32000000 bytes; raise the one or lower the other
            tidegate.toml:7:12: providers.mine.base_url: `https://user:[redacted]@api.example.com/v1` carries a user name; use api_key_env instead; write it like https://api.example.com
            tidegate.toml:8:19: providers.mine.local_may_spend: there is no credential to spend; set api_key_env, api_key_file or api_key, or leave this out
            tidegate.toml:10:12: providers.other.base_url: `https://api.example.com/v1` ends in /v1, which is part of each call's path; leave that out; write it like https://api.example.com
            tidegate.toml:13:15: providers.other.api_key_env: api_key and api_key_env are given; keep one of them
            tidegate.toml:16:12: providers.third.base_url: `ftp://x` begins with neither https:// nor http://; write it like https://api.example.com
            tidegate.toml:17:15: providers.third.api_key_env: the environment has no variable `NOT_SET`; set it, or leave this out to forward each caller's own credential
            tidegate.toml:19:12: platforms.mine.provider: there is no provider `minne`; did you mean `mine`?
            tidegate.toml:21:10: platforms.mine.models: `a*b` is no model; write an id, or its beginning and one `*` at the end
            tidegate.toml:20:12: platforms.mine.fallback: there is no platform `sonet`; did you mean `sonnet`?
            tidegate.toml:20:12: platforms.mine.fallback: `mine` is no fallback of itself; leave it out
            tidegate.toml:23:12: platforms.mine.buckets.rate.refill: it is missing; what is spent would never come back (for a total, use a budget)
            tidegate.toml:24:12: platforms.mine.buckets.rate.capacity: a bucket of 0 lets nothing pass; write at least 1
            tidegate.toml:27:12: platforms.mine.buckets.slots.capacity: only a bucket of dollars has fractions; write a whole number
            tidegate.toml:28:10: platforms.mine.buckets.slots.refill: calls that end give concurrency back; leave the refill out
            tidegate.toml:32:10: platforms.mine.buckets.money.refill: 0 never comes back; write at least 1 (for a total, use a budget)
            tidegate.toml:33:13: platforms.mine.buckets.money.threshold: it is above the capacity, $5.00; nothing would ever be above it
            tidegate.toml:35:8: budgets.task.soft: $9.00 is above the hard limit, $8.00; lower it, raise the hard one, or write "none"
            tidegate.toml:38:17: reserve.share_of_left: a share is one part in at least 1; the default is 4, a quarter
            tidegate.toml:38:17: reserve.output_floor_last: 4096 is above output_floor, 100; the last floor is the lower one
            tidegate.toml:41:8: prices.file: `/nowhere/prices.toml`: it cannot be read: No such file or directory (os error 2)
        "#]],
    );
}

#[test]
fn a_file_that_is_no_toml_is_refused_at_the_place() {
    check_wrong(
        "[server\nx = 1",
        expect![[r#"
        tidegate.toml:2:8: this is not TOML: unclosed table, expected `]`
    "#]],
    );
    check_wrong(
        "listen = 'a'\nlisten = 'b'",
        expect![[r#"
            tidegate.toml:3:1: this is not TOML: the key `listen` is there twice; keep one of them
        "#]],
    );
}

#[test]
fn a_file_says_its_version() {
    let refused = |text: &str| build_text(text, &sources(&[])).unwrap_err().to_string();
    let shown = [
        refused(""),
        refused("\nversion = 2"),
        refused("version = '1'\nfuture = 1"),
    ];
    expect![[r#"
        tidegate.toml:1:1: version: it is missing; write `version = 1` as the first line
        tidegate.toml:2:11: version: `2` is not a version this program reads; it reads 1
        tidegate.toml:1:11: version: `"1"` is not a version this program reads; it reads 1"#]]
    .assert_eq(&shown.join("\n"));
}

#[test]
fn every_key_is_also_a_variable() {
    check(
        "
[platforms.my-gpu]
provider = 'openai'
",
        &[
            (
                "TIDEGATE__PROVIDERS__ANTHROPIC__BASE_URL",
                "http://127.0.0.1:9000",
            ),
            ("TIDEGATE__PROVIDERS__OPENAI__API_KEY", "12345"),
            ("TIDEGATE__PLATFORMS__MY_GPU__MODELS", "llama-*, qwen"),
            (
                "TIDEGATE__PLATFORMS__SONNET__BUCKETS__UNITS__CAPACITY",
                "20_000",
            ),
            ("TIDEGATE__BUDGETS__TASK__HARD", "2.5"),
            ("TIDEGATE__WEIGHTS__RULES", "[{ fast = true, units = 3 }]"),
            ("TIDEGATE__ENFORCE", "true"),
            ("TIDEGATE_LISTEN", "127.0.0.1:1"),
            ("TIDEGATE_DATA", "/data"),
            ("TIDEGATEWAY", "not ours"),
        ],
        expect![[r#"
            version = 1  # tidegate.toml:1:11
            listen = "127.0.0.1:1"  # TIDEGATE_LISTEN
            data = "/data"  # TIDEGATE_DATA
            enforce = true  # TIDEGATE__ENFORCE
            providers.anthropic.base_url = "http://127.0.0.1:9000"  # TIDEGATE__PROVIDERS__ANTHROPIC__BASE_URL
            providers.openai.api_key = "[redacted]"  # TIDEGATE__PROVIDERS__OPENAI__API_KEY
            platforms.sonnet.buckets.units.capacity = 20000  # TIDEGATE__PLATFORMS__SONNET__BUCKETS__UNITS__CAPACITY
            platforms.my-gpu.provider = "openai"  # tidegate.toml:4:12
            platforms.my-gpu.models = "llama-*, qwen"  # TIDEGATE__PLATFORMS__MY_GPU__MODELS
            budgets.task.hard = 2.5  # TIDEGATE__BUDGETS__TASK__HARD
            weights.rules[0].fast = true  # TIDEGATE__WEIGHTS__RULES
            weights.rules[0].units = 3  # TIDEGATE__WEIGHTS__RULES
        "#]],
    );
}

#[test]
fn a_variable_that_sets_nothing_is_refused_by_its_name() {
    let wrong = [
        ("TIDEGATE__LOG__LEVLE", "info"),
        ("TIDEGATE__LOG__LEVEL", "17"),
        ("TIDEGATE__LISTEN__PORT", "1"),
        ("TIDEGATE__", "1"),
        ("TIDEGATE__PROVIDERS__OPENAI__API_KEY", ""),
    ];
    let problems = build(None, &sources(&wrong)).unwrap_err();
    expect![[r#"
        TIDEGATE__: two underscores stand between section and key, like TIDEGATE__LOG__LEVEL
        TIDEGATE__LISTEN__PORT: listen: `{ port = 1 }` is not an address and a port, like "127.0.0.1:8787" or "[::1]:8787"
        TIDEGATE__PROVIDERS__OPENAI__API_KEY: providers.openai.api_key: it is empty; leave it out to have none
        TIDEGATE__LOG__LEVLE: log.levle: this key is not known; did you mean `level`?
        TIDEGATE__LOG__LEVEL: log.level: `17` is not "debug", "info", "warning", "error" or "critical""#]].assert_eq(&problems.to_string());
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let mut sources = sources(&[("TIDEGATE__LISTEN", "127.0.0.1:2")]);
    let listen = |sources: &Sources| {
        let text = "version = 1\nlisten = '127.0.0.1:1'";
        let effective = build_text(text, sources).unwrap().1;
        let found = effective.into_iter().find(|it| it.key == "listen").unwrap();
        format!("{} {}", found.value, found.origin)
    };
    assert_eq!(listen(&sources), "\"127.0.0.1:2\" TIDEGATE__LISTEN");
    sources.listen = Some("127.0.0.1:3".to_owned());
    assert_eq!(listen(&sources), "\"127.0.0.1:3\" --listen");
    sources = self::sources(&[]);
    assert_eq!(listen(&sources), "\"127.0.0.1:1\" tidegate.toml:2:10");
}

#[test]
fn no_secret_is_shown() {
    let text = "
[providers.anthropic]
api_key = 'sk-ant-api03-topsecret'
[providers.openai]
api_key = ['topsecret']
";
    let problems = build_text(&format!("version = 1{text}"), &sources(&[])).unwrap_err();
    assert!(!problems.to_string().contains("topsecret"), "{problems}");
    let right = text.replace("['topsecret']", "'topsecret'");
    let (settings, effective) = build_text(&format!("version = 1{right}"), &sources(&[])).unwrap();
    let shown = format!("{settings:?} {effective:?}");
    assert!(!shown.contains("topsecret"), "{shown}");
    let credential = settings.providers["openai"].credential.as_ref().unwrap();
    assert_eq!(credential.expose(), "topsecret");
}

#[test]
fn a_credential_comes_from_a_variable_or_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "  from-file \nsecond line\n").unwrap();
    let text = format!(
        "version = 1\n[providers.anthropic]\napi_key_env = 'MY_KEY'\n[providers.openai]\napi_key_file = {:?}",
        file.to_str().unwrap()
    );
    let (settings, _) = build_text(&text, &sources(&[("MY_KEY", "from-variable")])).unwrap();
    let credential = |name: &str| {
        let it = settings.providers[name].credential.clone();
        it.unwrap().expose().clone()
    };
    assert_eq!(credential("anthropic"), "from-variable");
    assert_eq!(credential("openai"), "from-file");
}

#[test]
fn a_limit_that_is_named_is_enforced_unless_it_says_watch() {
    use tidegate_ledger::LevelKind;
    use tidegate_types::{Enforcement, Mode};
    let of = |text: &str| {
        let settings = settings(text);
        let task = *settings.budgets.limits().defaults.of(LevelKind::Task);
        let bucket = settings.platforms[0].pool.buckets()[0].clone();
        (task, bucket.enforcement)
    };
    let (task, bucket) = of("");
    assert_eq!(task.enforcement, Enforcement::BuiltIn);
    assert_eq!(bucket, Enforcement::BuiltIn);

    let (task, bucket) = of("enforce = true");
    assert_eq!(task.enforcement, Enforcement::Named(Mode::Enforce));
    assert_eq!(bucket, Enforcement::Named(Mode::Enforce));

    let (task, bucket) =
        of("[budgets.task]\nhard = 7\n[platforms.claude_code.buckets.units]\ncapacity = 9_000");
    assert_eq!(task.enforcement, Enforcement::Named(Mode::Enforce));
    assert_eq!(task.hard.unwrap().to_string(), "$7.00");
    assert_eq!(task.soft, None, "who says how much is not asked again");
    let (task, _) = of("[budgets.task]\nhard = 7\nsoft = 1");
    assert_eq!(task.soft, Some(tidegate_types::NanoUsd::from_usd(1)));
    let (task, _) = of("[budgets.task]\nmode = 'enforce'");
    assert_eq!(
        task.soft.unwrap().to_string(),
        "$1.00",
        "what is not said stays"
    );

    assert_eq!(bucket, Enforcement::Named(Mode::Enforce));

    let (task, _) = of("enforce = true\n[budgets.task]\nmode = 'watch'");
    assert_eq!(task.enforcement, Enforcement::Named(Mode::Watch));

    let (task, _) = of("[budgets.task]\nhard = '0.5'");
    assert_eq!(task.soft, None, "a soft limit nobody wrote gives way");

    let (task, _) = of("[budgets.task]\nhard = 'none'");
    assert_eq!(task.hard, None);
}

#[test]
fn a_narrower_limit_takes_what_it_does_not_say_from_the_wider_one() {
    let settings = settings(
        "
[budgets.user_day]
soft = 5
[budgets.organisations.acme]
zone = 'Asia/Tokyo'
[budgets.organisations.acme.user_day]
hard = 50
[budgets.organisations.acme.users.'ada@acme.example'.user_day]
overage = true
[budgets.organisations.acme.tasks.nightly]
hard = 100
mode = 'watch'
",
    );
    let limits = settings.budgets.limits();
    let acme = &limits.organisations["acme"];
    let mut shown = String::new();
    for (name, limit) in [
        ("everyone", limits.defaults.user_day),
        ("acme", acme.limits.0[&tidegate_ledger::LevelKind::UserDay]),
        (
            "ada",
            acme.users["ada@acme.example"].0[&tidegate_ledger::LevelKind::UserDay],
        ),
        ("nightly", acme.tasks["nightly"]),
    ] {
        writeln!(shown, "{name}: {limit:?}").unwrap();
    }
    expect![[r#"
        everyone: Limit { soft: Some(NanoUsd(5000000000)), hard: Some(NanoUsd(20000000000)), overage_allowed: false, enforcement: Named(Enforce) }
        acme: Limit { soft: Some(NanoUsd(5000000000)), hard: Some(NanoUsd(50000000000)), overage_allowed: false, enforcement: Named(Enforce) }
        ada: Limit { soft: Some(NanoUsd(5000000000)), hard: Some(NanoUsd(50000000000)), overage_allowed: true, enforcement: Named(Enforce) }
        nightly: Limit { soft: None, hard: Some(NanoUsd(100000000000)), overage_allowed: false, enforcement: Named(Watch) }
    "#]].assert_eq(&shown);
    let zone = settings.budgets.zone("acme").iana_name();
    assert_eq!(zone, Some("Asia/Tokyo"));
}

#[test]
fn the_reference_is_a_file_that_changes_nothing() {
    let plain = build(None, &sources(&[])).unwrap();
    let text = reference();
    let written = build_text(&text, &sources(&[])).unwrap_or_else(|it| panic!("{it}\n{text}"));
    let values = |effective: &[Effective]| {
        let pair = |it: &Effective| (it.key.clone(), it.value.replace('_', ""));
        effective.iter().map(pair).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(values(&written.1), values(&plain.1));
    assert_eq!(written.0.built_in_limits(), plain.0.built_in_limits());
}

#[test]
fn every_key_is_in_the_reference_and_in_the_documentation() {
    let (reference, markdown) = (reference(), markdown());
    let (_, effective) = build(None, &sources(&[])).unwrap();
    for it in effective {
        let name = it.key.rsplit('.').next().unwrap();
        assert!(reference.contains(&format!("{name} = ")), "{}", it.key);
        assert!(
            markdown.contains(&format!("| `{name}` |")) || markdown.contains(&format!("{name} = ")),
            "{}",
            it.key
        );
    }
}

#[test]
fn the_usual_places_follow_xdg() {
    let with = sources(&[
        ("XDG_DATA_HOME", "/xdg/data"),
        ("XDG_CONFIG_HOME", "/xdg/config"),
    ]);
    assert_eq!(with.usual_data().unwrap(), Path::new("/xdg/data/tidegate"));
    assert_eq!(
        with.usual_file().unwrap(),
        Path::new("/xdg/config/tidegate/tidegate.toml")
    );
    let relative = sources(&[("XDG_DATA_HOME", "relative")]);
    assert_eq!(
        relative.usual_data().unwrap(),
        Path::new("/home/ada/.local/share/tidegate"),
        "a relative path is to be ignored"
    );
    let nowhere = Sources::default();
    let problems = build(None, &nowhere).unwrap_err().to_string();
    assert!(problems.contains("--data"), "{problems}");
}

#[test]
fn a_file_that_was_named_and_is_not_there_is_an_error() {
    let sources = Sources {
        file: Some(PathBuf::from("/nowhere/tidegate.toml")),
        ..sources(&[])
    };
    let error = load(&sources).unwrap_err();
    assert!(matches!(error, LoadError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("/nowhere/tidegate.toml"));
}

proptest::proptest! {
    /// Whatever is in a file, it is read or refused with a place.
    #[test]
    fn no_text_stops_the_reader(text in "(version = 1\n)?([a-z\\[\\].='\"{} 0-9\n-]|é){0,80}") {
        if let Err(problems) = build_text(&text, &sources(&[])) {
            for problem in problems.0 {
                proptest::prop_assert!(problem.to_string().contains("tidegate.toml:"), "{}", problem);
            }
        }
    }

    /// A slip of one letter finds the word that was meant.
    #[test]
    fn one_slip_is_understood(at in 0_usize..11, letter in "[a-z]") {
        let mut written = "body_memory".to_owned();
        written.replace_range(at..=at, &letter);
        let known = ["body_max", "drain", "body_memory"];
        proptest::prop_assert_eq!(problem::nearest(&written, known), Some("body_memory"));
    }
}

/// What is in effect of a text beside nothing else.
fn loaded(text: &str) -> Loaded {
    let (settings, effective) = build_text(&format!("version = 1\n{text}"), &sources(&[])).unwrap();
    Loaded {
        settings,
        effective,
        file: None,
    }
}

#[test]
fn what_is_read_at_the_start_stays_and_is_named_where_it_differs() {
    let running = loaded("");
    let text = "listen = \"127.0.0.1:1\"\ndata = \"/d\"\nenforce = true\n[server]\nbody_memory = \"1 GiB\"\nbody_max = \"1 MB\"\ndrain = \"1s\"\n[telemetry]\ncalls = \"2d\"\n[otlp]\ngrpc = \"off\"\ncontent = true\n";
    let (taken, later) = loaded(text).after_start(&running);
    expect!["listen data server.body_memory server.body_max telemetry.calls otlp.grpc"]
        .assert_eq(&later.join(" "));
    expect!["enforce, server.drain, otlp.content"].assert_eq(&changed(&running, &taken));
    assert_eq!(taken.settings.listen, running.settings.listen);
    assert_eq!(taken.settings.data, running.settings.data);
    assert_eq!(taken.settings.telemetry, running.settings.telemetry);
    assert_eq!(taken.settings.otlp.grpc, running.settings.otlp.grpc);
    assert!(taken.settings.otlp.content);
    // And the reference says it of each of them.
    let reference = reference();
    let said = reference.matches("Counts from the next start on").count();
    let of_start = running.effective.iter();
    let of_start = of_start.filter(|it| start::is_of_start(&it.key)).count();
    assert_eq!(said, of_start);
}

#[test]
fn a_fallback_speaks_the_dialect_of_its_platform() {
    check_wrong(
        "[fallback]\nplatforms = ['openai', 'sonnet']\n[platforms.sonnet]\nfallback = ['openai']\n[platforms.claude_code]\nfallback = ['sonnet']\n",
        expect![[r#"
            tidegate.toml:5:12: platforms.sonnet.fallback: `openai` speaks another dialect than `sonnet`, and nothing is translated; name platforms whose provider has the same family
        "#]],
    );
}
