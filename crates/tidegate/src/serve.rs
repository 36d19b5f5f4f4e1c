//! `tidegate serve`: everything started in order, and stopped in the reverse.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use parking_lot::Mutex;
use tidegate_control::{LimitScope, Reloaded};
use tidegate_engine::Engine;
use tidegate_gateway::{
    Gateway,
    inlet::BodyBounds,
    server::{self, Phase},
};
use tidegate_ledger::{LevelKind, Limit, keys};
use tidegate_notify::Courier;
use tidegate_observe::{audit::Actor, event, metrics::Registry};
use tidegate_otlp::Receiver;
use tidegate_segments::{News, OwnRecords, Telemetry};
use tidegate_types::{Clock, Mode, Secret, with_causes};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    cli::{ADDRESS_FILE, TOKEN_FILE},
    config::{self, Loaded, Settings, Sources},
    faces::Faces,
    log::Logger,
    memory,
    otlp::{self, Listeners},
    overrides::{self, Overrides},
    runs::Users,
    wiring,
};

/// Between two rounds of housekeeping.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// A gateway that serves.
pub(crate) struct Serving {
    pub(crate) engine: Arc<Engine>,
    pub(crate) courier: Arc<Courier>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) logger: Arc<Logger>,
    pub(crate) telemetry: Arc<Telemetry>,
    /// Takes what others send for it.
    pub(crate) receiver: Arc<Receiver>,
    /// The program's own records, on their way to it.
    pub(crate) own: Arc<OwnRecords>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sources: Sources,
    /// What is in effect, for whoever asks, and for the next reload to be compared with.
    pub(crate) loaded: Mutex<Loaded>,
    pub(crate) phase: watch::Sender<Phase>,
    /// Where it listens.
    pub(crate) listen: SocketAddr,
}

/// Serves until a signal ends it, or, where it was started for programs, the last of them.
pub(crate) fn run(sources: Sources, for_runs: bool) -> anyhow::Result<()> {
    memory::without_huge_pages();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    runtime.block_on(async {
        let (serving, listener, otlp) = start(sources).await?;
        let users = if for_runs {
            Some(Users::of(&serving.loaded.lock().settings.data)?)
        } else {
            None
        };
        serving.announce(listener.local_addr()?, for_runs);
        let otlp = otlp.serve(&serving.receiver, &serving.phase.subscribe());
        serving.until_stopped(listener, otlp, users.as_ref()).await
    })
}

/// Starts everything but the accepting of connections.
async fn start(sources: Sources) -> anyhow::Result<(Arc<Serving>, TcpListener, Listeners)> {
    let loaded = config::load(&sources)?;
    let settings = loaded.settings.clone();
    create_private(&settings.data)?;
    let clock = wiring::clock();
    let telemetry = Arc::new(wiring::telemetry(&settings, &clock));
    let own = Arc::new(OwnRecords::new(Arc::clone(&telemetry)));
    let logger = Logger::start(&settings, &own).context("the log can't be started")?;
    let registry = Arc::new(Registry::new());
    registry.start_time.with([]).set(clock.now().0);
    let (engine, courier, logins) = wiring::engine(
        &settings,
        Arc::clone(&clock),
        registry,
        logger.clone(),
        own.clone(),
    )?;
    if !settings.listen.ip().is_loopback() && !engine.has_keys() {
        bail!(
            "`listen = \"{}\"` can be reached by other machines, and there is no key yet: make one first with `tidegate keys add NAME --user USER` (it works while no gateway runs), or listen on 127.0.0.1",
            settings.listen
        );
    }
    let listener = bind(settings.listen).await?;
    let otlp = otlp::listen(settings.otlp, &engine).await?;
    let receiver = otlp::receiver(&settings, &engine, &telemetry, &clock);
    let listen = listener.local_addr()?;
    courier.put_address(links_lead_to(&settings, listen));
    let token = token(&settings.data)?;
    let address = settings.data.join(ADDRESS_FILE);
    write_private(&address, &listen.to_string())?;
    let kept = Arc::clone(&telemetry);
    let faces = Faces::new(engine.clone(), logins, kept, receiver.clone(), token);
    let faces = Arc::new(faces);
    let providers = wiring::providers(&settings, &clock)?;
    let bounds = BodyBounds {
        one_bytes_max: settings.server.body_bytes_max,
        all_bytes_max: settings.server.body_memory_bytes,
    };
    let gateway = Arc::new(Gateway::new(
        Arc::clone(&engine),
        providers,
        bounds,
        faces.clone(),
    ));
    gateway.put_patience(settings.waiting.clone());
    let (phase, _) = watch::channel(Phase::Running);
    let serving = Arc::new(Serving {
        engine,
        courier,
        gateway,
        logger,
        telemetry,
        receiver,
        own,
        clock,
        sources,
        loaded: Mutex::new(loaded),
        phase,
        listen,
    });
    faces.operate(Arc::downgrade(&serving));
    Ok((serving, listener, otlp))
}

/// Where links in notices lead.
fn links_lead_to(settings: &Settings, listen: SocketAddr) -> String {
    let configured = settings.notify.address.clone();
    configured.unwrap_or_else(|| format!("http://{listen}"))
}

async fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(listen).await;
    bound.map_err(|error| {
        let holder = crate::ports::holder(listen.port());
        let context = match (error.kind(), holder) {
            (io::ErrorKind::AddrInUse, Some(holder)) => format!(
                "`{listen}` is in use by {holder}: stop it, or choose another address with --listen"
            ),
            (io::ErrorKind::AddrInUse, None) => {
                format!("`{listen}` is in use by another process: choose another with --listen")
            }
            _ => format!("can't listen on `{listen}`: choose another address with --listen"),
        };
        anyhow::Error::new(error).context(context)
    })
}

impl Serving {
    /// Says where, with what data, and which limits only watch; to a program, where.
    fn announce(&self, at: SocketAddr, to_program: bool) {
        let loaded = self.loaded.lock();
        let settings = &loaded.settings;
        // By the engine's word: operators may have named some of the built-in ones since.
        let limits = self.engine.status().limits.into_iter();
        let watched: Vec<String> = limits
            .filter(|it| it.keyless == Mode::Watch)
            .map(|it| it.limit)
            .collect();
        let watched = watched.join(", ");
        self.engine.report(&event::Started {
            listen: &at.to_string(),
            data: &settings.data.display().to_string(),
            watched: &watched,
        });
        if to_program {
            crate::cli::print(&crate::cli::Said::fine(at.to_string()));
        } else {
            crate::cli::greet(at, &settings.data, &watched, &self.sources);
        }
    }

    /// Accepts connections until a signal, or until there are no users of those that are asked
    /// for; then lets what is in flight end.
    async fn until_stopped(
        self: &Arc<Self>,
        listener: TcpListener,
        otlp: JoinSet<()>,
        users: Option<&Users>,
    ) -> anyhow::Result<()> {
        let mut stop = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut reload = signal(SignalKind::hangup())?;
        let mut served = server::serve(
            listener,
            Arc::new(Arc::clone(&self.gateway)),
            self.phase.subscribe(),
        );
        // Until the end of the draining: what is told while calls end is delivered, too.
        let (told, stop_telling) = tokio::sync::oneshot::channel::<()>();
        let mut delivering = JoinSet::new();
        let courier = Arc::clone(&self.courier);
        let engine = Arc::clone(&self.engine);
        delivering.spawn(courier.run(engine, async {
            stop_telling.await.unwrap_or_default();
        }));
        let mut tick = tokio::time::interval(TIDY_EVERY);
        loop {
            tokio::select! {
                () = &mut served => break,
                _ = stop.recv() => break,
                _ = interrupt.recv() => break,
                _ = reload.recv() => {
                    // What is wrong with it is in the log; the earlier one stays in effect.
                    let _told = self.reload(Actor::Configuration);
                }
                _ = tick.tick() => {
                    self.tidy();
                    if users.is_some_and(Users::are_none) {
                        break;
                    }
                }
            }
        }
        let began = self.clock.monotonic();
        self.phase.send_replace(Phase::Draining);
        let drain = self.loaded.lock().settings.server.drain;
        let cut = tokio::select! {
            () = &mut served => false,
            () = second(&mut stop, &mut interrupt, drain) => true,
        };
        let mut cut_calls = 0;
        if cut {
            cut_calls = self.engine.registry().open_calls.with([]).value();
            self.gateway.close();
            self.phase.send_replace(Phase::Closing);
            served.await;
        }
        // What they have taken is kept before the store is closed.
        self.phase.send_replace(Phase::Closing);
        otlp.join_all().await;
        told.send(()).unwrap_or_default();
        let drained = self.clock.monotonic().since(began);
        self.stopped(u64::try_from(cut_calls).unwrap_or(0), drained);
        Ok(())
    }

    /// The limits that operators have set.
    fn overrides(&self) -> Result<Overrides, String> {
        let kept = self
            .engine
            .setting(overrides::SETTING)
            .map_err(|it| with_causes(&it))?;
        Ok(Overrides::read(kept.as_deref()))
    }

    /// Puts a limit in force and keeps it.
    pub(crate) fn set_limit(
        &self,
        level: LevelKind,
        scope: &LimitScope,
        limit: Limit,
    ) -> Result<(), String> {
        let overrides = self
            .overrides()?
            .with(level, scope, limit)
            .map_err(|it| it.to_string())?;
        let configured = Arc::clone(&self.loaded.lock().settings.budgets);
        let budgets = overrides.over(&configured).map_err(|it| it.to_string())?;
        self.engine
            .keep_setting(overrides::SETTING, &overrides.bytes())
            .map_err(|it| with_causes(&it))?;
        self.engine.limit(budgets);
        Ok(())
    }

    fn tidy(&self) {
        self.engine.tidy();
        self.gateway.tidy();
        self.own.look();
        for (level, records) in self.logger.take_shed().chain(self.own.take_shed()) {
            self.engine.report(&event::RecordsShed {
                level_shed: level.word(),
                records,
            });
        }
        self.look_after_telemetry();
    }

