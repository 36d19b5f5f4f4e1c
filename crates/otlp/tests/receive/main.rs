//! Requests as exporters send them, answered when their records are durable, or with what to do.
#![expect(clippy::unwrap_used, reason = "what can't be is a failure of the test")]

mod grpc;
mod http;
mod world;
