//! What happened: instruments, records, redaction.
