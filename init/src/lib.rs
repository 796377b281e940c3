//! The parts of nsl-init that need no kernel, so that they are tested with std: its command lines and messages, the
//! words of errors, the search of PATH.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod cli;
pub mod errno;
pub mod getopt;
mod help;
pub mod message;
pub mod number;
pub mod path;
