//! The gateway beside nginx, before the same emulated upstream: processor time per call, and what they add to latency.

use std::{net::TcpListener, path::Path, process::Command, time::Duration};

use super::{
    Rounds,
    figure::{self, Figure},
    load::Load,
    request, usage,
};
use crate::{
    packages::{NGINX, Packages},
    scratch::Scratch,
    server::{self, Server},
    suites::Rig,
};

/// Enough to keep one worker of nginx busy.
const CONNECTIONS: u32 = 32;

/// Long enough for some thousand calls; short enough that the machine is in one mood for a round.
const SATURATED: Duration = Duration::from_millis(1_500);

/// Connections open, caches fill, the price table is read.
const WARM: Duration = Duration::from_millis(200);

/// 600 calls a round: its p99 is the sixth worst.
const STEADY: Duration = Duration::from_secs(3);
const STEADY_PER_SECOND: u32 = 200;

/// What is asked, and how much more than nginx's processor time a call of it may cost.
const CALLS: &[(&str, request::Shape, f64)] = &[
    ("anthropic", request::Shape::anthropic(), 1.6),
    (
        "anthropic streamed",
        request::Shape::anthropic().streamed(),
        1.3,
    ),
    (
        "anthropic, naming no task",
        request::Shape::anthropic().unnamed(),
        1.6,
    ),
    ("openai", request::Shape::openai(), 1.6),
    ("openai streamed", request::Shape::openai().streamed(), 1.3),
    (
        "anthropic 400 KB body",
        request::Shape::anthropic().of_bytes(400_000),
        1.5,
    ),
];

/// How much more processor time a call may cost because what happened is kept.
const TELEMETRY_AT_MOST: f64 = 1.15;

/// Appended to the gateway's configuration.
const WITHOUT_TELEMETRY: &str = "\n[telemetry]\nenabled = false\n";

/// One behind the other: nginx and the gateway each before the provider.
struct Proxies {
    provider: Server,
    nginx: Server,
    gateway: Server,
    /// The same gateway, which keeps nothing of what happened.
    forgetful: Server,
}

impl Proxies {
    fn start(rig: &Rig, scratch: &Scratch) -> anyhow::Result<Self> {
        let program = rig.program()?;
        let provider = server::provider(program, scratch.path(), &["--bench"])?;
        let nginx = nginx(&rig.packages, scratch.path(), &provider)?;
        let gateway = |home: &str, configuration: &str| {
            let home = scratch.folder(home)?;
            server::gateway(program, &home, &provider, Some(configuration))
        };
        let forgetting = super::GOVERNED.to_owned() + WITHOUT_TELEMETRY;
        Ok(Self {
            gateway: gateway("keeping", super::GOVERNED)?,
            forgetful: gateway("forgetting", &forgetting)?,
            provider,
            nginx,
        })
    }
}

pub(super) fn measure(rig: &Rig, rounds: Rounds) -> anyhow::Result<Vec<Figure>> {
    let scratch = Scratch::try_new("bench")?;
    let proxies = Proxies::start(rig, &scratch)?;
    let mut figures = Vec::new();
    for call in CALLS {
        figures.extend(processor_time(&proxies, call, rounds)?);
    }
    figures.extend(latency(&proxies, rounds)?);
    Ok(figures)
}

/// Of nginx, of the gateway with telemetry and without, and each in proportion to the one before.
fn processor_time(
    proxies: &Proxies,
    (name, shape, at_most): &(&str, request::Shape, f64),
    rounds: Rounds,
) -> anyhow::Result<[Figure; 5]> {
    let name = format!("processor time per call, {name}");
    let figure = |subject| Figure::new(&name, subject, "µs");
    let mut theirs = figure("nginx");
    let mut ours = figure("tidegate");
    let mut forgetful = figure("tidegate, telemetry off");
    for round in 0..rounds.0 {
        let mut subjects = [
            (&proxies.nginx, &mut theirs),
            (&proxies.gateway, &mut ours),
            (&proxies.forgetful, &mut forgetful),
        ];
        if round % 2 == 1 {
            subjects.reverse(); // whoever comes later finds the provider warmer
        }
        for (server, figure) in subjects {
            figure.rounds.push(per_call(server, *shape)?);
        }
    }
    let mut ratio = ours.against(&theirs, "tidegate / nginx", |one, two| one / two);
    ratio.unit = "";
    let mut kept = ours.against(&forgetful, "telemetry on / off", |one, two| one / two);
    kept.unit = "";
    let kept = kept.at_most(TELEMETRY_AT_MOST);
    Ok([theirs, ours, forgetful, ratio.at_most(*at_most), kept])
}

