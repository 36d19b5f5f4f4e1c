//! One suite of tests that every backend must pass.
