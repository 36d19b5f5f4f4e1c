//! The program as its users meet it: started, asked, signalled, and read.

mod commands;
mod configuration;
mod keys;
mod lifecycle;
mod run;
mod unwritable;
mod wire;
mod world;
