//! A fake world with a seed: emulated providers and replayed traffic.
