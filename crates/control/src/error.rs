//! Why a request was refused, and how that is told.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use tidegate_engine::{
    Engine,
    admissions::{AdmissionError, CorrectionError},
    approvals::ApprovalError,
    identity::Unidentified,
    queues::QueueError,
    tasks::TaskError,
};
use tidegate_logins::ConfirmError;
use tidegate_observe::telemetry::FilterError;
use tidegate_types::{Disposition, Role};

use crate::{
    limits::BODY_BYTES_MAX,
    limits::{EVENT_STREAMS_MAX, EXPORTS_MAX},
    wire::{Failure, FailureDetail},
};

/// Why a question after what happened has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// Its filter is none.
    #[error("`filter`: {0}")]
    Filter(#[from] FilterError),
    /// It asks for more than is answered.
    #[error("{0}")]
    TooMuch(String),
    /// Nothing is kept.
    #[error("{0}")]
    NotKept(String),
    /// Too many exports at once.
    #[error("{EXPORTS_MAX} exports are being made")]
    TooManyExports,
}

/// A request that is not done. Its text is what the sender reads.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody is known behind it.
    #[error(transparent)]
    Unidentified(#[from] Unidentified),
    /// It shows a credential that is neither the token nor a key.
    #[error(
        "the credential is neither a Tidegate key nor the token of this gateway's data directory"
    )]
    OtherCredential,
    /// It comes without a key and wants to change something.
    #[error(
        "without a key one may look and ask for admissions; changes need the token that `tidegate serve` writes to the file `token` in its data directory: send it as bearer"
    )]
    TokenNeeded,
    /// The key's role may not.
    #[error("this needs the role {needs}, and the key has the role {role}")]
    RoleNeeded {
        /// What it has.
        role: Role,
        /// The least that would do.
        needs: Role,
    },
    /// The key's role asks for nothing.
    #[error("a key with the role {0} may look but not ask for admissions")]
    MayNotAsk(Role),
    /// A sign-in wants to confirm another.
    #[error("a sign-in can't confirm or deny another")]
    KeyOfOnesOwn,
    /// A code, or who typed it.
    #[error(transparent)]
    Login(#[from] ConfirmError),
    /// The operator gives no settings.
    #[error("programs that are signed in are given no settings (`claude_code.managed = false`)")]
    NoManagedSettings,
    /// Another organisation's, by name.
    #[error("`{asked}` is not the organisation of this key")]
    OtherOrganisation {
        /// As it was named.
        asked: String,
    },
    /// Another user's, by name.
    #[error("`{asked}` is not the user of this key, which sees only its own")]
    OtherUser {
        /// As it was named.
        asked: String,
    },
    /// It concerns every organisation.
    #[error(
        "this concerns the whole gateway: it is for keys of its own organisation and the holder of its token"
    )]
    WholeGateway,
    /// Too many follow events.
    #[error("{EVENT_STREAMS_MAX} streams of events are open")]
    TooManyStreams,
    /// There is no such route.
    #[error("there is nothing at `{0}`")]
    NoRoute(String),
    /// The route does not take the method.
    #[error("{method} is not taken here, only {allowed}")]
    Method {
        /// As it came.
        method: String,
        /// What is.
        allowed: String,
    },
    /// Nothing has the id, or nothing that may be seen.
    #[error("there is no {what} `{id}`")]
    NoSuch {
        /// What it would be.
        what: &'static str,
        /// As it was named.
        id: String,
    },
    /// A question after what happened has no answer.
    #[error(transparent)]
    Telemetry(#[from] NoAnswer),
    /// The body is no JSON by its own word.
    #[error("the body must be JSON: send it with `content-type: application/json`")]
    NotJson,
    /// The body is too long.
    #[error("the body is longer than {BODY_BYTES_MAX} bytes, which no request of this API is")]
    BodyTooLong,
    /// The body broke off.
    #[error("the body could not be read to its end")]
    BodyLost,
    /// The body does not fit what is wanted.
    #[error("{0}")]
    Body(String),
    /// The query does not fit what is wanted.
    #[error("{0}")]
    Query(String),
    /// A value is absurd.
    #[error("`{key}`: `{value}` is not {wanted}")]
    Value {
        /// Which.
        key: &'static str,
        /// As it was given, shortened.
        value: String,
        /// What it should be.
        wanted: String,
    },
    /// Something is missing, or things do not go together.
    #[error("{0}")]
    Incomplete(String),
    /// An admission or a reservation.
    #[error("{}", without_files(.0))]
    Admission(#[from] AdmissionError),
    /// A cost that is not corrected.
    #[error(transparent)]
    Correction(CorrectionError),
    /// A request for approval.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// A call that waits, or does not.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A task.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A crash left it open: its holder cannot say what it was.
    #[error(
        "`{0}` was left open by a crash, and whether it was answered is not known: an operator settles or releases it"
    )]
    Unknown(String),
    /// The configuration can't be put in force.
    #[error("the configuration is not put in force: {0}")]
    ReloadRefused(String),
    /// The limit can't be put in force.
    #[error("the limit is not set: {0}")]
    LimitRefused(String),
    /// There is no such channel for notices.
    #[error("{0}")]
    NoChannel(String),
    /// A channel for notices did not answer.
    #[error("nothing came back: {0}")]
    Unanswered(String),
    /// A verification is running.
    #[error("the ledger is being verified already: try again when that has ended")]
    Verifying,
    /// The store failed. What it says is in the log, as it may name files.
    #[error("the store can't be read or written now: see the log and `tidegate status`")]
    Store,
    /// A defect of ours.
    #[error("something went wrong that should not have: see the log")]
    Broken,
}

