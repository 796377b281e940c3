//! The parts of nsl-init that need no kernel, so that they are tested with std: its command lines and messages, the
//! words of errors, the search of PATH, what is to be read of the kernel's files.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod cli;
pub mod errno;
pub mod getopt;
mod help;
pub mod kernel_line;
pub mod message;
pub mod mountinfo;
pub mod number;
pub mod path;

// The checks of the fuzz targets name the library as those do.
#[cfg(test)]
extern crate self as nsl_init;
#[cfg(test)]
#[path = "../fuzz/test.rs"]
mod fuzz;
