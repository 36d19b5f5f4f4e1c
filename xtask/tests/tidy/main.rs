//! Rules about the tree that no linter knows.