/// What the store says of its files is in the log and in the status, for those whose they are.
fn without_files(refused: &AdmissionError) -> String {
    match refused {
        AdmissionError::Unwritable(_) => {
            "the ledger can't be written, and nothing is admitted that it can't hold: see `tidegate status`"
                .to_owned()
        }
        AdmissionError::UnknownPlatform { .. }
        | AdmissionError::OtherUser { .. }
        | AdmissionError::NotOpen(_)
        | AdmissionError::Short(_)
        | AdmissionError::Task(_)
        | AdmissionError::TooMany
        | AdmissionError::TooManyWait => refused.to_string(),
    }
}

/// How a refusal is told.
struct Telling {
    status: StatusCode,
    code: &'static str,
    remedy: Option<&'static str>,
}

const fn told(status: StatusCode, code: &'static str) -> Telling {
    Telling {
        status,
        code,
        remedy: None,
    }
}

const fn with(status: StatusCode, code: &'static str, remedy: &'static str) -> Telling {
    Telling {
        status,
        code,
        remedy: Some(remedy),
    }
}

/// How long a client waits where we can't say when it gets better.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// What whoever is only signed in does to confirm another.
const USE_A_KEY: &str = "use a key of your own, or the `tidegate` command on the gateway's machine";

/// What becomes of a reservation that ended before its holder said anything.
const CORRECT_ESTIMATES: &str = "where it was settled at an estimate, an operator corrects it with `tidegate ledger correct RESERVATION COST`";

