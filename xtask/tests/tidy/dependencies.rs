//! Every dependency is declared once, used, and has its reason in `docs/dependencies.md`.

use std::{collections::BTreeSet, fs};

use crate::{
    none,
    tree::{Manifest, manifests, root},
};

const REASONS: &str = "docs/dependencies.md";

fn findings(workspace: &str, manifests: &[Manifest], reasons: &str) -> Vec<String> {
    let table: toml::Table = workspace.parse().unwrap();
    let declared = table["workspace"]["dependencies"].as_table().unwrap();
    let declared: BTreeSet<&str> = declared.keys().map(String::as_str).collect();
    let used = manifests.iter().flat_map(|it| &it.dependencies);
    let used: BTreeSet<&str> = used.map(|it| it.name.as_str()).collect();
    let reasons: BTreeSet<&str> = reasons.lines().filter_map(row).collect();

    let mut findings = Vec::new();
    for it in manifests {
        let own = it.dependencies.iter().filter(|on| !on.workspace);
        let told = own.map(|on| {
            format!(
                "`{}` in `{}`: write `{0}.workspace = true`",
                on.name, it.name
            )
        });
        findings.extend(told);
    }
    for name in declared.difference(&used) {
        findings.push(format!(
            "`{name}` is declared in Cargo.toml and used by no crate"
        ));
    }
    let theirs: BTreeSet<&str> = declared
        .into_iter()
        .filter(|it| !it.starts_with("tidegate"))
        .collect();
    for name in theirs.difference(&reasons) {
        findings.push(format!("`{name}` has no reason in {REASONS}"));
    }
    for name in reasons.difference(&theirs) {
        findings.push(format!("`{name}` in {REASONS} is no dependency of ours"));
    }
    findings
}

/// The name in a row of the table: "| `name` | … |".
fn row(line: &str) -> Option<&str> {
    line.strip_prefix("| `")?.split('`').next()
}

#[test]
fn every_dependency_is_declared_once_used_and_explained() {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let reasons = fs::read_to_string(root().join(REASONS)).unwrap();
    none(&findings(&workspace, &manifests(), &reasons));
}

#[test]
fn a_dependency_without_reason_use_or_declaration_is_found() {
    let workspace =
        "[workspace.dependencies]\ntidegate-types = \"1\"\nbytes = \"1\"\nwide = \"1\"\n";
    let manifest = "[package]\nname = \"it\"\n[dependencies]\nbytes.workspace = true\ntidegate-types.workspace = true\nlog = \"1\"\n";
    let reasons =
        "| crate | why |\n| --- | --- |\n| `bytes` | shared buffers |\n| `rand` | chance |\n";
    expect_test::expect![[r"
        `log` in `it`: write `log.workspace = true`
        `wide` is declared in Cargo.toml and used by no crate
        `wide` has no reason in docs/dependencies.md
        `rand` in docs/dependencies.md is no dependency of ours"]]
    .assert_eq(&findings(workspace, &[Manifest::parse(manifest)], reasons).join("\n"));
}
