//! The commented configuration file and the documentation, from the sections.

use std::fmt::Write as _;

use super::{
    BUILT_IN,
    schema::{Key, Presence, Section as _, Shape},
    sections::Root,
    start::is_of_start,
    tree::{Content, Node, key},
};

/// What is said of a key that a reload leaves as it is.
const OF_START: &str = " Counts from the next start on: a reload leaves it as it is.";

/// A configuration file with every key, its meaning and its default. It is a valid file that
/// changes nothing: optional keys and the forms of named tables are comments.
pub(crate) fn reference() -> String {
    let mut out = String::new();
    comment(&mut out, "", Root::DOC);
    out.push('\n');
    let (values, tables): (Vec<Key>, Vec<Key>) = Root::keys()
        .into_iter()
        .partition(|it| matches!(it.shape, Shape::Value { .. }));
    write_values(&mut out, "", &values, "");
    for table in &tables {
        write_table(&mut out, "", table, "");
    }
    out
}

/// Adds `doc` as a comment.
fn comment(out: &mut String, mark: &str, doc: &[&str]) {
    for line in doc {
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "{mark}#{line}");
    }
}

/// The key's name with its table's.
fn joined(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Adds the values among `keys` of the table `path`. `mark` is `# ` where all of them are comments.
fn write_values(out: &mut String, path: &str, keys: &[Key], mark: &str) {
    for key in keys {
        let Shape::Value { text, presence, .. } = &key.shape else {
            continue;
        };
        comment(out, mark, key.doc);
        if is_of_start(&joined(path, key.name)) {
            comment(out, mark, &[OF_START]);
        }
        let mark = match presence {
            Presence::Defaulted => mark,
            Presence::Optional | Presence::Required => "# ",
        };
        let _infallible = writeln!(out, "{mark}{} = {text}\n", key.name);
    }
}

/// Adds a table with all that is in it.
fn write_table(out: &mut String, path: &str, table: &Key, mark: &str) {
    let name = joined(path, table.name);
    match &table.shape {
        Shape::Value { .. } => {}
        Shape::Section(keys, _) => {
            comment(out, mark, table.doc);
            let _infallible = writeln!(out, "{mark}[{name}]");
            write_values(out, &name, keys, mark);
            for inner in keys {
                write_table(out, &name, inner, mark);
            }
        }
        Shape::Named(keys, _) => {
            comment(out, mark, table.doc);
            let name = format!("{name}.NAME");
            let _infallible = writeln!(out, "# [{name}]");
            write_values(out, &name, keys, "# ");
            for inner in keys {
                write_table(out, &name, inner, "# ");
            }
            if path.is_empty() {
                write_built_in(out, table.name);
            }
        }
        Shape::List(keys, text) => {
            comment(out, mark, table.doc);
            let _infallible = writeln!(out, "# [[{name}]]");
            write_values(out, &name, keys, "# ");
            let nodes = Node::built_in(text).map(|it| it.content);
            let Some(Content::List(nodes)) = nodes else {
                return;
            };
            for node in nodes {
                let _infallible = writeln!(out, "[[{name}]]");
                if let Content::Table(table) = node.content {
                    for entry in table.entries() {
                        let value = entry.node.to_toml();
                        let _infallible = writeln!(out, "{} = {value}", key(&entry.name));
                    }
                }
                out.push('\n');
            }
        }
    }
}

/// Adds what is built in of `[table.…]`.
fn write_built_in(out: &mut String, table: &str) {
    let start = format!("[{table}.");
    for block in BUILT_IN.split("\n\n") {
        let header = block.lines().find(|it| it.starts_with('['));
        if header.is_some_and(|it| it.starts_with(&start)) {
            // Comments, because a limit that is written down is a limit that is named.
            for line in block.trim_end().lines() {
                let _infallible = writeln!(out, "# {line}");
            }
            out.push('\n');
        }
    }
}

/// The same as a document: tables of keys with meaning, form and default.
pub(crate) fn markdown() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         Without a file everything has the default below. `tidegate config reference` prints a commented file,\n\
         `tidegate config check` checks one, `tidegate config show` shows what is in effect and where it comes from.\n\n\
         The file is `--config`, else `$TIDEGATE_CONFIG`, else `$XDG_CONFIG_HOME/tidegate/tidegate.toml` if it exists.\n\
         Every key is also a variable: `TIDEGATE__` and the key in upper case with two underscores between its parts,\n\
         like `TIDEGATE__PROVIDERS__ANTHROPIC__BASE_URL`. Its value is read as TOML where it is TOML, else as a text.\n\
         A name that you chose (of a user, a task, a platform and so on) is taken in lower case where it is written in upper\n\
         case alone, unless a file has it in another, and as it is typed where it has a lower-case letter:\n\
         `TIDEGATE__BUDGETS__ORGANISATIONS__LOCAL__USERS__Ann__USER_DAY__HARD` is of the user `Ann`, `…__ANN__…` of `ann`.\n\
         What the command line says wins over the environment, and that over the file.\n",
    );
    let keys = Root::keys();
    section(&mut out, "", &keys, Root::DOC);
    out.push_str("\n## Built in\n\n```toml\n");
    out.push_str(BUILT_IN);
    out.push_str("```\n");
    out
}

fn section(out: &mut String, path: &str, keys: &[Key], doc: &[&str]) {
    let title = if path.is_empty() {
        "Top level".to_owned()
    } else {
        format!("`[{path}]`")
    };
    let _infallible = write!(out, "\n## {title}\n\n{}\n\n", sentence(doc));
    out.push_str("| key | meaning | form | default |\n| --- | --- | --- | --- |\n");
    for key in keys {
        let mut meaning = cell(&sentence(key.doc));
        let inner = joined(path, key.name);
        if matches!(key.shape, Shape::Value { .. }) && is_of_start(&inner) {
            meaning.push_str(OF_START);
        }
        let (form, default) = match &key.shape {
            Shape::Value {
                form,
                text,
                presence,
            } => {
                let default = match presence {
                    Presence::Defaulted => format!("`{text}`"),
                    Presence::Optional => "none".to_owned(),
                    Presence::Required => "must be given".to_owned(),
                };
                (cell(form), cell(&default))
            }
            Shape::Section(..) => ("a table".to_owned(), String::new()),
            Shape::Named(..) => ("tables by name".to_owned(), String::new()),
            Shape::List(..) => (
                "a list of tables".to_owned(),
                "see the reference".to_owned(),
            ),
        };
        let _infallible = writeln!(out, "| `{}` | {meaning} | {form} | {default} |", key.name);
    }
    for key in keys {
        let inner = joined(path, key.name);
        match &key.shape {
            Shape::Value { .. } => {}
            Shape::Section(keys, doc) => section(out, &inner, keys, doc),
            Shape::Named(keys, doc) => section(out, &format!("{inner}.NAME"), keys, doc),
            Shape::List(keys, _) => section(out, &format!("[{inner}]"), keys, key.doc),
        }
    }
}

/// The lines of a documentation comment as one text.
fn sentence(doc: &[&str]) -> String {
    let lines: Vec<&str> = doc.iter().map(|it| it.trim()).collect();
    lines.join(" ")
}

/// A text that breaks no table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
