//! A function fits on a screen, a file is one room, and no crate becomes the project.

use std::collections::BTreeMap;

use syn::visit::Visit;

use crate::{
    none,
    tree::{Text, texts},
};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// In hundredths of the code of all crates, tests aside.
const CRATE_SHARE_MAX: usize = 20;

/// With less code than this the first crates to be written are most of it.
const SHARES_FROM_LINES: usize = 10_000;

fn long(texts: &[Text]) -> Vec<String> {
    let mut findings = Vec::new();
    for it in texts {
        let lines = it.text.lines().count();
        if lines > FILE_LINES_MAX {
            findings.push(format!(
                "{}: {lines} lines, more than {FILE_LINES_MAX}",
                it.path
            ));
        }
        if it.is_test() {
            continue; // a snapshot in a test is text; the linter counts what is code
        }
        let file = syn::parse_file(&it.text).unwrap_or_else(|error| panic!("{}: {error}", it.path));
        let mut functions = LongFunctions(Vec::new());
        functions.visit_file(&file);
        let named = functions
            .0
            .into_iter()
            .map(|found| format!("{}: {found}", it.path));
        findings.extend(named);
    }
    findings
}

struct LongFunctions(Vec<String>);

impl LongFunctions {
    fn look(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let span = body.brace_token.span.join();
        let lines = span.end().line - span.start().line + 1;
        if lines > FUNCTION_LINES_MAX {
            let name = &signature.ident;
            self.0.push(format!(
                "fn {name}: {lines} lines, more than {FUNCTION_LINES_MAX}"
            ));
        }
    }
}

impl<'ast> Visit<'ast> for LongFunctions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.look(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.look(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }
    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.look(&item.sig, body);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }
}

/// Lines of code by crate, without blank lines, comments and tests.
fn code(texts: &[Text]) -> BTreeMap<&str, usize> {
    let mut crates = BTreeMap::new();
    for it in texts.iter().filter(|it| !it.is_test()) {
        let Some(name) = it.krate() else { continue };
        let lines = it.text.lines().map(str::trim);
        let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
        *crates.entry(name).or_default() += code.count();
    }
    crates
}

fn heavy(texts: &[Text]) -> Vec<String> {
    let crates = code(texts);
    let whole: usize = crates.values().sum();
    if whole < SHARES_FROM_LINES {
        return Vec::new();
    }
    let heavy = crates
        .iter()
        .filter(|(_, lines)| *lines * 100 > whole * CRATE_SHARE_MAX);
    let told = heavy.map(|(name, lines)| {
        format!("crates/{name}: {lines} of {whole} lines, more than {CRATE_SHARE_MAX} %")
    });
    told.collect()
}

#[test]
fn files_and_functions_fit_on_a_screen() {
    none(&long(&texts(&[".rs"])));
}

#[test]
fn no_crate_is_more_than_a_fifth_of_the_code() {
    none(&heavy(&texts(&[".rs"])));
}

#[test]
fn one_line_too_many_is_found() {
    let function = |lines: usize| format!("fn it() {{{}}}", "\n".repeat(lines - 1));
    let file = |lines: usize| "\n".repeat(lines);
    assert!(
        long(&[
            Text::new("a.rs", &function(70)),
            Text::new("b.rs", &file(600))
        ])
        .is_empty()
    );
    let broken = [
        Text::new(
            "a.rs",
            &format!("mod it {{ impl It {{ {} }} }}", function(71)),
        ),
        Text::new("b.rs", &format!("trait It {{ {} }}", function(71))),
        Text::new("c.rs", &file(601)),
        Text::new("c/tests.rs", &function(601)),
    ];
    expect_test::expect![[r"
        a.rs: fn it: 71 lines, more than 70
        b.rs: fn it: 71 lines, more than 70
        c.rs: 601 lines, more than 600
        c/tests.rs: 601 lines, more than 600"]]
    .assert_eq(&long(&broken).join("\n"));
}

#[test]
fn a_heavy_crate_is_found_by_its_code_alone() {
    let krate = |name: &str, lines: usize| {
        Text::new(
            &format!("crates/{name}/src/lib.rs"),
            &"x\n// y\n\n".repeat(lines),
        )
    };
    let light: Vec<Text> = ["a", "b", "c", "d", "e"]
        .map(|name| krate(name, 2_000))
        .into();
    assert!(heavy(&light).is_empty());
    let tests = Text::new("crates/a/src/lib/tests.rs", &"x\n".repeat(9_000));
    assert!(heavy(&[light.clone(), vec![tests]].concat()).is_empty());
    let found = heavy(&[light, vec![Text::new("crates/a/src/more.rs", "x\n")]].concat());
    assert_eq!(found, ["crates/a: 2001 of 10001 lines, more than 20 %"]);
    assert!(heavy(&[krate("a", 9_999)]).is_empty());
}
