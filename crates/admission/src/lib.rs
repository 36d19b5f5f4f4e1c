//! May this start now; if not, when.
