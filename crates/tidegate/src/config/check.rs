//! From what was read to what the program uses: everything that one value alone cannot say.

mod budgets;
mod claude_code;
mod notify;
mod platforms;
pub(super) mod providers;
mod quotas;
mod secrets;
mod telemetry;
mod waiting;

use std::path::PathBuf;

use tidegate_engine::settings::{Local, ReserveRules, WeightRule, Weights};
use tidegate_observe::redact::Redactor;
use tidegate_providers::prices::PriceBook;
use tidegate_types::with_causes;

use super::{
    Sources,
    schema::{Effective, Reader},
    sections::{self, Root},
    settings::{Log, Otlp, Server, Settings},
    tree,
    value::Listening,
};

/// The longest name of anything: it is repeated in headers, records and metric labels.
const NAME_BYTES_MAX: usize = 64;

/// Makes settings of what was read. What is wrong is in the reader's problems.
pub(super) fn check(root: Root, reader: &mut Reader, sources: &Sources) -> Option<Settings> {
    if root.version != super::VERSION {
        let message = format!(
            "`{}` is not a version this program reads; it reads 1",
            root.version
        );
        reader.refuse(reader.origin("version"), "version".to_owned(), message);
    }
    let data = data(root.data.as_ref(), reader, sources);
    let server = server(&root.server, reader);
    let waiting = waiting::check(&root.waiting, reader);
    let local = local(&root.identity, reader);
    let providers = providers::check(&root.providers, root.listen, reader, sources);
    let platforms = platforms::check(&root, &providers, reader);
    let budgets = budgets::check(&root.budgets, root.enforce, reader);
    let quotas = quotas::check(&root.quotas, root.enforce, reader);
    let otlp = otlp(&root, reader);
    let reserve = reserve(&root.reserve, reader);
    let weights = weights(root.weights);
    let prices = prices(root.prices.file.as_ref(), reader);
    let free = providers.iter().filter(|it| it.1.free);
    let prices = free.fold(prices, |book, (name, _)| book.declare_free(name));
    let notify = notify::check(&root.notify, reader, sources);
    let claude_code = claude_code::check(&root.claude_code, reader);
    let telemetry = telemetry::check(&root.telemetry, reader);
    let redactor = redactor(&root.redact, reader);
    Some(Settings {
        listen: root.listen,
        data: data?,
        data_is_named: root.data.is_some(),
        server,
        waiting,
        local,
        providers,
        platforms,
        budgets: budgets?,
        quotas: std::sync::Arc::new(quotas),
        reserve,
        weights,
        prices,
        notify,
        claude_code,
        telemetry,
        otlp,
        redactor: redactor?,
        log: Log {
            level: root.log.level,
            form: root.log.format,
        },
    })
}

/// Whether `name` can be repeated anywhere; refuses it otherwise.
fn name_fits(name: &str, key: &str, reader: &mut Reader) -> bool {
    let plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.');
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain);
    if !fits {
        let message = format!(
            "`{name}` is not a name; use 1 to {NAME_BYTES_MAX} letters, digits, dots, dashes and underscores"
        );
        reader.refuse(reader.origin(key), key.to_owned(), message);
    }
    fits
}

fn data(named: Option<&PathBuf>, reader: &mut Reader, sources: &Sources) -> Option<PathBuf> {
    let data = named.cloned().or_else(|| sources.usual_data());
    if let (None, Some(usual)) = (named, &data) {
        reader.effective.push(Effective {
            key: "data".to_owned(),
            value: tree::quoted(&usual.to_string_lossy()),
            origin: super::Origin::BuiltIn,
        });
    }
    if data.is_none() {
        let message = "there is no folder for data: neither XDG_DATA_HOME nor HOME is set; name one with --data or TIDEGATE_DATA";
        reader.refuse(super::Origin::BuiltIn, "data".to_owned(), message);
    }
    data
}

