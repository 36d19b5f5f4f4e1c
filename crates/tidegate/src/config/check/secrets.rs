//! Secrets: written down, in a variable, or on the first line of a file.

use std::path::{Path, PathBuf};

use tidegate_types::Secret;

use crate::config::{Sources, schema::Reader};

/// The three keys that may hold one secret.
pub(super) struct Given<'a> {
    /// The key of the secret itself; those of its variable and its file end in `_env` and `_file`.
    pub(super) key: &'static str,
    pub(super) value: Option<&'a Secret<String>>,
    pub(super) variable: Option<&'a String>,
    pub(super) file: Option<&'a PathBuf>,
    /// What becomes of it where there is none.
    pub(super) without: &'static str,
}

impl Given<'_> {
    /// The secret, and the key that gave it. What is wrong is in the reader's problems.
    pub(super) fn read(
        &self,
        path: &str,
        reader: &mut Reader,
        sources: &Sources,
    ) -> Option<(String, Secret<String>)> {
        let given = [
            ("", self.value.is_some()),
            ("_env", self.variable.is_some()),
            ("_file", self.file.is_some()),
        ];
        let given: Vec<String> = given
            .iter()
            .filter(|it| it.1)
            .map(|it| format!("{}{}", self.key, it.0))
            .collect();
        if let [_, second, ..] = given.as_slice() {
            let key = format!("{path}.{second}");
            let message = format!("{} are given; keep one of them", given.join(" and "));
            reader.refuse(reader.origin(&key), key, message);
            return None;
        }
        let key = format!("{path}.{}", given.first()?);
        let found = if let Some(variable) = self.variable {
            let value = sources.variable(variable).map(str::to_owned);
            value.ok_or_else(|| {
                format!(
                    "the environment has no variable `{variable}`; set it, or leave this out to {}",
                    self.without
                )
            })
        } else if let Some(file) = self.file {
            first_line(file)
        } else {
            return self.value.cloned().map(|it| (key, it));
        };
        match found {
            Ok(text) => Some((key, Secret::new(text))),
            Err(message) => {
                reader.refuse(reader.origin(&key), key, message);
                None
            }
        }
    }
}

fn first_line(file: &Path) -> Result<String, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err(format!(
            "the first line of `{shown}` is empty; put the credential there"
        ));
    }
    Ok(line.to_owned())
}
