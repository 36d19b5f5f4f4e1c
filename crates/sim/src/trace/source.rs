//! Files as they come: gzipped or not, and no line longer than is expected.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;

use super::TraceError;
use crate::limits::TRACE_BEGINNING_BYTES_MAX;

/// What files are read through.
pub(super) type Reader = Box<dyn Read + Send>;

/// What gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A file that is open, and how its text begins.
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// Up to [`TRACE_BEGINNING_BYTES_MAX`] of its text; not taken from `reader`.
    pub(super) beginning: Vec<u8>,
    /// All of its text.
    pub(super) reader: Reader,
}

impl Source {
    /// Opens a file, gzipped if it begins as gzip does, whatever it is called.
    pub(super) fn open(path: &Path) -> Result<Self, TraceError> {
        let unreadable = |source| TraceError::Open {
            path: path.to_owned(),
            source,
        };
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let gzipped = file.fill_buf().map_err(unreadable)?.starts_with(&GZIP);
        let mut reader: Reader = if gzipped {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let mut beginning = Vec::new();
        let most = TRACE_BEGINNING_BYTES_MAX as u64;
        let read = reader.by_ref().take(most).read_to_end(&mut beginning);
        read.map_err(unreadable)?;
        Ok(Self {
            path: path.to_owned(),
            reader: Box::new(io::Cursor::new(beginning.clone()).chain(reader)),
            beginning,
        })
    }
}

/// Fails on a line that is too long, before it is held in memory.
pub(super) struct BoundedLines<R> {
    reader: R,
    length: usize,
    most: usize,
}

impl<R> BoundedLines<R> {
    pub(super) const fn new(reader: R, most: usize) -> Self {
        Self {
            reader,
            length: 0,
            most,
        }
    }
}

impl<R: Read> Read for BoundedLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        for line in buffer[..count].split_inclusive(|it| *it == b'\n') {
            self.length += line.len();
            if self.length > self.most {
                let reason = format!("a line is longer than {} bytes", self.most);
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            if line.ends_with(b"\n") {
                self.length = 0;
            }
        }
        Ok(count)
    }
}

/// A line of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextLine<'a> {
    /// From 1.
    pub(super) number: u64,
    /// Without blanks around it, and not empty.
    pub(super) text: &'a [u8],
    /// Whether it had an end. One that has none may still be written.
    pub(super) ended: bool,
}

/// The lines of a file, one at a time.
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<BoundedLines<Reader>>,
    line: u64,
    held: Vec<u8>,
}

impl Lines {
    /// Lines of at most so many bytes.
    pub(super) fn new(path: &Path, reader: Reader, most: usize) -> Self {
        Self {
            path: path.to_owned(),
            reader: BufReader::new(BoundedLines::new(reader, most)),
            line: 0,
            held: Vec::new(),
        }
    }

    /// The next line that is not blank; `None`: there is none.
    pub(super) fn next(&mut self) -> Result<Option<TextLine<'_>>, TraceError> {
        loop {
            self.held.clear();
            self.line += 1;
            let read = self.reader.read_until(b'\n', &mut self.held);
            let count =
                read.map_err(|it| TraceError::line(&self.path, self.line, it.to_string()))?;
            if count == 0 {
                return Ok(None);
            }
            if !self.held.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some(TextLine {
            number: self.line,
            text: self.held.trim_ascii(),
            ended: self.held.ends_with(b"\n"),
        }))
    }
}
