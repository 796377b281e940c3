//! nsl: parses, runs, exits; the only place where errors are printed.
mod error;
mod net;
fn main() {}
