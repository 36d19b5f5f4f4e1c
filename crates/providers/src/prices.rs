//! Prices: a versioned table per provider, exact costs and bounds.
