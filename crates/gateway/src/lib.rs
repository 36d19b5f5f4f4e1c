//! Bytes in, bytes out: the data plane.
