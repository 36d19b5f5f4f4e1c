//! What a process wrote and synced, and what a power cut would leave of it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// One deed of the process, as `recorder.c` writes it down.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Create(PathBuf),
    Write {
        path: PathBuf,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        path: PathBuf,
        length: usize,
    },
    Sync(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink(PathBuf),
    /// It told the world that this batch was acknowledged.
    Said(u64),
}

/// All deeds, in their order.
pub(crate) fn read(path: &Path) -> Vec<Deed> {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut deeds = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|it| *it == b'\n').unwrap();
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        rest = &rest[end + 1..];
        let mut words = head.splitn(4, ' ');
        let op = words.next().unwrap();
        let mut number = || words.next().unwrap().parse::<usize>().unwrap();
        let (one, two) = (number(), number());
        let paths = words.next().unwrap();
        let path = PathBuf::from(paths.split('\t').next().unwrap());
        deeds.push(match op {
            "create" => Deed::Create(path),
            "write" => {
                let (written, others) = rest.split_at(two);
                rest = others;
                let (at, bytes) = (one, written.to_vec());
                Deed::Write { path, at, bytes }
            }
            "truncate" => Deed::Truncate { path, length: one },
            "sync" => Deed::Sync(path),
            "rename" => Deed::Rename {
                from: path,
                to: paths.split('\t').nth(1).unwrap().into(),
            },
            "unlink" => Deed::Unlink(path),
            "said" => Deed::Said(one as u64),
            other => panic!("the recorder does not write `{other}`"),
        });
    }
    deeds
}

/// A disk that has what was synced, and remembers what was not.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    /// Names as the process sees them.
    names: HashMap<PathBuf, usize>,
    /// Names that a power cut leaves.
    durable_names: HashMap<PathBuf, usize>,
    /// Changes of names since their directory was synced: the name, and its file if it has one now.
    unsynced_names: Vec<(PathBuf, Option<usize>)>,
}

#[derive(Debug, Default)]
struct File {
    durable: Vec<u8>,
    /// Since the last sync.
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

fn apply(to: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { at, bytes } => {
            let end = at + bytes.len();
            if to.len() < end {
                to.resize(end, 0);
            }
            to[*at..end].copy_from_slice(bytes);
        }
        Change::Truncate(length) => to.resize(*length, 0),
    }
}

impl Disk {
    pub(crate) fn run(&mut self, deed: &Deed) {
        match deed {
            Deed::Create(path) => {
                self.files.push(File::default());
                self.name(path, Some(self.files.len() - 1));
            }
            Deed::Write { path, at, bytes } => {
                let (at, bytes) = (*at, bytes.clone());
                self.change(path, Change::Write { at, bytes });
            }
            Deed::Truncate { path, length } => self.change(path, Change::Truncate(*length)),
            Deed::Sync(path) => self.sync(path),
            Deed::Rename { from, to } => {
                let file = self.names[from];
                self.name(from, None);
                self.name(to, Some(file));
            }
            Deed::Unlink(path) => self.name(path, None),
            Deed::Said(_) => {}
        }
    }

    fn change(&mut self, path: &Path, change: Change) {
        // A file that was removed while it was open is written for nobody.
        if let Some(file) = self.names.get(path) {
            self.files[*file].unsynced.push(change);
        }
    }

    fn name(&mut self, path: &Path, file: Option<usize>) {
        match file {
            Some(file) => self.names.insert(path.to_owned(), file),
            None => self.names.remove(path),
        };
        self.unsynced_names.push((path.to_owned(), file));
    }

    fn sync(&mut self, path: &Path) {
        if let Some(file) = self.names.get(path) {
            let file = &mut self.files[*file];
            for change in file.unsynced.drain(..) {
                apply(&mut file.durable, &change);
            }
            return;
        }
        let (here, elsewhere) = std::mem::take(&mut self.unsynced_names)
            .into_iter()
            .partition(|(name, _)| name.parent() == Some(path));
        self.unsynced_names = elsewhere;
        for change in here {
            rename(&mut self.durable_names, change);
        }
    }

    /// Writes down what is left after a power cut: everything that was synced, and of the rest
    /// what `survives` says, change by change.
    pub(crate) fn cut(&self, from: &Path, to: &Path, mut survives: impl FnMut() -> bool) {
        let mut names = self.durable_names.clone();
        for change in self.unsynced_names.iter().filter(|_| survives()) {
            rename(&mut names, change.clone());
        }
        for (name, file) in names {
            let file = &self.files[file];
            let mut bytes = file.durable.clone();
            for change in file.unsynced.iter().filter(|_| survives()) {
                apply(&mut bytes, change);
            }
            let path = to.join(name.strip_prefix(from).unwrap());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
}

fn rename(names: &mut HashMap<PathBuf, usize>, (name, file): (PathBuf, Option<usize>)) {
    match file {
        Some(file) => names.insert(name, file),
        None => names.remove(&name),
    };
}
