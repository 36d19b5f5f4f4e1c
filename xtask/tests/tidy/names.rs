//! Names say what a thing is; each file says in one line what it is about.

use syn::visit::Visit;

use crate::{
    none,
    tree::{Text, texts},
};

/// What a type's name must not end with: they say that it does something, not what.
const EMPTY_ENDINGS: &[&str] = &[
    "Manager",
    "Helper",
    "Helpers",
    "Handler",
    "Util",
    "Utils",
    "Data",
    "Info",
    "Processor",
];

/// Modules into which anything would fit.
const EMPTY_MODULES: &[&str] = &[
    "common", "data", "helper", "helpers", "info", "misc", "process", "shared", "util", "utils",
];

fn findings(texts: &[Text]) -> Vec<String> {
    let mut findings = Vec::new();
    for it in texts {
        let file = syn::parse_file(&it.text).unwrap_or_else(|error| panic!("{}: {error}", it.path));
        let about = it.text.lines().find(|line| !line.trim().is_empty());
        if !it.is_test() && !about.is_some_and(|line| line.starts_with("//!")) {
            findings.push(format!(
                "{}: begins without `//!` and what the file is about",
                it.path
            ));
        }
        let mut names = EmptyNames(Vec::new());
        names.visit_file(&file);
        findings.extend(
            names
                .0
                .into_iter()
                .map(|name| format!("{}: {name}", it.path)),
        );
    }
    findings
}

struct EmptyNames(Vec<String>);

impl EmptyNames {
    fn look(&mut self, name: &syn::Ident) {
        let name = name.to_string();
        if let Some(ending) = EMPTY_ENDINGS.iter().find(|it| name.ends_with(**it)) {
            self.0.push(format!(
                "`{name}`: `{ending}` says nothing: name the fact or the act"
            ));
        }
    }
}

impl<'ast> Visit<'ast> for EmptyNames {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.look(&item.ident);
        syn::visit::visit_item_struct(self, item);
    }
    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.look(&item.ident);
        syn::visit::visit_item_enum(self, item);
    }
    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.look(&item.ident);
        syn::visit::visit_item_trait(self, item);
    }
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = item.ident.to_string();
        if EMPTY_MODULES.contains(&name.as_str()) {
            self.0.push(format!(
                "`mod {name}`: anything fits into it: name its subject"
            ));
        }
        syn::visit::visit_item_mod(self, item);
    }
}

#[test]
fn names_say_what_things_are() {
    none(&findings(&texts(&[".rs"])));
}

#[test]
fn empty_names_and_files_without_a_subject_are_found() {
    let broken = [
        Text::new(
            "a.rs",
            "//! A.\nmod utils;\npub struct CallManager;\nmod b { enum UsageInfo {} trait Process {} }",
        ),
        Text::new("b.rs", "pub struct It;"),
        Text::new("b/tests.rs", "fn it() {}"),
    ];
    expect_test::expect![[r"
        a.rs: `mod utils`: anything fits into it: name its subject
        a.rs: `CallManager`: `Manager` says nothing: name the fact or the act
        a.rs: `UsageInfo`: `Info` says nothing: name the fact or the act
        b.rs: begins without `//!` and what the file is about"]]
    .assert_eq(&findings(&broken).join("\n"));
}