/// Microseconds of processor time per call, at saturation.
fn per_call(server: &Server, shape: request::Shape) -> anyhow::Result<f64> {
    let request = shape.bytes(&server.address);
    let load = Load {
        address: &server.address,
        request: &request,
    };
    load.saturate(CONNECTIONS, WARM)?;
    let before = usage::processor_time(server.id())?;
    let calls = load.saturate(CONNECTIONS, SATURATED)?;
    let spent = usage::processor_time(server.id())?.saturating_sub(before);
    Ok(spent.as_secs_f64() * 1e6 / f64::from(calls.max(1)))
}

/// What each adds to a call, at a steady rate far from saturation.
fn latency(proxies: &Proxies, rounds: Rounds) -> anyhow::Result<Vec<Figure>> {
    let subjects = [
        ("provider", &proxies.provider),
        ("nginx", &proxies.nginx),
        ("tidegate", &proxies.gateway),
    ];
    let mut p50 = subjects.map(|(name, _)| Figure::new("latency p50 at 200 calls/s", name, "ms"));
    let mut p99 = subjects.map(|(name, _)| Figure::new("latency p99 at 200 calls/s", name, "ms"));
    let mut first = subjects
        .map(|(name, _)| Figure::new("first byte of a stream p50 at 200 calls/s", name, "ms"));
    for round in 0..rounds.0 {
        for step in 0..subjects.len() {
            let at = (step + usize::try_from(round)?) % subjects.len();
            let server = subjects[at].1;
            let whole = steady(server, request::Shape::anthropic(), |seen| seen.whole)?;
            p50[at].rounds.push(figure::quantile(&whole, 0.5));
            p99[at].rounds.push(figure::quantile(&whole, 0.99));
            let streamed = request::Shape::anthropic().streamed();
            let begun = steady(server, streamed, |seen| seen.first)?;
            first[at].rounds.push(figure::quantile(&begun, 0.5));
        }
    }
    let mut all = Vec::new();
    for (figures, at_most) in [(p50, 0.25), (p99, 1.0), (first, 0.3)] {
        let [provider, nginx, ours] = figures;
        let added = ours.against(&nginx, "tidegate − nginx", |one, two| one - two);
        all.extend([provider, nginx, ours, added.at_most(at_most)]);
    }
    Ok(all)
}

/// Milliseconds of each call, in the part of it that is asked for.
fn steady(
    server: &Server,
    shape: request::Shape,
    part: fn(&super::http::Seen) -> Duration,
) -> anyhow::Result<Vec<f64>> {
    let request = shape.bytes(&server.address);
    let load = Load {
        address: &server.address,
        request: &request,
    };
    let seen = load.at_rate(STEADY_PER_SECOND, CONNECTIONS, STEADY)?;
    let millis = seen.iter().map(|it| part(it).as_secs_f64() * 1e3);
    Ok(millis.collect())
}

/// nginx as a reverse proxy: one worker (without a master beside it, so that ending the process ends all of it), connections
/// kept on both sides, nothing buffered on the way back and bodies kept in memory on the way up, no access log.
fn nginx(packages: &Packages, home: &Path, provider: &Server) -> anyhow::Result<Server> {
    let program = packages.ensure(NGINX).map_err(anyhow::Error::msg)?;
    // nginx cannot say which port it was given, so a free one is looked for.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let folder = home.join("nginx");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("nginx.conf");
    std::fs::write(&file, configuration(&folder, &address, &provider.address))?;
    let mut command = Command::new(program);
    command.arg("-p").arg(&folder).arg("-c").arg(&file);
    command.args(["-e", "stderr"]);
    Server::start_at(&mut command, &address, &home.join("nginx.log"))
}

fn configuration(folder: &Path, listen: &str, provider: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
master_process off;
worker_rlimit_nofile 30000;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 15000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 32m;
    client_body_buffer_size 1m;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    upstream provider {{
        server {provider};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
        }}
    }}
}}
"
    )
}
