//! Values that must not be shown.

use std::fmt;

/// A value that must not reach a log line, an error text or an API response.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Grep for this name to audit every use.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let key = Secret::new("sk-ant-1");
        assert_eq!(format!("{key:?}"), "[redacted]");
        assert_eq!(*key.expose(), "sk-ant-1");
    }
}
