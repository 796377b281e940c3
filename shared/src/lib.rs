//! What `nsl` and `nsl-init` must agree on, and nothing else: the boot message, exit codes, signal names.
//!
//! No I/O, no allocation, no unsafe code: everything here is tested without a kernel.
#![no_std]
#![forbid(unsafe_code)]

pub mod boot;
pub mod exit;
pub mod signal;
