//! Opens a directory and puts right what a crash or damage has left.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use tidegate_observe::telemetry::Kind;
use tidegate_types::Timestamp;

use crate::{
    catalogue::{self, Catalogue, PartRow, log_of},
    error::SegmentsError,
    files,
    limits::Options,
    part::{Part, PartPaths},
    segments::Recovery,
};

/// Where everything is. Whoever has it has the directory's lock.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) parts: PathBuf,
    damaged: PathBuf,
    _lock: File,
}

/// A directory that was opened.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) layout: Layout,
    pub(crate) catalogue: Catalogue,
    pub(crate) parts: Vec<Arc<Part>>,
    pub(crate) next_part: u64,
    pub(crate) recovery: Recovery,
}

/// The level of a part that was found without a catalogue: it is merged with few others, if any.
const ADOPTED_LEVEL: u8 = 2;

pub(crate) fn open(
    directory: &Path,
    options: &Options,
    space: &Arc<AtomicU64>,
    now: Timestamp,
) -> Result<Found, SegmentsError> {
    let layout = Layout {
        parts: directory.join("parts"),
        damaged: directory.join("damaged"),
        _lock: lock(directory)?,
    };
    files::make_directory(&layout.parts)?;
    files::sync_directory(directory)?;
    let mut recovery = Recovery::default();
    let database = directory.join("telemetry.db");
    let is_new = !database.exists();
    let open = |path| Catalogue::open(path, options.recent_bytes, options.log_bytes());
    let (catalogue, is_new) = match open(database.clone()) {
        Err(error @ SegmentsError::Damaged { .. }) => {
            recovery.damaged.push(error.to_string());
            move_database(&layout, &database, now)?;
            (open(database)?, true)
        }
        other => (other?, is_new),
    };
    let mut found = Finder {
        layout: &layout,
        space,
        recovery,
        parts: Vec::new(),
        next_part: 1,
    };
    let rows = catalogue.ask(catalogue::parts)?;
    let names = found.names()?;
    let dropped = found.open_known(&rows);
    if is_new {
        found.adopt(&names);
        catalogue.change(|change| {
            let mut adopted = found.parts.iter();
            adopted.try_for_each(|it| catalogue::put_part(change, it.row))
        })?;
    } else {
        catalogue.change(|change| {
            dropped
                .iter()
                .try_for_each(|id| catalogue::drop_part(change, *id))
        })?;
    }
    found.remove_orphans(&names)?;
    let Finder {
        recovery,
        mut parts,
        next_part,
        ..
    } = found;
    parts.sort_by_key(|it| it.row.id);
    Ok(Found {
        layout,
        catalogue,
        parts,
        next_part,
        recovery,
    })
}

fn lock(directory: &Path) -> Result<File, SegmentsError> {
    files::make_directory(directory)?;
    let path = directory.join("lock");
    let file = files::create(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SegmentsError::InUse {
            path: directory.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(SegmentsError::io(&path, error)),
    }
}

/// Moves a database and its log away.
fn move_database(layout: &Layout, database: &Path, now: Timestamp) -> Result<(), SegmentsError> {
    files::make_directory(&layout.damaged)?;
    let away = layout.damaged.join(format!("telemetry-{}.db", now.0));
    if log_of(database).exists() {
        files::rename(&log_of(database), &log_of(&away))?;
    }
    let mut shared = database.as_os_str().to_owned();
    shared.push("-shm");
    files::remove(shared.as_ref())?;
    files::rename(database, &away)
}

/// Moves files away that can't be read; those that are gone are gone.
pub(crate) fn set_aside(layout: &Layout, paths: &[&Path]) -> Result<(), SegmentsError> {
    files::make_directory(&layout.damaged)?;
    for path in paths.iter().filter(|it| it.exists()) {
        let name = path.file_name().unwrap_or_default();
        files::rename(path, &layout.damaged.join(name))?;
    }
    Ok(())
}

/// Keeps a block that can't be read, for a person to look at.
pub(crate) fn keep_block(layout: &Layout, id: i64, bytes: &[u8]) -> Result<(), SegmentsError> {
    files::make_directory(&layout.damaged)?;
    let path = layout.damaged.join(format!("block-{id:016x}"));
    fs::write(&path, bytes).map_err(|it| SegmentsError::io(&path, it))
}

/// Compares the files with the catalogue.
struct Finder<'a> {
    layout: &'a Layout,
    space: &'a Arc<AtomicU64>,
    recovery: Recovery,
    parts: Vec<Arc<Part>>,
    next_part: u64,
}

impl Finder<'_> {
    /// The names of all files.
    fn names(&mut self) -> Result<Vec<String>, SegmentsError> {
        let path = &self.layout.parts;
        let read = fs::read_dir(path).and_then(|them| {
            them.map(|it| Ok(it?.file_name().to_string_lossy().into_owned()))
                .collect()
        });
        let names: Vec<String> = read.map_err(|it| SegmentsError::io(path, it))?;
        let highest = names
            .iter()
            .filter_map(|it| PartPaths::parse(it))
            .map(|it| it.1)
            .max();
        self.next_part = highest.unwrap_or(0) + 1;
        Ok(names)
    }

    /// Opens the parts of the catalogue. Returns the ids of those that can't be.
    fn open_known(&mut self, rows: &[PartRow]) -> Vec<u64> {
        let mut dropped = Vec::new();
        for row in rows {
            self.next_part = self.next_part.max(row.id + 1);
            if !self.open_part(*row) {
                dropped.push(row.id);
            }
        }
        dropped
    }

    fn open_part(&mut self, row: PartRow) -> bool {
        let opened = Part::open(&self.layout.parts, row, self.space);
        match opened {
            Ok(part) => self.parts.push(Arc::new(part)),
            Err(error) => {
                self.recovery.damaged.push(error.to_string());
                let paths = PartPaths::new(&self.layout.parts, row.kind, row.id);
                if let Err(error) = set_aside(self.layout, &[&paths.records, &paths.index]) {
                    self.recovery.damaged.push(error.to_string());
                }
                return false;
            }
        }
        true
    }

    /// Takes in all parts there are, where there is no catalogue to say which. One whose records
    /// another has, too, was about to be removed.
    fn adopt(&mut self, names: &[String]) {
        let there: HashMap<u64, Kind> = names
            .iter()
            .filter_map(|it| PartPaths::parse(it))
            .map(|(kind, id)| (id, kind))
            .collect();
        for (id, kind) in there {
            let level = ADOPTED_LEVEL;
            self.open_part(PartRow { id, kind, level });
        }
        let parts = self.parts.iter();
        let replaced: BTreeSet<u64> = parts
            .flat_map(|it| it.index.replaces.iter().copied())
            .collect();
        self.parts.retain(|it| !replaced.contains(&it.row.id));
        self.recovery.adopted = self.parts.len();
    }

    /// Removes files of parts that are not in the catalogue.
    fn remove_orphans(&mut self, names: &[String]) -> Result<(), SegmentsError> {
        let known: BTreeSet<PathBuf> = self
            .parts
            .iter()
            .flat_map(|it| [it.paths.records.clone(), it.paths.index.clone()])
            .collect();
        for name in names {
            let path = self.layout.parts.join(name);
            if !known.contains(&path) && path.exists() {
                files::remove(&path)?;
                self.recovery.orphans += 1;
            }
        }
        Ok(())
    }
}