    /// Says what happened to telemetry, and has it opened where it could not be.
    fn look_after_telemetry(&self) {
        for news in self.telemetry.take_news() {
            match news {
                News::Failed(why) => self
                    .engine
                    .report(&event::TelemetryFailing { reason: &why }),
                News::Recovered => self.engine.report(&event::TelemetryWorks {}),
                News::Damaged(what) => {
                    self.engine
                        .report(&event::TelemetryDamaged { reason: &what });
                }
                News::CrowdedOut(parts) => self.engine.report(&event::TelemetryCrowdedOut {
                    parts: parts as u64,
                }),
            }
        }
        if self.telemetry.condition().failing.is_some() {
            let telemetry = Arc::clone(&self.telemetry);
            // It may wait for the disk. Whoever asks a second later finds it done, or tried.
            tokio::task::spawn_blocking(move || telemetry.reopen());
        }
    }

    /// Settles the books and closes the files.
    fn stopped(&self, cut_calls: u64, drained: Duration) {
        self.engine.flush();
        self.engine.report(&event::Stopped {
            cut_calls,
            drained_ms: u64::try_from(drained.as_millis()).unwrap_or(u64::MAX),
        });
        let address = self.loaded.lock().settings.data.join(ADDRESS_FILE);
        // Nobody is to look for us there any more; a file that is gone already is as good.
        fs::remove_file(address).unwrap_or_default();
        self.logger.close();
        self.telemetry.close();
    }

    /// Reads the configuration again and puts it in force, or says what is wrong with it.
    pub(crate) fn reload(&self, by: Actor) -> Result<Reloaded, String> {
        let refused = |reason: String| {
            self.engine.report(&event::ConfigRefused {
                by: by.clone(),
                reason: &reason,
            });
            reason
        };
        let loaded = config::load(&self.sources).map_err(|it| refused(with_causes(&it)))?;
        let (loaded, at_next_start) = loaded.after_start(&self.loaded.lock());
        let fits = loaded.fits(self.listen);
        fits.map_err(|it| refused(it.to_string()))?;
        let settings = &loaded.settings;
        // Where it listens stays as it was, and with it whether keyless calls are taken.
        let keyless = self.engine.settings().keyless;
        let providers =
            wiring::providers(settings, &self.clock).map_err(|it| refused(format!("{it:#}")))?;
        let changed = config::changed(&self.loaded.lock(), &loaded);
        self.logger
            .reconfigure(settings.log, settings.redactor.clone());
        self.gateway.put_providers(providers);
        self.gateway.put_patience(settings.waiting.clone());
        self.receiver.put_rules(otlp::rules(settings));
        self.courier.put_channels(settings.notify.channels.clone());
        self.courier
            .put_address(links_lead_to(settings, self.listen));
        let mut engine = settings.engine(keyless);
        let over = self
            .overrides()
            .and_then(|it| it.over(&engine.budgets).map_err(|it| it.to_string()));
        engine.budgets = over.map_err(refused)?;
        self.engine
            .reload(engine, settings.prices.clone(), by, &changed);
        *self.loaded.lock() = loaded;
        if !at_next_start.is_empty() {
            let keys = at_next_start.join(", ");
            self.engine.report(&event::RestartNeeded { keys: &keys });
        }
        Ok(Reloaded {
            changed,
            at_next_start,
        })
    }
}

/// Ends with the first signal that asks to.
pub(crate) fn interrupted() -> io::Result<impl Future<Output = ()>> {
    let mut stop = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = stop.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn second(stop: &mut Signal, interrupt: &mut Signal, drain: Duration) {
    tokio::select! {
        _ = stop.recv() => {}
        _ = interrupt.recv() => {}
        () = tokio::time::sleep(drain) => {}
    }
}

/// Creates the data directory for this user alone.
pub(crate) fn create_private(data: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(|| {
            format!(
                "the data directory `{}` can't be made: choose another with --data",
                data.display()
            )
        })
}

/// The token that changes need: made once, readable by this user alone.
fn token(data: &Path) -> anyhow::Result<Secret<String>> {
    let path = data.join(TOKEN_FILE);
    if let Ok(kept) = fs::read_to_string(&path)
        && kept.trim().len() >= 32
    {
        make_private(&path)?;
        return Ok(Secret::new(kept.trim().to_owned()));
    }
    let mut random = [0; keys::SECRET_BYTES];
    getrandom::fill(&mut random).context("the system gives no randomness")?;
    let token = keys::secret(&random);
    let token = token
        .expose()
        .replacen(keys::SECRET_PREFIX, keys::LOCAL_PREFIX, 1);
    write_private(&path, &token)?;
    Ok(Secret::new(token))
}

/// Writes a file that only this user can read.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let opened = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    let unwritable = || format!("`{}` can't be written", path.display());
    let mut file = opened.with_context(unwritable)?;
    // The mode above is for a file that is new.
    make_private(path)?;
    io::Write::write_all(&mut file, text.as_bytes()).with_context(unwritable)
}

/// Takes a file away from everybody but this user, whoever made it.
fn make_private(file: &Path) -> anyhow::Result<()> {
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("`{}` can't be made private", file.display()))
}
