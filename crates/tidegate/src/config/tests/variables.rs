//! Variables that set keys, and those that nearly do.

use super::*;

#[test]
fn a_name_that_somebody_chose_keeps_its_case_unless_it_is_all_upper_case() {
    check(
        "[platforms.my-gpu]\nprovider = 'openai'\n[budgets.organisations.Acme.tasks.Nightly]\nhard = 1\n",
        &[
            (
                "TIDEGATE__BUDGETS__ORGANISATIONS__LOCAL__USERS__Ann__USER_DAY__HARD",
                "1",
            ),
            (
                "TIDEGATE__BUDGETS__ORGANISATIONS__LOCAL__USERS__BOB__USER_DAY__HARD",
                "2",
            ),
            // As the file has it, which has it but once.
            (
                "TIDEGATE__BUDGETS__ORGANISATIONS__ACME__TASKS__NIGHTLY__HARD",
                "3",
            ),
            // Not that of the file.
            (
                "TIDEGATE__BUDGETS__ORGANISATIONS__acme__TASKS__nightly__HARD",
                "4",
            ),
            ("TIDEGATE__Providers__OpenAI-2__Family", "openai"),
            (
                "TIDEGATE__Providers__OpenAI-2__base_url",
                "https://a.example",
            ),
            ("TIDEGATE__PLATFORMS__my_gpu__MODELS", "llama-*"),
            ("TIDEGATE__CLAUDE_CODE__ENV__MixedCase", "x"),
        ],
        expect![[r#"
            version = 1  # tidegate.toml:1:11
            providers.OpenAI-2.family = "openai"  # TIDEGATE__Providers__OpenAI-2__Family
            providers.OpenAI-2.base_url = "https://a.example"  # TIDEGATE__Providers__OpenAI-2__base_url
            platforms.my-gpu.provider = "openai"  # tidegate.toml:3:12
            platforms.my-gpu.models = "llama-*"  # TIDEGATE__PLATFORMS__my_gpu__MODELS
            budgets.organisations.Acme.tasks.Nightly.hard = 3  # TIDEGATE__BUDGETS__ORGANISATIONS__ACME__TASKS__NIGHTLY__HARD
            budgets.organisations.local.users.Ann.user_day.hard = 1  # TIDEGATE__BUDGETS__ORGANISATIONS__LOCAL__USERS__Ann__USER_DAY__HARD
            budgets.organisations.local.users.bob.user_day.hard = 2  # TIDEGATE__BUDGETS__ORGANISATIONS__LOCAL__USERS__BOB__USER_DAY__HARD
            budgets.organisations.acme.tasks.nightly.hard = 4  # TIDEGATE__BUDGETS__ORGANISATIONS__acme__TASKS__nightly__HARD
            claude_code.env = { MixedCase = "x" }  # TIDEGATE__CLAUDE_CODE__ENV__MixedCase
        "#]],
    );
}

#[test]
fn a_name_that_the_file_has_in_two_cases_is_the_one_that_is_written_alike() {
    let users = "[budgets.organisations.local.users.Ann.user_day]\nhard = 1\n[budgets.organisations.local.users.ann.user_day]\nhard = 1\n[budgets.organisations.local.users.ANN.user_day]\nhard = 1\n";
    let variable = |user: &str| {
        format!("TIDEGATE__BUDGETS__ORGANISATIONS__LOCAL__USERS__{user}__USER_DAY__HARD")
    };
    let text = format!("version = 1\n{users}");
    for user in ["Ann", "ann", "ANN"] {
        let (_, effective) = build_text(&text, &sources(&[(&variable(user), "77")])).unwrap();
        let set = effective.iter().filter(|it| it.value == "77");
        let set: Vec<&str> = set.map(|it| it.key.as_str()).collect();
        let key = format!("budgets.organisations.local.users.{user}.user_day.hard");
        assert_eq!(set, [key]);
    }
}

#[test]
fn a_variable_with_one_underscore_where_two_belong_is_told_its_right_name() {
    let wrong = [
        ("TIDEGATE_ENFORCE", "true"),
        ("TIDEGATE_LOG", "debug"),
        ("TIDEGATE_LOG_LEVEL", "debug"),
        ("TIDEGATE_LOG__LEVLE", "debug"),
        ("TIDEGATE_SERVER__BODY_MAX", "1 MB"),
        ("TIDEGATE_PROVIDERS_MY_GPU_BASE_URL", "https://a.example"),
        (
            "TIDEGATE_BUDGETS_ORGANISATIONS_LOCAL_USERS_Ann_USER_DAY_HARD",
            "1",
        ),
        ("TIDEGATE_WEIGHTS_RULES", "[]"),
    ];
    let problems = build(None, &sources(&wrong)).unwrap_err();
    expect![[r#"
        TIDEGATE_BUDGETS_ORGANISATIONS_LOCAL_USERS_Ann_USER_DAY_HARD: this variable is not known; did you mean `TIDEGATE__BUDGETS__ORGANISATIONS__LOCAL__USERS__Ann__USER_DAY__HARD`? Two underscores stand between its parts
        TIDEGATE_ENFORCE: this variable is not known; did you mean `TIDEGATE__ENFORCE`? Two underscores stand between its parts
        TIDEGATE_LOG: this variable is not known; did you mean `TIDEGATE__LOG__…`? Two underscores stand between its parts
        TIDEGATE_LOG_LEVEL: this variable is not known; did you mean `TIDEGATE__LOG__LEVEL`? Two underscores stand between its parts
        TIDEGATE_LOG__LEVLE: this variable is not known; did you mean `TIDEGATE__LOG__LEVLE`? Two underscores stand between its parts
        TIDEGATE_PROVIDERS_MY_GPU_BASE_URL: this variable is not known; did you mean `TIDEGATE__PROVIDERS__MY_GPU__BASE_URL`? Two underscores stand between its parts
        TIDEGATE_SERVER__BODY_MAX: this variable is not known; did you mean `TIDEGATE__SERVER__BODY_MAX`? Two underscores stand between its parts
        TIDEGATE_WEIGHTS_RULES: this variable is not known; did you mean `TIDEGATE__WEIGHTS__RULES`? Two underscores stand between its parts"#]].assert_eq(&problems.to_string());
    // What such a variable says of other things keeps nobody from looking at a gateway.
    assert!(beside_file(&sources(&wrong)).is_some());
}

#[test]
fn variables_that_may_be_somebody_elses_are_left_alone() {
    let theirs = [
        ("TIDEGATE_CONFIG", "x"),
        ("TIDEGATE_DATASETS", "x"),
        ("TIDEGATE_CRASH_ROUNDS", "3"),
        ("TIDEGATE_VERSION", "0.1.0"),
        // Kubernetes tells programs of services so.
        ("TIDEGATE_SERVICE_HOST", "192.0.2.1"),
        ("TIDEGATE_PORT_8787_TCP", "tcp://192.0.2.1:8787"),
        ("TIDEGATE_PROVIDERS_SERVICE_HOST", "192.0.2.1"),
        ("TIDEGATE_LOG_SERVICE_PORT", "80"),
        ("TIDEGATE_ENFORCE", ""),
        ("TIDEGATEWAY_ENFORCE", "true"),
    ];
    assert!(build(None, &sources(&theirs)).is_ok());
    let key = [("TIDEGATE_PROVIDERS_ANTHROPIC_API_KEY", "of-the-operator")];
    let text = "version = 1\n[providers.anthropic]\napi_key_env = 'TIDEGATE_PROVIDERS_ANTHROPIC_API_KEY'\n";
    assert!(build_text(text, &sources(&key)).is_ok());
    assert!(build(None, &sources(&key)).is_err());
}
