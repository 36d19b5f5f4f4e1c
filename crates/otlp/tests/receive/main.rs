//! Requests as exporters send them, answered when their records are durable, or with what to do.

mod grpc;
mod http;
mod world;
