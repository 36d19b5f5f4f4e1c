//! `tidegate-audit TRANSCRIPT`: reads what a replayed day wrote down, and nothing else.
//!
//! Exit codes: 0 nothing was found, 1 a promise was broken, 2 the transcript can't be read.

use std::{env, fs::File, io::BufReader, process::ExitCode};

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is what it is for"
)]
fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: tidegate-audit TRANSCRIPT");
        return ExitCode::from(2);
    };
    let shown = path.to_string_lossy().into_owned();
    let audited = File::open(&path)
        .map_err(|error| error.to_string())
        .and_then(|file| {
            tidegate_auditor::audit(BufReader::new(file)).map_err(|error| error.to_string())
        });
    match audited {
        Ok(report) => {
            print!("{report}");
            ExitCode::from(u8::from(!report.findings.is_empty()))
        }
        Err(error) => {
            eprintln!("tidegate-audit: {shown}: {error}");
            ExitCode::from(2)
        }
    }
}
