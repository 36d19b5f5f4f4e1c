//! Every bound of the emulator, with its reason.

use std::time::Duration;

/// Anthropic refuses bodies over 32 MB with 413; so does the emulator, for every dialect.
pub const BODY_BYTES_MAX: usize = 32 << 20;

/// The longest answer: above the largest output any current model has (128k), so that absurd
/// directives cost memory that is known beforehand (about 3.6 bytes a token).
pub const ANSWER_TOKENS_MAX: u64 = 200_000;

/// The most characters `sim:say` may answer with: a tenth of what a prompt may hold.
pub const SAY_BYTES_MAX: usize = 64 << 10;

/// The most tool calls in one answer: real answers have under ten.
pub const TOOL_CALLS_MAX: usize = 64;

/// The longest wait a directive or fault can ask for: as long as the SDKs' own time limit.
pub const WAIT_MAX: Duration = Duration::from_mins(10);

/// Prompt-cache entries kept: 100 sessions of 200 blocks; a full cache stops learning, it does not grow.
pub const CACHE_ENTRIES_MAX: usize = 20_000;

/// How many blocks before a breakpoint are searched for an earlier write: Anthropic's documented window.
pub const CACHE_LOOKBACK_BLOCKS: usize = 20;

/// The shortest prefix that is cached, in tokens: the commonest minimum of the models in use.
pub const CACHE_PREFIX_TOKENS_MIN: u64 = 1_024;

/// OpenAI counts cached prompt tokens in steps of this many.
pub const OPENAI_CACHE_STEP_TOKENS: u64 = 128;

/// Pools of buckets kept (credential × model class): a test with more has made a mistake.
pub const POOLS_MAX: usize = 10_000;

/// Repeat counters of faults limited by `*TIMES`, before the oldest are forgotten.
pub const FAULT_COUNTERS_MAX: usize = 10_000;

/// Records of the wire log kept in memory unless the spec says otherwise: all calls of the recorded sessions,
/// about 40 MB when full.
pub const WIRE_LOG_RECORDS_DEFAULT: usize = 30_000;

/// The largest memory log that may be asked for.
pub const WIRE_LOG_RECORDS_MAX: usize = 1_000_000;

/// Connections served at once; further ones wait in the listen queue. Above the 5,000 streams of the benches.
pub const CONNECTIONS_MAX: usize = 20_000;

/// The longest line of a trace file: real rows have under 200 bytes.
pub const TRACE_LINE_BYTES_MAX: usize = 64 << 10;

/// How much of a trace file is looked at to tell what it is: the first lines of every known format fit in.
pub const TRACE_BEGINNING_BYTES_MAX: usize = 16 << 10;

/// The longest line of a transcript of Claude Code: what a request may have, which one line repeats.
pub const TRANSCRIPT_LINE_BYTES_MAX: usize = BODY_BYTES_MAX;

/// Transcripts read at once: each prompt of a busy year.
pub const TRANSCRIPT_FILES_MAX: usize = 100_000;

/// Folders within folders of transcripts: Claude Code makes four.
pub const TRANSCRIPT_FOLDERS_DEEP_MAX: usize = 8;

/// Calls of one trace that are held at once, some 400 bytes each: a hundred of the busiest hours recorded anywhere.
pub const TRACE_CALLS_MAX: usize = 250_000;

/// Blocks of prompts whose last use is kept in mind, 24 bytes each: ten for each call that may be held.
pub const TRACE_BLOCKS_MAX: usize = 4_000_000;

/// Windows of rates that are held at once, 64 bytes each: six times those of the largest public set.
pub const TRACE_WINDOWS_MAX: usize = 1_000_000;

/// The largest document of `tidegate calls --json`: a thousand calls of up to 16 KiB, which is the most it gives.
pub const CALLS_DOCUMENT_BYTES_MAX: usize = 16 << 20;
