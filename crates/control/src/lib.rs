//! The operator's API: admissions, budgets, keys, calls, metrics.
