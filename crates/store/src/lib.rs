//! Everything durable: memory and SQLite behind the domain's ports.
