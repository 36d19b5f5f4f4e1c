//! What the conformance tests are made of.

pub(crate) mod client;
pub(crate) mod gated;
pub(crate) mod sides;
pub(crate) mod upstream;
pub(crate) mod world;

pub(crate) use client::{Ask, Client, Ended, Heard};
pub(crate) use sides::three_sides;
pub(crate) use upstream::{Scripted, Step, nobody};
pub(crate) use world::{OPERATORS, PATIENCE, World};
