//! Rate-limit headers of both families, parsed openly.
