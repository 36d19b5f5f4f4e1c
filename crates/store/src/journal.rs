//! The journal as files: segments that are only ever appended to, and deleted whole.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use tidegate_ledger::{
    Entry,
    journal::{Found, Journal, Position, ReadBack, Record, decode},
};
use tidegate_types::ReservationId;

use crate::lock;

/// Where a new segment begins. What a crash leaves to read back is about one of them: twenty
/// thousand records, a few dozen milliseconds.
pub const SEGMENT_BYTES_MAX: u64 = 8 << 20;

/// Names the kernel's run; another one means that what was not synced may be gone.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What each segment begins with, before the kernel's run and a line feed.
const TITLE: &str = "tidegate journal 1 ";

/// `journal-000001.log`, `journal-000002.log`, … in the data directory. Each run begins a segment
/// of its own, so that nothing is ever written behind a torn record.
#[derive(Debug)]
pub struct FileJournal {
    directory: PathBuf,
    boot: String,
    segment_bytes_max: u64,
    writing: Mutex<Writing>,
}

#[derive(Debug)]
struct Writing {
    segment: u64,
    file: Arc<File>,
    bytes: u64,
    /// Earlier segments, and the directory, whose last bytes were never synced.
    unsynced: Vec<Arc<File>>,
}

impl FileJournal {
    /// Opens the journal of a directory that this process has locked, and begins a segment.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        Self::open_as(directory, boot.trim(), SEGMENT_BYTES_MAX)
    }

    fn open_as(directory: &Path, boot: &str, segment_bytes_max: u64) -> io::Result<Self> {
        let last = segments(directory)?.last().copied().unwrap_or(0);
        let writing = begin(directory, boot, last + 1)?;
        Ok(Self {
            directory: directory.to_owned(),
            boot: boot.to_owned(),
            segment_bytes_max,
            writing: Mutex::new(writing),
        })
    }

    fn begin_next(&self, writing: &mut Writing) -> io::Result<()> {
        let mut next = begin(&self.directory, &self.boot, writing.segment + 1)?;
        next.unsynced.append(&mut writing.unsynced);
        next.unsynced.push(Arc::clone(&writing.file));
        *writing = next;
        Ok(())
    }
}

impl Journal for FileJournal {
    fn append(&self, frames: &[u8]) -> io::Result<Position> {
        let mut writing = self.writing.lock();
        if writing.bytes >= self.segment_bytes_max {
            self.begin_next(&mut writing)?;
        }
        let before = writing.bytes;
        if let Err(refused) = (&*writing.file).write_all(frames) {
            // Half a record must not stand before whole ones; where it can't be taken back, they
            // go elsewhere.
            if writing.file.set_len(before).is_err() {
                self.begin_next(&mut writing)?;
            }
            return Err(refused);
        }
        writing.bytes += frames.len() as u64;
        Ok(Position {
            segment: writing.segment,
            offset: writing.bytes,
        })
    }

    fn sync(&self) -> io::Result<()> {
        let (current, earlier) = {
            let mut writing = self.writing.lock();
            let earlier = std::mem::take(&mut writing.unsynced);
            (Arc::clone(&writing.file), earlier)
        };
        let synced = earlier.iter().try_for_each(|it| it.sync_data());
        if let Err(refused) = synced {
            self.writing.lock().unsynced.extend(earlier);
            return Err(refused);
        }
        current.sync_data()
    }

    fn checkpoint(&self, up_to: Position) -> io::Result<()> {
        for segment in segments(&self.directory)? {
            if segment < up_to.segment {
                fs::remove_file(path(&self.directory, segment))?;
            }
        }
        Ok(())
    }

    fn read_back(&self) -> io::Result<ReadBack> {
        let mut back = ReadBack {
            segments: Vec::new(),
            complete: true,
        };
        let title = format!("{TITLE}{}\n", self.boot);
        for segment in segments(&self.directory)? {
            let bytes = fs::read(path(&self.directory, segment))?;
            let same_run = bytes.starts_with(title.as_bytes()) && !self.boot.is_empty();
            back.complete &= same_run;
            let bytes = without_title(bytes);
            if !bytes.is_empty() {
                back.segments.push(bytes);
            }
        }
        Ok(back)
    }
}

/// The entries of reservations that a directory's journal has, by reservation and ordinal, in order; for
/// whoever only looks. The store may have them too. Nothing is locked or written: the process that has
/// the directory may go on, and what it gives up meanwhile is in its store. Where there is no such
/// directory, there is none.
pub fn journaled_entries(directory: &Path) -> io::Result<Vec<(ReservationId, u32)>> {
    let mut entries = Vec::new();
    if !directory.exists() {
        return Ok(entries);
    }
    for segment in segments(directory)? {
        let bytes = match fs::read(path(directory, segment)) {
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => continue,
            read => without_title(read?),
        };
        entries.extend(decode(&bytes).filter_map(|found| match found {
            Found::Record(Record::Entry(line)) => match line.entry() {
                Entry::Call(it) => Some((it.reservation, it.ordinal)),
                Entry::Policy(_) => None,
            },
            Found::Record(Record::Taking(_) | Record::Tried)
            | Found::Damage { .. }
            | Found::TornTail { .. } => None,
        }));
    }
    Ok(entries)
}

/// The frames of a segment.
fn without_title(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.starts_with(TITLE.as_bytes()) {
        let line = bytes.iter().position(|it| *it == b'\n');
        bytes.drain(..line.map_or(bytes.len(), |it| it + 1));
    }
    bytes
}

fn begin(directory: &Path, boot: &str, segment: u64) -> io::Result<Writing> {
    let title = format!("{TITLE}{boot}\n");
    let path = path(directory, segment);
    // A number is never used twice: a segment of that name would be somebody else's.
    let mut options = lock::private();
    let mut file = options.append(true).create_new(true).open(&path)?;
    if let Err(refused) = file.write_all(title.as_bytes()) {
        // The number is free for the next try.
        fs::remove_file(&path)?;
        return Err(refused);
    }
    Ok(Writing {
        segment,
        file: Arc::new(file),
        bytes: title.len() as u64,
        // The new name is in the directory once that is synced.
        unsynced: vec![Arc::new(File::open(directory)?)],
    })
}

fn path(directory: &Path, segment: u64) -> PathBuf {
    directory.join(format!("journal-{segment:06}.log"))
}

/// The numbers of the segments that are there, in order.
fn segments(directory: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for file in fs::read_dir(directory)? {
        let name = file?.file_name();
        let number = name
            .to_str()
            .and_then(|it| it.strip_prefix("journal-")?.strip_suffix(".log"));
        found.extend(number.and_then(|it| it.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests;