impl Error {
    /// What the sender should do.
    pub(crate) const fn disposition(&self) -> Disposition {
        match self {
            Self::Approval(ApprovalError::Store)
            | Self::Task(TaskError::TooMany)
            | Self::Admission(
                AdmissionError::Task(TaskError::TooMany)
                | AdmissionError::TooMany
                | AdmissionError::TooManyWait
                | AdmissionError::Unwritable(_),
            )
            | Self::Correction(CorrectionError::Store(_))
            | Self::TooManyStreams
            | Self::Telemetry(NoAnswer::TooManyExports | NoAnswer::NotKept(_))
            | Self::Verifying
            | Self::Store => Disposition::RetryAfter(RETRY),
            Self::Login(it) => it.disposition(),
            Self::Broken => Disposition::Escalate,
            Self::Unidentified(_)
            | Self::OtherCredential
            | Self::TokenNeeded
            | Self::RoleNeeded { .. }
            | Self::MayNotAsk(_)
            | Self::KeyOfOnesOwn
            | Self::NoManagedSettings
            | Self::OtherOrganisation { .. }
            | Self::OtherUser { .. }
            | Self::WholeGateway
            | Self::NoRoute(_)
            | Self::Method { .. }
            | Self::NoSuch { .. }
            | Self::Telemetry(NoAnswer::Filter(_) | NoAnswer::TooMuch(_))
            | Self::NotJson
            | Self::BodyTooLong
            | Self::BodyLost
            | Self::Body(_)
            | Self::Query(_)
            | Self::Value { .. }
            | Self::Incomplete(_)
            | Self::NoChannel(_)
            | Self::Unanswered(_)
            | Self::Approval(
                ApprovalError::NotOpen(_)
                | ApprovalError::BadLink
                | ApprovalError::OwnRequest(_)
                | ApprovalError::RoleNeeded(_)
                | ApprovalError::AtHardLimit { .. },
            )
            | Self::Queue(_)
            | Self::Correction(
                CorrectionError::Unknown(_)
                | CorrectionError::Open(_)
                | CorrectionError::Released(_)
                | CorrectionError::Exact { .. },
            )
            | Self::Task(_)
            | Self::Unknown(_)
            | Self::ReloadRefused(_)
            | Self::LimitRefused(_)
            | Self::Admission(
                AdmissionError::UnknownPlatform { .. }
                | AdmissionError::OtherUser { .. }
                | AdmissionError::NotOpen(_)
                | AdmissionError::Task(_)
                | AdmissionError::Short(_),
            ) => Disposition::FixRequest,
        }
    }

    /// The status it is told with.
    pub(crate) const fn status(&self) -> StatusCode {
        self.telling().status
    }

