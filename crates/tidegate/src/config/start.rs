//! Keys that are read at the start alone: a reload leaves them as they are.

use std::{net::SocketAddr, sync::Arc};

use super::{
    Effective, Loaded, Origin, Otlp, Problem, Problems, Provider, Server, Settings,
    check::providers, tree,
};

/// Those keys, and tables that hold nothing else.
const AT_START: [&str; 7] = [
    "listen",
    "data",
    "server.body_memory",
    "server.body_max",
    "telemetry",
    "otlp.grpc",
    "otlp.http",
];

/// Whether a key is read at the start alone.
pub(crate) fn is_of_start(key: &str) -> bool {
    AT_START.iter().any(|it| {
        let rest = key.strip_prefix(it);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

impl Loaded {
    /// As a program takes it over that runs with `running` since its start, and the keys that it
    /// takes over at its next start only.
    pub(crate) fn after_start(self, running: &Self) -> (Self, Vec<String>) {
        let earlier = |it: &Effective| {
            let same = |before: &&Effective| before.key == it.key && is_of_start(&it.key);
            running.effective.iter().find(same)
        };
        let differs = |it: &&Effective| earlier(it).is_some_and(|was| was.value != it.value);
        let later = self.effective.iter().filter(differs);
        let later = later.map(|it| it.key.clone()).collect();
        let kept = self.effective.iter().map(|it| earlier(it).unwrap_or(it));
        let loaded = Self {
            effective: kept.cloned().collect(),
            settings: self.settings.after_start(&running.settings),
            file: self.file,
        };
        (loaded, later)
    }

    /// Whether a gateway can serve with it that listens on `listen`, whatever is written for its next
    /// start: no provider is the gateway itself.
    pub(crate) fn fits(&self, listen: SocketAddr) -> Result<(), Problems> {
        let problem = |(name, it): (&Arc<str>, &Provider)| {
            let key = format!("providers.{}.base_url", tree::key(name));
            let written = self.effective.iter().find(|it| it.key == key);
            Some(Problem {
                message: providers::leads_back(&it.base_url, listen)?,
                origin: written.map_or(Origin::BuiltIn, |it| it.origin.clone()),
                key,
            })
        };
        let providers = self.settings.providers.iter();
        let problems: Vec<Problem> = providers.filter_map(problem).collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(Problems(problems))
    }
}

impl Settings {
    fn after_start(self, running: &Self) -> Self {
        Self {
            listen: running.listen,
            data: running.data.clone(),
            data_is_named: running.data_is_named,
            server: Server {
                drain: self.server.drain,
                ..running.server
            },
            telemetry: running.telemetry,
            otlp: Otlp {
                content: self.otlp.content,
                ..running.otlp
            },
            ..self
        }
    }
}

/// The keys whose values differ, joined by commas.
pub(crate) fn changed(before: &Loaded, after: &Loaded) -> String {
    let unlike = |it: &Effective, others: &[Effective]| {
        let same = others.iter().find(|other| other.key == it.key);
        same.is_none_or(|other| other.value != it.value)
    };
    let is_gone = |it: &&Effective| after.effective.iter().all(|other| other.key != it.key);
    let new = after.effective.iter();
    let new = new.filter(|it| unlike(it, &before.effective));
    let gone = before.effective.iter().filter(is_gone);
    let keys: Vec<&str> = new.chain(gone).map(|it| it.key.as_str()).collect();
    keys.join(", ")
}
