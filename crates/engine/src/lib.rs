//! Runs the domain: identify, estimate, route, reserve, send, settle.