    const fn telling(&self) -> Telling {
        use StatusCode as S;
        match self {
            Self::Unidentified(it) => unidentified(*it),
            Self::KeyOfOnesOwn => with(S::FORBIDDEN, "key_needed", USE_A_KEY),
            Self::Login(it) => unconfirmed(*it),
            Self::OtherCredential => with(
                S::UNAUTHORIZED,
                "unknown_key",
                "send no credential to act as the local user, or the right one",
            ),
            Self::TokenNeeded => with(
                S::UNAUTHORIZED,
                "token_needed",
                "use the `tidegate` command on this machine, which reads the file, or an operator's key",
            ),
            Self::RoleNeeded { .. } | Self::MayNotAsk(_) => with(
                S::FORBIDDEN,
                "role_needed",
                "ask an admin for a key with that right (`tidegate keys add`)",
            ),
            Self::OtherOrganisation { .. } | Self::OtherUser { .. } => with(
                S::FORBIDDEN,
                "not_yours",
                "leave it out, or use a key of theirs",
            ),
            Self::TooManyStreams => with(
                S::TOO_MANY_REQUESTS,
                "too_many_streams",
                "ask with `GET /api/v1/admissions/{id}?wait=55` instead",
            ),
            Self::WholeGateway => told(S::FORBIDDEN, "whole_gateway"),
            Self::NoRoute(_) => with(
                S::NOT_FOUND,
                "not_found",
                "`GET /api/v1/openapi.json` lists what there is",
            ),
            Self::Method { .. } => told(S::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::NoSuch { .. } | Self::NoManagedSettings => told(S::NOT_FOUND, "not_found"),
            Self::Telemetry(it) => no_answer(it),
            Self::NotJson => told(S::UNSUPPORTED_MEDIA_TYPE, "not_json"),
            Self::BodyTooLong => told(S::PAYLOAD_TOO_LARGE, "body_too_long"),
            Self::BodyLost => told(S::BAD_REQUEST, "body_lost"),
            Self::Body(_) => told(S::BAD_REQUEST, "bad_body"),
            Self::Query(_) => told(S::BAD_REQUEST, "bad_query"),
            Self::Value { .. } => told(S::BAD_REQUEST, "bad_value"),
            Self::Incomplete(_) => told(S::BAD_REQUEST, "incomplete"),
            Self::Admission(it) => not_considered(it),
            Self::Correction(it) => uncorrected(it),
            Self::Approval(it) => undecided(it),
            Self::Task(it) => not_done(it),
            Self::Queue(QueueError::NotWaiting(_)) => told(S::NOT_FOUND, "not_waiting"),
            Self::Queue(QueueError::NotAllowed(_)) => told(S::FORBIDDEN, "role_needed"),
            Self::Unknown(_) => told(S::FORBIDDEN, "unknown_reservation"),
            Self::ReloadRefused(_) => with(
                S::UNPROCESSABLE_ENTITY,
                "reload_refused",
                "`tidegate config check` points at the line; what was in force still is",
            ),
            Self::LimitRefused(_) => told(S::UNPROCESSABLE_ENTITY, "limit_refused"),
            Self::NoChannel(_) => told(S::NOT_FOUND, "no_channel"),
            Self::Unanswered(_) => told(S::BAD_GATEWAY, "unanswered"),
            Self::Verifying => told(S::CONFLICT, "verifying"),
            Self::Store => told(S::SERVICE_UNAVAILABLE, "store_failed"),
            Self::Broken => told(S::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

const fn no_answer(error: &NoAnswer) -> Telling {
    use StatusCode as S;
    match error {
        NoAnswer::Filter(_) => told(S::BAD_REQUEST, "bad_filter"),
        NoAnswer::TooMuch(_) => told(S::UNPROCESSABLE_ENTITY, "too_much"),
        NoAnswer::NotKept(_) => with(
            S::SERVICE_UNAVAILABLE,
            "no_telemetry",
            "`tidegate doctor` says what stands in the way",
        ),
        NoAnswer::TooManyExports => told(S::TOO_MANY_REQUESTS, "too_many_exports"),
    }
}

const fn unidentified(error: Unidentified) -> Telling {
    use StatusCode as S;
    match error {
        Unidentified::Foreign => told(S::FORBIDDEN, "foreign"),
        Unidentified::MayNotCall => told(S::FORBIDDEN, "role_needed"),
        Unidentified::KeyNeeded => told(S::UNAUTHORIZED, "key_needed"),
        Unidentified::UnknownKey | Unidentified::LocalToken => told(S::UNAUTHORIZED, "unknown_key"),
        Unidentified::SignedOut => told(S::UNAUTHORIZED, "signed_out"),
    }
}

const fn unconfirmed(error: ConfirmError) -> Telling {
    match error {
        ConfirmError::UnknownCode => told(StatusCode::NOT_FOUND, "unknown_code"),
        ConfirmError::TooManyGuesses { .. } => {
            told(StatusCode::TOO_MANY_REQUESTS, "too_many_guesses")
        }
    }
}

const fn not_considered(error: &AdmissionError) -> Telling {
    use StatusCode as S;
    match error {
        AdmissionError::UnknownPlatform { .. } => told(S::BAD_REQUEST, "unknown_platform"),
        AdmissionError::OtherUser { .. } => told(S::FORBIDDEN, "not_yours"),
        AdmissionError::NotOpen(_) => with(S::NOT_FOUND, "not_open", CORRECT_ESTIMATES),
        AdmissionError::Short(_) => told(S::CONFLICT, "short"),
        AdmissionError::Task(it) => not_done(it),
        AdmissionError::TooMany => told(S::TOO_MANY_REQUESTS, "too_many_open"),
        AdmissionError::TooManyWait => told(S::TOO_MANY_REQUESTS, "too_many_wait"),
        AdmissionError::Unwritable(_) => told(S::SERVICE_UNAVAILABLE, "ledger_unwritable"),
    }
}

const fn uncorrected(error: &CorrectionError) -> Telling {
    use StatusCode as S;
    match error {
        CorrectionError::Unknown(_) => told(S::NOT_FOUND, "not_found"),
        CorrectionError::Open(_) => told(S::CONFLICT, "open"),
        CorrectionError::Released(_) => told(S::CONFLICT, "released"),
        CorrectionError::Exact { .. } => told(S::CONFLICT, "not_estimated"),
        CorrectionError::Store(_) => told(S::SERVICE_UNAVAILABLE, "store_failed"),
    }
}

const fn undecided(error: &ApprovalError) -> Telling {
    match error {
        ApprovalError::NotOpen(_) => told(StatusCode::NOT_FOUND, "not_open"),
        ApprovalError::BadLink => told(StatusCode::FORBIDDEN, "bad_link"),
        ApprovalError::OwnRequest(_) => told(StatusCode::FORBIDDEN, "own_request"),
        ApprovalError::RoleNeeded(_) => told(StatusCode::FORBIDDEN, "role_needed"),
        ApprovalError::AtHardLimit { .. } => told(StatusCode::CONFLICT, "at_hard_limit"),
        ApprovalError::Store => told(StatusCode::SERVICE_UNAVAILABLE, "store_failed"),
    }
}

const fn not_done(error: &TaskError) -> Telling {
    match error {
        TaskError::Unknown(_) => told(StatusCode::NOT_FOUND, "not_found"),
        TaskError::UnknownParent { .. } => told(StatusCode::BAD_REQUEST, "unknown_parent"),
        TaskError::Several { .. } => told(StatusCode::CONFLICT, "several"),
        TaskError::Exists { .. } => told(StatusCode::CONFLICT, "exists"),
        TaskError::Cycle { .. } => told(StatusCode::BAD_REQUEST, "cycle"),
        TaskError::OtherParent { .. } => told(StatusCode::CONFLICT, "other_parent"),
        TaskError::TooDeep { .. } => told(StatusCode::BAD_REQUEST, "too_deep"),
        TaskError::TooMany => told(StatusCode::TOO_MANY_REQUESTS, "too_many_tasks"),
        TaskError::Cancelled { .. } => told(StatusCode::CONFLICT, "cancelled"),
        TaskError::Ended { .. } => told(StatusCode::CONFLICT, "ended"),
        TaskError::Backwards { .. } => told(StatusCode::BAD_REQUEST, "backwards"),
        TaskError::Progress(_) => told(StatusCode::BAD_REQUEST, "bad_value"),
        TaskError::OtherUser { .. } => told(StatusCode::FORBIDDEN, "not_yours"),
    }
}

/// The body is written by [`worded`], which the gate calls for every answer.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let Telling {
            status,
            code,
            remedy,
        } = self.telling();
        let failure = Failure {
            error: FailureDetail {
                code: code.to_owned(),
                message: self.to_string(),
                remedy: remedy.map(str::to_owned),
            },
        };
        let mut response = status.into_response();
        let headers = response.headers_mut();
        if let Disposition::RetryAfter(wait) = self.disposition() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"tidegate\""),
            );
        }
        if let Self::Method { allowed, .. } = &self
            && let Ok(allowed) = HeaderValue::from_str(allowed)
        {
            headers.insert(header::ALLOW, allowed);
        }
        response.extensions_mut().insert(failure);
        response
    }
}

/// A refusal on its way to whoever sent the request, in words without secrets of theirs. Other answers are as they were.
pub(crate) fn worded(engine: &Engine, mut response: Response) -> Response {
    let Some(Failure { mut error }) = response.extensions_mut().remove() else {
        return response;
    };
    error.message = engine.tellable(&error.message).into_owned();
    let (parts, _empty) = response.into_parts();
    let mut response = (parts.status, Json(Failure { error })).into_response();
    response.headers_mut().extend(parts.headers);
    response
}