fn server(raw: &sections::Server, reader: &mut Reader) -> Server {
    let key = "server.body_memory";
    if raw.body_memory < raw.body_max {
        let message = format!(
            "{} bytes hold no body of server.body_max, {} bytes; raise the one or lower the other",
            raw.body_memory.0, raw.body_max.0
        );
        reader.refuse(reader.origin(key), key.to_owned(), message);
    }
    if raw.body_max.0 == 0 {
        let key = "server.body_max";
        let message = "no call fits into 0 bytes; the default is \"32 MB\"";
        reader.refuse(reader.origin(key), key.to_owned(), message);
    }
    Server {
        body_memory_bytes: raw.body_memory.0,
        body_bytes_max: raw.body_max.0,
        drain: raw.drain,
    }
}

fn local(raw: &sections::Identity, reader: &mut Reader) -> Local {
    let names = [
        ("identity.organisation", &raw.organisation),
        ("identity.user", &raw.user),
    ];
    for (key, name) in names {
        name_fits(name, key, reader);
    }
    Local {
        organisation: raw.organisation.as_str().into(),
        user: raw.user.as_str().into(),
    }
}

fn otlp(root: &Root, reader: &Reader) -> Otlp {
    // A gateway on whatever port is free, as for one program, leaves the usual ports to others.
    let listens = |it: Listening, key: &str| {
        let named = reader.origin(key) != super::Origin::BuiltIn;
        it.0.filter(|_| named || root.listen.port() != 0)
    };
    Otlp {
        grpc: listens(root.otlp.grpc, "otlp.grpc"),
        http: listens(root.otlp.http, "otlp.http"),
        content: root.otlp.content,
    }
}

fn reserve(raw: &sections::Reserve, reader: &mut Reader) -> ReserveRules {
    if raw.share_of_left == 0 {
        let key = "reserve.share_of_left";
        let message = "a share is one part in at least 1; the default is 4, a quarter";
        reader.refuse(reader.origin(key), key.to_owned(), message);
    }
    if raw.output_floor_last > raw.output_floor {
        let key = "reserve.output_floor_last";
        let message = format!(
            "{} is above output_floor, {}; the last floor is the lower one",
            raw.output_floor_last, raw.output_floor
        );
        reader.refuse(reader.origin(key), key.to_owned(), message);
    }
    ReserveRules {
        share_of_left: raw.share_of_left,
        output_floor: raw.output_floor,
        output_floor_last: raw.output_floor_last,
        output_over_thinking: raw.output_over_thinking,
        reference_tokens: raw.reference_tokens,
        server_tool_tokens: raw.server_tool_tokens,
    }
}

fn weights(raw: sections::Weights) -> Weights {
    let rule = |it: sections::WeightRule| WeightRule {
        classes: it.classes,
        models: it.models,
        fast: it.fast,
        units: it.units,
    };
    Weights {
        rules: raw.rules.into_iter().map(rule).collect(),
        otherwise: raw.otherwise,
    }
}

/// The built-in table with the operator's file over it; without the file where that is wrong,
/// which is a problem then.
fn prices(file: Option<&PathBuf>, reader: &mut Reader) -> PriceBook {
    let built_in = PriceBook::builtin();
    let Some(path) = file else { return built_in };
    let book = match std::fs::read_to_string(path) {
        Ok(text) => built_in
            .with_overrides(&text)
            .map_err(|it| with_causes(&it)),
        Err(error) => Err(format!("it cannot be read: {error}")),
    };
    book.unwrap_or_else(|what| {
        let key = "prices.file";
        let message = format!("`{}`: {what}", path.display());
        reader.refuse(reader.origin(key), key.to_owned(), message);
        built_in
    })
}

fn redactor(raw: &sections::Redact, reader: &mut Reader) -> Option<Redactor> {
    let redactor = Redactor::try_new(&raw.patterns);
    redactor
        .map_err(|error| {
            let key = "redact.patterns";
            reader.refuse(reader.origin(key), key.to_owned(), error.to_string());
        })
        .ok()
}
