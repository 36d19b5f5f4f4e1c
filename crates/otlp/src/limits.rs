//! Every bound on what senders may send, with its reason.

use std::time::Duration;

/// Bytes of a request on the wire: what gRPC takes by default, and eight times what exporters send
/// at once.
pub const BODY_BYTES_MAX: usize = 4 << 20;

/// Bytes of a request that was compressed: telemetry shrinks to a tenth, bombs to a thousandth.
pub const UNPACKED_BYTES_MAX: usize = 16 << 20;

/// Bytes of all requests that are being read: sixteen of the largest. Beyond it senders are told to
/// come back.
pub(crate) const BODIES_BYTES_MAX: usize = 64 << 20;

/// The step in which memory for bodies is taken: a chunk or two of a connection.
pub(crate) const BODY_STEP: usize = 64 * 1024;

/// How long a request may take to come: exporters give up after as long.
pub(crate) const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// Requests that are decoded at the same time. One alone decodes more than the store takes; the second
/// is for small ones beside a large one.
pub(crate) const DECODERS: usize = 2;

/// A body up to this size is decoded where it was read: in a fraction of a millisecond.
pub(crate) const INLINE_BYTES_MAX: usize = 64 * 1024;

/// The same of a compressed one, which may become a thousand times as large.
pub(crate) const INLINE_PACKED_MAX: usize = 1024;

/// Records of one request: a collector's batch has 8,192. What is beyond is rejected and counted.
pub const RECORDS_MAX: usize = 32_768;

/// Bytes in memory of one request's records, below what the store takes at once. What is beyond is
/// rejected and counted.
pub const BATCH_BYTES_MAX: usize = 12 << 20;

/// Attributes of one record: the SDKs' own bound. What is beyond is left out and counted.
pub const ATTRIBUTES_MAX: usize = 128;

/// Bytes of one text among attributes: a stack trace fits. What is longer is cut.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;

/// Bytes of an attribute's name.
pub const KEY_BYTES_MAX: usize = 256;

/// Bytes of all attributes of one record as JSON, of its events, and of its links. The store cuts
/// texts at 64 KiB, which would be no JSON any more; the rest is room for the next.
pub const OBJECT_BYTES_MAX: usize = 52 * 1024;

/// Bytes of what a resource says beside its names, and of what a scope does: both are repeated in
/// every record.
pub const RESOURCE_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a log's body: what the store keeps of a text.
pub const TEXT_BYTES_MAX: usize = tidegate_observe::telemetry::TEXT_BYTES_MAX;

/// How deep values may be nested. What is below is left out and counted.
pub const DEPTH_MAX: usize = 16;

/// Events of one span, and its links: the SDKs' own bounds.
pub const EVENTS_MAX: usize = 128;

/// Characters of a name in a column of its own: as many as a call's names have, so that both meet.
pub const NAME_CHARS_MAX: usize = 200;

/// Connections of gRPC that are open at once: an exporter has one.
pub(crate) const CONNECTIONS_MAX: usize = 256;

/// Requests at once on one of them.
pub(crate) const STREAMS_MAX: u32 = 32;

/// Bytes of a request's headers.
pub(crate) const HEAD_BYTES_MAX: u32 = 16 * 1024;

/// What may be on its way to us of one connection, unread: a request, whole.
pub(crate) const WINDOW_BYTES: u32 = 4 << 20;

/// A connection that says nothing for as long is asked whether it is there.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_mins(1);

/// How long requests may go on that came before the end.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

/// When to come back where bodies fill their memory: a few commits later.
pub(crate) const RETRY_BUSY: Duration = Duration::from_secs(1);

/// When to come back where nothing can be written: somebody has to see to it first.
pub(crate) const RETRY_UNWRITTEN: Duration = Duration::from_secs(10);

/// When to come back where the program is stopping: it may be starting again.
pub(crate) const RETRY_STOPPING: Duration = Duration::from_secs(2);
