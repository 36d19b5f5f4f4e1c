//! OpenTelemetry in: OTLP over gRPC and over HTTP, in Protocol Buffers and JSON, decoded into records
//! of telemetry.
//!
//! A [`Receiver`] answers a request when its records are durable, and says when to come back where they
//! can't be taken. [`decode()`] alone is pure: bytes in, a batch out.
//!
//! Whose records they are is decided by the sender's key. Everything that is sent is bounded
//! ([`limits`]), and secrets, prompts and answers are taken out before anything is kept.

mod answer;
mod attributes;
mod convention;
mod decode;
mod error;
mod grpc;
mod http1;
mod json;
pub mod limits;
mod logs;
mod metrics;
mod names;
mod receiver;
mod spans;
mod text;
mod wire;

pub use attributes::Cut;
pub use decode::{Decoded, Rejected, Rules, Sender, Signal, decode};
pub use error::Refusal;
pub use grpc::Reply;
pub use json::MalformedJson;
pub use receiver::{Keep, Nowhere, Receiver, Senders};
pub use wire::Malformed;
