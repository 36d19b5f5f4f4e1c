//! Is there money for it; hold it, settle it exactly.
