//! Wire formats of the providers: bytes to events and back; usage, limits, prices.
