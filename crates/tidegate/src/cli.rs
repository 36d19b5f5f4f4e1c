//! The command line.

use std::net::SocketAddr;

use crate::config::Settings;

/// Says where it serves.
pub(crate) fn greet(at: SocketAddr, _settings: &Settings, watched: &str) {
    eprintln!("tidegate serves on http://{at}; watched: {watched}");
}
