//! The network of a sandbox.
