//! Asks the running gateway, through its control API.

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufRead as _, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tidegate_control::wire::{Failure, FailureDetail};
use tidegate_types::Secret;

use super::table::plain;
use crate::config::Settings;

/// The file in the data folder that holds the local user's token. Only its owner may read it.
pub(crate) const TOKEN_FILE: &str = "token";

/// The file in the data folder in which the running gateway says where it really listens.
pub(crate) const ADDRESS_FILE: &str = "address";

/// How long to wait for an answer. Everything asked for is in memory or one query away.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a gateway says of itself where anybody may ask: another program on its port says something
/// else.
const ALIVE: &[u8] = b"serving";

/// More than that, and less than what another program could keep us reading.
const ALIVE_BYTES_MAX: u64 = 64;

/// The largest answer that is read: a page of a thousand calls is 2 MiB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why the gateway did not answer as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody listens there.
    #[error(
        "no gateway answers at {address}: start one with `tidegate serve`, or name its folder with --data"
    )]
    NotRunning {
        /// Where one was looked for.
        address: SocketAddr,
        /// What the connection said.
        source: Box<ureq::Error>,
    },
    /// Somebody took the connection and said nothing.
    #[error(
        "the gateway at {address} does not answer within {} s: see its log, and `tidegate doctor`", PATIENCE.as_secs()
    )]
    Silent {
        /// Where.
        address: SocketAddr,
        /// What the connection said.
        source: Box<ureq::Error>,
    },
    /// The token cannot be read.
    #[error("the token in `{file}` cannot be read: run this as the user who runs the gateway")]
    Token {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A gateway answers where one is looked for, and it is not that of the folder that was named.
    #[error(
        "the gateway at {address} serves another data folder than `{}`{}: name that with --data, or start one for this folder with `tidegate serve --listen ADDRESS:PORT`",
        .data.display(),
        told_folder(.serves.as_deref())
    )]
    OtherData {
        /// Where.
        address: SocketAddr,
        /// The folder that was named.
        data: PathBuf,
        /// The folder that it serves, if it says so.
        serves: Option<String>,
    },
    /// Changes need a token that is not in our data folder.
    #[error(
        "this needs the token in the data folder of the gateway at {address}{}: name that folder with --data; if its file `token` is gone, start the gateway anew",
        told_folder(.serves.as_deref())
    )]
    NoToken {
        /// Where.
        address: SocketAddr,
        /// The folder that it serves, if it says so.
        serves: Option<String>,
    },
    /// It answered, and refused.
    #[error("{}", told(.refusal))]
    Refused {
        /// What it said, with the remedy.
        refusal: FailureDetail,
    },
    /// It answered something else than expected.
    #[error(
        "the gateway at {address} answered what this program does not understand: it is of another version, or no gateway at all"
    )]
    Strange {
        /// Where.
        address: SocketAddr,
        /// What was wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The longest line of an event that is read: a row has forty columns of 64 KiB at most, and none has
/// all of them.
const EVENT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A way to the running gateway.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    token: Option<Secret<String>>,
    agent: ureq::Agent,
}

fn told_folder(folder: Option<&str>) -> String {
    folder.map_or(String::new(), |it| format!(", `{}`", plain(it)))
}

/// A refusal for people: the reason, and on the next line what to do about it.
fn told(refusal: &FailureDetail) -> String {
    let message = plain(&refusal.message);
    match &refusal.remedy {
        Some(remedy) => format!(
            "{message}
  {}",
            plain(remedy)
        ),
        None => message,
    }
}

impl Client {
    /// The gateway of these settings: at the address it wrote down, else where it should listen;
    /// with the token from the data folder, if one runs on that folder. Where none does, whoever
    /// listens has another token, and is not told ours; where that folder was named, it is not asked
    /// at all.
    pub(crate) fn of(settings: &Settings) -> Result<Self, ClientError> {
        let written = fs::read_to_string(settings.data.join(ADDRESS_FILE));
        let is_missing = |it: &io::Error| it.kind() == io::ErrorKind::NotFound;
        let nobodys = settings.data_is_named && written.as_ref().is_err_and(is_missing);
        let address = written.ok().and_then(|it| it.trim().parse().ok());
        if let Some(address) = address {
            return Ok(Self::to(reachable(address), token(&settings.data)?));
        }
        let client = Self::to(reachable(settings.listen), None);
        if nobodys && client.is_running() {
            return Err(ClientError::OtherData {
                address: client.address,
                data: settings.data.clone(),
                serves: client.data(),
            });
        }
        Ok(client)
    }

    /// The data folder of the gateway, where it tells us.
    fn data(&self) -> Option<String> {
        let config: Vec<Value> = self.get("/api/v1/config").ok()?;
        let data = config.iter().find(|it| it["key"] == "data")?;
        let quoted = data["value"].as_str()?;
        Some(quoted.trim_matches(['"', '\'']).to_owned())
    }

    /// The gateway at this address.
    pub(crate) fn to(address: SocketAddr, token: Option<Secret<String>>) -> Self {
        Self {
            address,
            token,
            agent: agent(PATIENCE),
        }
    }

    /// The same, with less patience.
    pub(crate) fn hurried(self, patience: Duration) -> Self {
        Self {
            agent: agent(patience),
            ..self
        }
    }

    /// The same, asking somewhere else.
    pub(crate) fn at(self, address: SocketAddr) -> Self {
        Self { address, ..self }
    }

    /// Where it asks.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a gateway answers there, and not another program.
    pub(crate) fn is_running(&self) -> bool {
        let answer = self.agent.get(self.url("/healthz")).call();
        let body = answer.and_then(|mut it| {
            let body = it.body_mut().with_config().limit(ALIVE_BYTES_MAX);
            body.read_to_vec()
        });
        body.is_ok_and(|it| it.trim_ascii() == ALIVE)
    }

