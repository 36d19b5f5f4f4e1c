//! Every key there is, with its documentation and its default. The reader, the commented
//! reference, `config show` and the documentation are made from this file.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tidegate_admission::OnExcess;
use tidegate_observe::{notice::Topic, record::Level};
use tidegate_types::{Mode, RequestClass, Secret};

use super::{
    schema::{At, Key, Presence, Reader, Section, Shape, key_shape, key_type, read_key, sections},
    value::{
        Amount, Bytes, Cap, Countable, Family, Listening, LogForm, NoticeForm, Pairs, Per,
        Quantity, Setting, Zone,
    },
};

sections! {
    /// Tidegate's configuration. Everything has a default: a file holds what differs.
    Root {
        /// The format of this file. A file must say it, so that later programs can read it.
        value version: u64 = 1;
        /// Where to listen. Any address but a loopback one needs keys (`tidegate keys add`).
        /// Also TIDEGATE_LISTEN and `serve --listen`.
        value listen: SocketAddr = "127.0.0.1:8787";
        /// The folder for the ledger, the journal and the token. Also TIDEGATE_DATA and
        /// `serve --data`. By default `$XDG_DATA_HOME/tidegate`, else `~/.local/share/tidegate`.
        optional data: PathBuf = "/var/lib/tidegate";
        /// Enforce the built-in limits for everyone. Otherwise they only watch keyless calls of
        /// the local user, and bind calls with a key and admission requests. A limit that is
        /// named below is enforced for everyone anyway, unless it says `mode = "watch"`. Also
        /// `serve --enforce`.
        value enforce: bool = false;
        /// Bounds of the gateway itself.
        section server: Server;
        /// How long clients are held while their calls wait.
        section waiting: Waiting;
        /// Who calls without a key act as.
        section identity: Identity;
        /// Providers by name: who answers, at which address, with whose credential. `anthropic`
        /// and `openai` are built in and may be changed; others can be added.
        named providers: Provider;
        /// Platforms by name: places where work can be sent, each with a quota of its own. A call
        /// goes to the one that speaks its dialect, takes its kind of credential and names its
        /// model most closely in `models`; of equals to the first, in this order. Where none
        /// claims the model it goes to the first that takes its kind of credential.
        named platforms: Platform;
        /// Where calls go when their platform is exhausted or down and names no fallback itself.
        section fallback: Fallback;
        /// Limits on money.
        section budgets: Budgets;
        /// Limits on how often, how many at once, how much in all and how large.
        section quotas: Quotas;
        /// How much is held for a call before it is sent.
        section reserve: Reserve;
        /// What a call weighs in units of a bucket, where its task's complexity is not known.
        section weights: Weights;
        /// Prices.
        section prices: Prices;
        /// What is told by itself, and to whom.
        section notify: Notify;
        /// What Claude Code is given when it signs in (`/login`).
        section claude_code: ClaudeCode;
        /// What is kept of what happened: calls, tasks, logs, traces.
        section telemetry: Telemetry;
        /// Where other programs send their telemetry (OTLP).
        section otlp: Otlp;
        /// What is removed from logs, records and errors.
        section redact: Redact;
        /// The program's own log.
        section log: Log;
    }

    /// Bounds of the gateway itself.
    Server {
        /// Memory that the bodies of all requests share. Beyond it reading stops, then new calls
        /// get 429.
        value body_memory: Bytes = "256 MiB";
        /// The largest request body; a larger one gets 413. Anthropic's own bound.
        value body_max: Bytes = "32 MB";
        /// How long running answers may go on after the first signal to stop.
        value drain: Duration = "30s";
    }

    /// How long clients are held while their calls wait for a turn or a yes. A client is never held for
    /// longer than it waits for an answer itself, less what nine of ten answers take; then it is told
    /// when to come back, and its place is kept. `x-tidegate-max-wait` on a call says otherwise for it.
    Waiting {
        /// How long the head of an answer is held back in silence, while any status can be sent still;
        /// what the first byte then takes is included.
        value silent: Duration = "240s";
        /// How long a call may wait in all whose stream is opened then, because its turn will come
        /// in that time. Zero opens none.
        value opened: Duration = "330s";
        /// How often a stream is pinged that is opened and has no answer yet.
        value ping: Duration = "10s";
        /// How long clients wait for an answer that don't say (`x-stainless-timeout`).
        value timeout: Duration = "10m";
        /// Clients of which something else is known, by any name.
        named clients: WaitingClient;
    }

    /// How one kind of client is held.
    WaitingClient {
        /// What its `user-agent` begins with, like `claude-cli/`, in any case. Of several that fit the
        /// longest counts.
        required agent: String = "nightly-job/";
        /// How long it waits for an answer, whatever it says itself.
        optional timeout: Duration = "30m";
        /// Whether its streams may be opened before there is an answer.
        value opens: bool = true;
    }

    /// Who calls without a key act as.
    Identity {
        /// The organisation that pays.
        value organisation: String = "local";
        /// The user.
        value user: String = "local";
    }

    /// A provider.
    Provider {
        /// What it speaks.
        required family: Family = "openai";
        /// Its address, without the path of a call: `https://api.example.com`.
        required base_url: String = "https://api.example.com";
        /// The operator's credential. Without one the caller's own is forwarded. Prefer
        /// `api_key_env` or `api_key_file`: a file with a key in it is easily shared.
        optional api_key: Secret<String> = "sk-…";
        /// The environment variable that holds the operator's credential.
        optional api_key_env: String = "EXAMPLE_API_KEY";
        /// The file that holds the operator's credential, alone on its first line.
        optional api_key_file: PathBuf = "/run/secrets/example";
        /// Whether calls without a Tidegate key may spend the operator's credential.
        value local_may_spend: bool = false;
        /// Whether its limits hold for all models together. Else what it says of one family of models
        /// (OpenAI: of one model) says nothing of the others.
        value shared_limits: bool = false;
        /// Declares that its calls cost nothing. Where it has no credential either, calls are sent
        /// without one.
        value free: bool = false;
        /// Whether HTTP/2 may be used.
        value http2: bool = true;
        /// Certificates (PEM) to trust for it, instead of the machine's.
        optional ca_file: PathBuf = "/etc/ssl/example-ca.pem";
    }

    /// A platform.
    Platform {
        /// The provider that serves it.
        required provider: String = "anthropic";
        /// Paid by subscription: calls cost 0 $, their list price is kept as `notional`, and
        /// nothing of them is ever altered. Takes calls that carry a login instead of a key.
        value subscription: bool = false;
        /// Models that come here by themselves: ids, or beginnings that end in `*`. None: all that
        /// no other platform names.
        value models: Vec<String> = [];
        /// Model asked for → model sent.
        value model_map: Pairs = {};
        /// Where to go, in this order, when it is exhausted or down. A call never falls back from
        /// a subscription to a paid platform unless this says so.
        optional fallback: Vec<String> = ["other"];
        /// Its token buckets by name; a call passes only if all of them let it pass.
        named buckets: Bucket;
    }

    /// A token bucket.
    Bucket {
        /// What it counts.
        required resource: Countable = "requests";
        /// The most that can be spent at once; dollars like "12.50".
        required capacity: Amount = 5_000;
        /// How much comes back per period. Left out for concurrency, where ended calls give back.
        optional refill: Amount = 100;
        /// The period of the refill.
        value per: Per = "minute";
        /// The stock that calls of low and medium priority leave alone.
        value threshold: Amount = 0;
        /// What it does to calls that don't fit. A bucket that is named is enforced.
        optional mode: Mode = "watch";
        /// Whether it copies a limit of the provider, which no priority may overdraw.
        value of_provider: bool = false;
    }

    /// Where calls go when their platform is exhausted or down and names no fallback itself.
    Fallback {
        /// Platforms, in order.
        value platforms: Vec<String> = [];
    }

    /// Limits on money. Checked in this order: organisation, user per month, user per day,
    /// service, task. The narrowest limit applies: of a task, a user, an organisation, of all.
    Budgets {
        /// The time zone whose months and days count. By default the machine's.
        optional zone: Zone = "Europe/Berlin";
        /// What an organisation may spend in a month; 10,000 $ where nobody says otherwise.
        section organisation: Limit;
        /// What a user may spend in a month; 500 $ where nobody says otherwise.
        section user_month: Limit;
        /// What a user may spend in a day; 20 $ where nobody says otherwise.
        section user_day: Limit;
        /// What an organisation may spend on language models in a month; 7,000 $ where
        /// nobody says otherwise.
        section llm: Limit;
        /// What an organisation may spend on tools in a month; 2,000 $ where nobody says
        /// otherwise.
        section tools: Limit;
        /// What an organisation may spend on infrastructure in a month; 1,000 $ where nobody
        /// says otherwise.
        section infrastructure: Limit;
        /// What a task may spend, with all its subtasks; 5 $, and above 1 $ somebody is asked, where
        /// nobody says otherwise. A task whose `hard` alone is named asks nobody.
        section task: Limit;
        /// Limits of single organisations.
        named organisations: OrganisationBudgets;
    }

    /// A limit on money. One that is named is enforced, unless `mode = "watch"`.
    Limit {
        /// Passing it by what is spent and expected needs somebody's yes (`tidegate approve`);
        /// where it only watches, it is a warning.
        optional soft: Cap = "80";
        /// Never passed by what is spent and held.
        optional hard: Cap = "100";
        /// Whether the hard limit may be passed, with a warning.
        optional overage: bool = true;
        /// What it does.
        optional mode: Mode = "enforce";
    }

    /// Limits of one organisation, for itself and for its users and tasks.
    OrganisationBudgets {
        /// The time zone whose months and days count.
        optional zone: Zone = "America/New_York";
        /// What it may spend in a month.
        section organisation: Limit;
        /// What each of its users may spend in a month.
        section user_month: Limit;
        /// What each of its users may spend in a day.
        section user_day: Limit;
        /// What it may spend on language models in a month.
        section llm: Limit;
        /// What it may spend on tools in a month.
        section tools: Limit;
        /// What it may spend on infrastructure in a month.
        section infrastructure: Limit;
        /// What each of its tasks may spend.
        section task: Limit;
        /// Limits of single users.
        named users: UserBudgets;
        /// Limits of single root tasks.
        named tasks: Limit;
    }

    /// Limits of one user.
    UserBudgets {
        /// What the user may spend in a month.
        section user_month: Limit;
        /// What the user may spend in a day.
        section user_day: Limit;
        /// What each of the user's tasks may spend.
        section task: Limit;
    }

    /// Limits on how often, how many at once, how much in all and how large. A call keeps within those
    /// of its organisation, of its user and of its task's type, all at once. Only root tasks count
    /// as tasks, with all that their subtasks do.
    Quotas {
        /// How long a task keeps its slot after its last call has ended.
        value task_idle: Duration = "10s";
        /// Of all that an organisation does.
        section organisation: Quota;
        /// Of all that a user does.
        section user: Quota;
        /// Of all that an organisation does in tasks of one type.
        section task_type: Quota;
        /// Quotas of single organisations, and of their users.
        named organisations: OrganisationQuotas;
        /// Quotas of single task types.
        named task_types: Quota;
    }

    /// Quotas of one organisation, user or task type. A figure that is named is enforced, unless
    /// `mode = "watch"`. Organisations and task types have those that are named, and no others.
    Quota {
        /// Root tasks begun in a minute; a user has 10 where nobody says otherwise.
        optional tasks_per_minute: Quantity = 10;
        /// Calls to language models in a minute; a user has 100 where nobody says otherwise.
        optional calls_per_minute: Quantity = 100;
        /// Tool invocations in a minute; a user has 50 where nobody says otherwise.
        optional tools_per_minute: Quantity = 50;
        /// Root tasks at the same time; a user has 5 where nobody says otherwise.
        optional tasks_at_once: Quantity = 5;
        /// Calls to language models at the same time; a user has 10 where nobody says otherwise.
        optional calls_at_once: Quantity = 10;
        /// Root tasks begun in a day; a user has 1,000 where nobody says otherwise.
        optional tasks_per_day: Quantity = 1_000;
        /// Tokens of input that no cache served, and of output, in a month; a user has 10 million
        /// where nobody says otherwise.
        optional tokens_per_month: Quantity = 10_000_000;
        /// Seconds that a task may spend in calls and tools; a user's has 600 where nobody says
        /// otherwise.
        optional task_seconds: Quantity = 600;
        /// Tokens of input that a call may have; a user's has 200,000 where nobody says otherwise,
        /// or the model's own window where that is larger.
        optional context_tokens: Quantity = 200_000;
        /// Bytes of text that an answer may have; a user's has 100,000 where nobody says
        /// otherwise.
        optional output_bytes: Quantity = 100_000;
        /// What becomes of a call over one of them that a wait helps: it waits for its turn, or it
        /// is refused with the time after which it would fit. `queue` where nobody says otherwise.
        optional on_excess: OnExcess = "queue";
        /// What its figures do.
        optional mode: Mode = "enforce";
    }

    /// Quotas of one organisation and its users.
    OrganisationQuotas {
        /// Of all that it does.
        section organisation: Quota;
        /// Of each of its users.
        section user: Quota;
        /// Of single users.
        named users: Quota;
    }

    /// How much is held for a call before it is sent.
    Reserve {
        /// The output cap that is sent may hold one part in this many of what is left on the
        /// tightest hard limit; a higher one is lowered, and said so.
        value share_of_left: u64 = 4;
        /// The cap is not lowered below this many tokens while that fits.
        value output_floor: u64 = 32_000;
        /// Where that does not fit, the cap goes down to this and no further; nor below what
        /// all but one in a thousand such answers had, which would be cut.
        value output_floor_last: u64 = 4_096;
        /// Tokens that a cap leaves above the budget for thinking.
        value output_over_thinking: u64 = 1_024;
        /// Tokens that a picture, document or other content by reference is taken for.
        value reference_tokens: u64 = 100_000;
        /// Tokens of results that one use of a server tool is taken to bring in.
        value server_tool_tokens: u64 = 2_000;
    }

    /// What a call weighs in units of a bucket, where its task's complexity is not known (simple
    /// weighs 1, moderate 2, complex 5, expert 10).
    Weights {
        /// What it weighs where no rule applies.
        value otherwise: u64 = 2;
        /// Asked in this order; the first that applies decides. A file's rules replace these.
        list rules: WeightRule = [
            { classes = ["auxiliary"], units = 1 },
            { models = ["haiku"], units = 1 },
            { fast = true, units = 10 },
            { classes = ["subagent"], units = 2 },
            { models = ["sonnet"], units = 2 },
            { models = ["opus"], units = 5 },
            { models = ["fable", "mythos"], units = 10 },
        ];
    }

    /// A rule of the table of weights. It applies where all it names is true.
    WeightRule {
        /// The request is of one of these classes.
        value classes: Vec<RequestClass> = [];
        /// The model's id contains one of these.
        value models: Vec<String> = [];
        /// The request asks for fast mode.
        value fast: bool = false;
        /// What the call weighs.
        required units: u64 = 1;
    }

    /// Prices.
    Prices {
        /// A file of prices that replace or add to the built-in table (`tidegate prices` shows
        /// both). Read again with the configuration.
        optional file: PathBuf = "/etc/tidegate/prices.toml";
    }

    /// What is told by itself, and to whom: requests for approval, budgets near their limits, work
    /// that cost more than expected.
    Notify {
        /// Where links in notices lead: this gateway, as those who get them reach it. By default
        /// http:// and where it listens, which is this machine alone.
        optional address: String = "https://tidegate.example.com";
        /// Webhooks by name. Whoever reads one may decide on the requests for approval that it is
        /// told of; a decision is recorded by the webhook's name.
        named webhooks: Webhook;
    }

    /// A webhook: it is posted to, again for up to a day until it answers 2xx. Any other 4xx than
    /// 408 and 429 ends that.
    Webhook {
        /// Its address. Whoever knows it may post there: prefer `url_env` or `url_file`.
        optional url: Secret<String> = "https://hooks.example.com/services/…";
        /// The environment variable that holds its address.
        optional url_env: String = "EXAMPLE_WEBHOOK";
        /// The file that holds its address, alone on its first line.
        optional url_file: PathBuf = "/run/secrets/example-webhook";
        /// What its requests are signed with, in the header `x-tidegate-signature`:
        /// `t=SECONDS,v1=HEX`, HMAC-SHA256 over the seconds, a dot and the body. Prefer
        /// `secret_env` or `secret_file`.
        optional secret: Secret<String> = "whsec_…";
        /// The environment variable that holds the secret.
        optional secret_env: String = "EXAMPLE_WEBHOOK_SECRET";
        /// The file that holds the secret, alone on its first line.
        optional secret_file: PathBuf = "/run/secrets/example-webhook-secret";
        /// What its requests look like: an object for programs, or a message as Slack's incoming
        /// webhooks and compatible ones take it.
        value format: NoticeForm = "json";
        /// What it is told of: `approval_asked`, `approval_decided`, `approval_expired`,
        /// `limit_reached`, `limit_foreseen`, `overspent`; all where none is named.
        value events: Vec<Topic> = [];
    }

    /// What Claude Code is given when it signs in (`/login`): settings that it fetches at each start
    /// and once an hour, and puts above its user's own.
    ClaudeCode {
        /// Whether it is given any.
        value managed: bool = true;
        /// Environment variables. These are given unless they are named here; an empty text leaves
        /// one out: ANTHROPIC_MODEL = "claude-opus-5-5", ANTHROPIC_DEFAULT_OPUS_MODEL =
        /// "claude-opus-5-5", ANTHROPIC_DEFAULT_SONNET_MODEL = "claude-sonnet-5-5",
        /// ANTHROPIC_DEFAULT_HAIKU_MODEL = "claude-haiku-5-5". Without them it asks for older models
        /// than with a key of its own. Everybody who signs in reads all of it.
        value env: Pairs = {};
        /// Whether it is told to send its events, traces and metrics, which then come here. Its user is
        /// asked to approve that.
        value telemetry: bool = false;
        /// The command of its status line; none where nobody says otherwise, since it is run on the
        /// user's machine. With Tidegate installed there: `tidegate statusline`.
        optional status_line: String = "tidegate statusline";
        /// A file with further settings, a JSON object as in Claude Code's own files. What is said
        /// here goes before what it says.
        optional settings_file: PathBuf = "/etc/tidegate/claude-code.json";
    }

    /// What is kept of what happened, in the folder `telemetry` of the data.
    Telemetry {
        /// Whether it is kept at all. Without it there is nothing to look back at: no calls, no logs,
        /// no traces. Budgets, quotas and tasks do not depend on it.
        value enabled: bool = true;
        /// How long logs are kept.
        value logs: Duration = "30d";
        /// How long spans of traces are kept.
        value spans: Duration = "30d";
        /// How long records of calls are kept.
        value calls: Duration = "365d";
        /// How long it is kept what became of tasks.
        value tasks: Duration = "365d";
        /// How long points of metrics are kept that others send.
        value metrics: Duration = "7d";
        /// The most that all of it takes of the disk. Where it would be more, the oldest logs and
        /// spans go first, then the oldest of the rest.
        value disk: Bytes = "20 GiB";
        /// The most of it that the records of the last minute take. Where they would be more, they
        /// are refused for a while.
        value recent: Bytes = "512 MiB";
    }

    /// Where other programs send their telemetry (OpenTelemetry's protocol, OTLP), beside `/v1/logs`,
    /// `/v1/traces` and `/v1/metrics` at the gateway's own address. Senders show a key as callers do.
    /// An address that is taken by another program is reported, and all else goes on. Where `listen` has the port 0 only those are listened on that are named here.
    Otlp {
        /// Where it is taken over gRPC. Any address but a loopback one needs keys.
        value grpc: Listening = "127.0.0.1:4317";
        /// Where it is taken over HTTP. Any address but a loopback one needs keys.
        value http: Listening = "127.0.0.1:4318";
        /// Whether prompts and answers are kept that senders put into their telemetry. Without it there
        /// is `[withheld]` in their place.
        value content: bool = false;
    }

    /// What is removed from logs, records and errors, besides the known forms of keys and tokens.
    Redact {
        /// Regular expressions.
        value patterns: Vec<String> = [];
    }

    /// The program's own log.
    Log {
        /// The least level that is written.
        value level: Level = "info";
        /// The form of its lines.
        value format: LogForm = "auto";
    }
}
