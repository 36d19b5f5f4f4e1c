//! Bytes in, bytes out: the data plane.

pub mod upstream;