    /// Asks for something.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let request = self.agent.get(self.url(path));
        self.answer(self.authorised(request).call())
    }

    /// Changes something.
    pub(crate) fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.agent.put(self.url(path));
        self.send(request, body)
    }

    /// Changes a part of something.
    pub(crate) fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.agent.patch(self.url(path));
        self.send(request, body)
    }

    /// Makes something.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.agent.post(self.url(path));
        self.send(request, body)
    }

    /// Takes something away.
    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let request = self.agent.delete(self.url(path));
        self.answer(self.authorised(request).call())
    }

    /// Reads events as they come, until there are no more, or whoever takes them has had enough.
    pub(crate) fn follow(
        &self,
        path: &str,
        mut each: impl FnMut(&str, &str) -> bool,
    ) -> Result<(), ClientError> {
        let request = patient_agent().get(self.url(path));
        let answer = self.authorised(request).call();
        let mut body = BufReader::new(self.streamed(answer)?);
        let (mut event, mut text) = (String::new(), String::new());
        loop {
            text.clear();
            let read = (&mut body).take(EVENT_BYTES_MAX).read_line(&mut text);
            if read.map_err(|it| self.strange(it))? == 0 {
                return Ok(());
            }
            let told = text.trim_end();
            if let Some(name) = told.strip_prefix("event: ") {
                name.clone_into(&mut event);
            } else if let Some(data) = told.strip_prefix("data: ")
                && !each(&event, data)
            {
                return Ok(());
            }
        }
    }

    /// Writes an answer to a file, however long it is. Returns its length.
    pub(crate) fn save(&self, path: &str, to: &mut impl io::Write) -> Result<u64, ClientError> {
        let request = patient_agent().get(self.url(path));
        let answer = self.authorised(request).call();
        let mut body = self.streamed(answer)?;
        io::copy(&mut body, to).map_err(|it| self.strange(it))
    }

    /// The body of a good answer, to be read as it comes.
    fn streamed(
        &self,
        answer: Result<http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<impl Read + use<>, ClientError> {
        let answer = match answer {
            Ok(good) if good.status().is_success() => good,
            other => {
                // What is refused is not long.
                self.answer::<serde_json::Value>(other)?;
                return Err(self.strange("it refused without a reason"));
            }
        };
        Ok(answer.into_body().into_reader())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn authorised<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {}", token.expose())),
            None => request,
        }
    }

    fn send<T: DeserializeOwned>(
        &self,
        request: ureq::RequestBuilder<ureq::typestate::WithBody>,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|it| self.strange(it))?;
        let request = request.header("content-type", "application/json");
        self.answer(self.authorised(request).send(&body[..]))
    }

    fn answer<T: DeserializeOwned>(
        &self,
        answer: Result<http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, ClientError> {
        let mut answer = answer.map_err(|source| self.unanswered(source))?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let body = body.read_to_vec().map_err(|it| self.strange(it))?;
        if !status.is_success() {
            let failure = serde_json::from_slice::<Failure>(&body);
            return Err(match failure {
                // Other programs refuse in forms that look like ours.
                Ok(Failure { error: refusal }) if self.is_running() => {
                    if refusal.code == "token_needed" && self.token.is_none() {
                        return Err(ClientError::NoToken {
                            address: self.address,
                            serves: self.data(),
                        });
                    }
                    ClientError::Refused { refusal }
                }
                _ => self.strange(format!("it answered {status}")),
            });
        }
        // An empty answer (204) is the JSON value null.
        let body: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(body).map_err(|it| self.strange(it))
    }

    fn unanswered(&self, source: ureq::Error) -> ClientError {
        let address = self.address;
        let late = matches!(source, ureq::Error::Timeout(_));
        let source = Box::new(source);
        if late {
            ClientError::Silent { address, source }
        } else {
            ClientError::NotRunning { address, source }
        }
    }

    fn strange(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        ClientError::Strange {
            address: self.address,
            source: source.into(),
        }
    }
}

/// One whose answers may take as long as they like once they have begun.
fn patient_agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE));
    configured(config)
}

fn agent(patience: Duration) -> ureq::Agent {
    configured(ureq::Agent::config_builder().timeout_global(Some(patience)))
}

fn configured(config: ureq::config::ConfigBuilder<ureq::typestate::AgentScope>) -> ureq::Agent {
    config
        .http_status_as_error(false)
        // The gateway is on this machine; a proxy of the environment is for the world.
        .proxy(None)
        .max_redirects(0)
        .build()
        .new_agent()
}

/// A gateway that listens everywhere is asked at home.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let home = match address {
        SocketAddr::V4(_) => std::net::IpAddr::from([127, 0, 0, 1]),
        SocketAddr::V6(_) => std::net::IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
    };
    if address.ip().is_unspecified() {
        SocketAddr::new(home, address.port())
    } else {
        address
    }
}

/// The local user's token; absent where no gateway has run yet.
fn token(data: &Path) -> Result<Option<Secret<String>>, ClientError> {
    let file = data.join(TOKEN_FILE);
    match fs::read_to_string(&file) {
        Ok(text) => Ok(Some(Secret::new(text.trim().to_owned()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ClientError::Token {
            file: file.display().to_string(),
            source,
        }),
    }
}

/// A path with those of the parameters that are given.
pub(super) fn query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut out = path.to_owned();
    for (name, value) in parameters {
        if let Some(value) = value {
            out.push(if out.contains('?') { '&' } else { '?' });
            out.push_str(name);
            out.push('=');
            out.push_str(&escaped(value));
        }
    }
    out
}

/// A value in a query: everything but letters, digits and a few marks is written as `%XX`.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests;
