//! The live view: a thread asks the gateway once a second, and the screen shows what it said.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    time::Duration,
};

use anyhow::Context as _;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};
use tidegate_control::wire::{Approval, DecideRequest, PromoteRequest, WaitChanged};
use tidegate_types::Priority;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Paint,
    keys::{Deed, Step, View},
    snapshot::Snapshot,
};
use crate::{
    cli::client::{Client, ClientError},
    config::Settings,
};

/// How often the gateway is asked.
const EVERY: Duration = Duration::from_secs(1);

/// How long a gateway may take to answer before it counts as gone: all is in memory there.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the screen waits for a key before it looks for news.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// Once it was asked to end, the screen has this long to do so: a terminal that is gone keeps whoever
/// reads keys for ever.
const END_MAX: Duration = Duration::from_secs(1);

/// Shows the gateway until the user leaves. The terminal is as before then, whatever happens.
pub(super) fn run(settings: &Settings, colours: bool) -> anyhow::Result<()> {
    // Before the terminal is changed: a signal in between would leave it so.
    let asked = AskedToEnd::listen().context("signals can't be listened to")?;
    let mut terminal = ratatui::try_init().context("the terminal can't be drawn on")?;
    with_news(settings, |news, again| {
        let ended = watch(&mut terminal, settings, colours, (news, again), &asked);
        // Before the thread is waited for, which may wait for a gateway that says nothing.
        let restored = ratatui::try_restore();
        if asked.is_heard() {
            // After a hang-up there may be no terminal any more that could be read or put back.
            return Ok(());
        }
        restored.context("the terminal can't be put back: `reset` does that")?;
        ended
    })
}

/// Whether a signal has asked the program to end. Heard by a thread of its own: what only sets a
/// flag needs no more.
struct AskedToEnd {
    heard: Arc<AtomicBool>,
    /// Listens for as long as it is there.
    _listening: tokio::runtime::Runtime,
}

/// Until the terminal is gone: not every way in which that happens comes with a signal. Never, where
/// keys come from elsewhere.
async fn without_terminal() {
    let is_there = || rustix::termios::tcgetattr(std::io::stdin()).is_ok();
    if !is_there() {
        std::future::pending::<()>().await;
    }
    while is_there() {
        tokio::time::sleep(EVERY).await;
    }
}

impl AskedToEnd {
    fn listen() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let heard = Arc::new(AtomicBool::new(false));
        let inside = runtime.enter();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        // Keys are read raw: this one comes from elsewhere.
        let mut interrupt = signal(SignalKind::interrupt())?;
        drop(inside);
        let flag = Arc::clone(&heard);
        let listening = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
                _ = interrupt.recv() => {}
                () = without_terminal() => {}
            }
            flag.store(true, Ordering::Relaxed);
            tokio::time::sleep(END_MAX).await;
            end_at_once();
        };
        // It ends with the runtime, whether it has heard anything or not.
        drop(runtime.spawn(listening));
        Ok(Self {
            heard,
            _listening: runtime,
        })
    }

    fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }
}

/// Ends the program from beside whoever hangs in a terminal that is gone, or that took no more.
#[expect(clippy::exit, reason = "nobody is left who could return")]
fn end_at_once() {
    ratatui::try_restore().unwrap_or_default();
    std::process::exit(0);
}

/// Runs `act` beside a thread that asks the gateway.
fn with_news<T>(settings: &Settings, act: impl FnOnce(&Receiver<News>, &SyncSender<()>) -> T) -> T {
    // One that waits is enough: what is newer comes a second later.
    let (said, news) = sync_channel(1);
    let (again, asked) = sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(move || ask(settings, &said, &asked));
        let result = act(&news, &again);
        drop((news, again));
        result
    })
}

/// What the gateway said, or why it did not.
type News = Result<Box<Snapshot>, String>;

/// Asks once a second, and at once when it is told to, until nobody listens.
fn ask(settings: &Settings, said: &SyncSender<News>, again: &Receiver<()>) {
    loop {
        let snapshot = client(settings).and_then(|it| Snapshot::fetch(&it));
        let news = snapshot.map(Box::new).map_err(|it| it.to_string());
        if said.send(news).is_err() {
            return;
        }
        match again.recv_timeout(EVERY) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A gateway that was started anew may be elsewhere, with another token.
fn client(settings: &Settings) -> Result<Client, ClientError> {
    Ok(Client::of(settings)?.hurried(PATIENCE))
}

fn watch(
    terminal: &mut DefaultTerminal,
    settings: &Settings,
    colours: bool,
    (news, again): (&Receiver<News>, &SyncSender<()>),
    asked: &AskedToEnd,
) -> anyhow::Result<()> {
    let mut view = View::default();
    let mut snapshot = Snapshot {
        address: Client::of(settings)?.address().to_string(),
        ..Snapshot::default()
    };
    let mut changed = true;
    while !asked.is_heard() {
        match news.try_recv() {
            Ok(Ok(newer)) => {
                snapshot = *newer;
                changed = true;
            }
            Ok(Err(gone)) => {
                snapshot.gone = Some(gone);
                changed = true;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
        if changed {
            let paint = Paint {
                snapshot: &snapshot,
                view: Some(&view),
                colours,
            };
            terminal.draw(|frame| paint.draw(frame.area(), frame.buffer_mut()))?;
        }
        changed = event::poll(KEY_WAIT)?;
        if !changed {
            continue;
        }
        // A terminal of another size is drawn anew as well.
        let Event::Key(key) = event::read()? else {
            continue;
        };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match view.press(key, &snapshot) {
            Step::Stay => {}
            Step::Quit => return Ok(()),
            Step::Do(deed) => {
                let done = client(settings).and_then(|it| done(&it, &deed));
                view.told(done.map_err(|it| it.to_string()));
                // Whether it is asked at once or within the second is all the same.
                again.try_send(()).unwrap_or_default();
            }
        }
    }
    Ok(())
}

/// Tells the gateway, and says what became of it.
fn done(client: &Client, deed: &Deed) -> Result<String, ClientError> {
    let decide = |id, approve| {
        let request = DecideRequest {
            approve,
            amount: None,
        };
        let path = format!("/api/v1/approvals/{id}");
        let decided: Approval = client.post(&path, &request)?;
        Ok(format!("{} is {}", decided.id, decided.state))
    };
    match deed {
        Deed::Promote(id) => {
            let body = PromoteRequest {
                priority: Priority::Critical,
            };
            let changed: WaitChanged = client.put(&format!("/api/v1/queue/{id}"), &body)?;
            Ok(format!("{} goes first", changed.id))
        }
        Deed::Cancel(id) => {
            let changed: WaitChanged = client.delete(&format!("/api/v1/queue/{id}"))?;
            Ok(format!("{} waits no more", changed.id))
        }
        Deed::Approve(id) => decide(id, true),
        Deed::Deny(id) => decide(id, false),
    }
}
