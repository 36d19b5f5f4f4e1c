//! Who may use whom, and who may use which of other people's code.

use crate::{
    none,
    tree::{Manifest, manifests},
};

/// Each crate and its layer. A crate may depend only on crates of a *lower* layer, so that siblings (`store` and `engine`, say)
/// never see each other; for tests too, or a test would prove what the crate cannot do by itself.
const LAYERS: &[(&str, u32)] = &[
    ("tidegate-types", 0),
    ("tidegate-auditor", 0),
    ("tidegate-admission", 1),
    ("tidegate-ledger", 1),
    ("tidegate-forecast", 1),
    ("tidegate-routing", 1),
    ("tidegate-providers", 1),
    ("tidegate-faults", 1),
    ("tidegate-observe", 1),
    ("tidegate-tasks", 1),
    ("tidegate-engine", 2),
    ("tidegate-store", 2),
    ("tidegate-logins", 2),
    ("tidegate-segments", 2),
    ("tidegate-gateway", 3),
    ("tidegate-control", 3),
    ("tidegate-notify", 3),
    ("tidegate-otlp", 3),
    ("tidegate-sim", 3),
    ("tidegate", 4),
    ("xtask", 5),
];

/// Crates of one layer that meet in tests alone: the gateway against the emulated provider, the
/// engine and sign-ins against real stores; and the program with the files that an earlier version of it left.
const TESTED_WITH: &[(&str, &str)] = &[
    ("tidegate-gateway", "tidegate-sim"),
    ("tidegate-engine", "tidegate-store"),
    ("tidegate-logins", "tidegate-store"),
    ("tidegate", "rusqlite"),
];

/// Other people's code that is kept apart, the names of crates that may use it, and why.
const QUARANTINE: &[(&[&str], Allowed, &str)] = &[
    (
        &[
            "tokio",
            "tokio-util",
            "futures",
            "futures-util",
            "arc-swap",
            "getrandom",
        ],
        Allowed::FromLayer(2),
        "the domain is pure: no IO, no threads, no randomness but as an argument",
    ),
    (
        &[
            "axum",
            "http",
            "http-body",
            "http-body-util",
            "httparse",
            "hyper",
            "hyper-util",
            "rustls",
            "rustls-native-certs",
            "tokio-rustls",
            "tonic",
            "tower",
            "webpki-roots",
        ],
        Allowed::FromLayer(3),
        "HTTP lives in layer 3 and nowhere below",
    ),
    (
        &[
            "rusqlite",
            "tokio-postgres",
            "deadpool-postgres",
            "redis",
            "object_store",
        ],
        Allowed::Only(&["tidegate-store", "tidegate-segments"]),
        "what is durable is behind ports, in `store`, and telemetry in `segments`",
    ),
    (
        &["parquet", "zstd"],
        Allowed::Only(&["tidegate-segments"]),
        "they take longer to build than anything else, and only `segments` waits for them",
    ),
    (
        &["clap", "anyhow", "ureq", "ratatui"],
        Allowed::Only(&["tidegate", "xtask"]),
        "libraries say what went wrong in types of their own, and read no command line and draw no screen",
    ),
];

enum Allowed {
    /// Crates of this layer and above.
    FromLayer(u32),
    Only(&'static [&'static str]),
}

impl Allowed {
    fn to(&self, name: &str) -> bool {
        match self {
            Self::FromLayer(least) => layer(name) >= Some(*least),
            Self::Only(names) => names.contains(&name),
        }
    }
}

fn layer(name: &str) -> Option<u32> {
    let entry = LAYERS.iter().find(|(it, _)| *it == name);
    entry.map(|(_, layer)| *layer)
}

fn findings(manifests: &[Manifest]) -> Vec<String> {
    let mut findings = Vec::new();
    for it in manifests {
        let name = &it.name;
        let Some(own) = layer(name) else {
            findings.push(format!(
                "`{name}` has no layer: add it to LAYERS and to ARCHITECTURE.md"
            ));
            continue;
        };
        for dependency in &it.dependencies {
            let on = dependency.name.as_str();
            let for_tests = dependency.dev && TESTED_WITH.contains(&(name.as_str(), on));
            if on.starts_with("tidegate") && layer(on) >= Some(own) && !for_tests {
                findings.push(format!("`{name}` (layer {own}) must not depend on `{on}`"));
            }
            for (names, allowed, why) in QUARANTINE {
                if names.contains(&on) && !allowed.to(name) && !for_tests {
                    findings.push(format!("`{name}` must not depend on `{on}`: {why}"));
                }
            }
        }
    }
    findings
}

#[test]
fn crates_depend_only_on_lower_layers_and_on_what_they_may_use() {
    none(&findings(&manifests()));
}

#[test]
fn a_sibling_a_higher_layer_and_quarantined_code_are_found() {
    let manifest = |name: &str, on: &[&str], kind: &str| {
        let lines = on.join(".workspace = true\n");
        Manifest::parse(&format!(
            "[package]\nname = \"{name}\"\n[{kind}]\n{lines}.workspace = true\n"
        ))
    };
    let broken = [
        manifest(
            "tidegate-store",
            &["tidegate-engine", "tidegate-types", "rusqlite"],
            "dependencies",
        ),
        manifest("tidegate-ledger", &["tidegate-store"], "dev-dependencies"),
        manifest("tidegate-admission", &["tokio"], "dependencies"),
        manifest(
            "tidegate-engine",
            &["hyper", "rusqlite"],
            "build-dependencies",
        ),
        manifest(
            "tidegate-control",
            &["anyhow", "axum"],
            "target.'cfg(unix)'.dependencies",
        ),
        manifest("tidegate-helpers", &["bytes"], "dependencies"),
    ];
    expect_test::expect![[r#"
        `tidegate-store` (layer 2) must not depend on `tidegate-engine`
        `tidegate-ledger` (layer 1) must not depend on `tidegate-store`
        `tidegate-admission` must not depend on `tokio`: the domain is pure: no IO, no threads, no randomness but as an argument
        `tidegate-engine` must not depend on `hyper`: HTTP lives in layer 3 and nowhere below
        `tidegate-engine` must not depend on `rusqlite`: what is durable is behind ports, in `store`, and telemetry in `segments`
        `tidegate-control` must not depend on `anyhow`: libraries say what went wrong in types of their own, and read no command line and draw no screen
        `tidegate-helpers` has no layer: add it to LAYERS and to ARCHITECTURE.md"#]]
    .assert_eq(&findings(&broken).join("\n"));
}
