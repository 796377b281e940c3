//! End-to-end tests: the real `nsl` with its real init, inside hosts that the harness makes, seen from both sides.

mod documents;
mod embed;
mod embedding;
mod ends;
mod entrypoint;
mod harness;
mod ids;
mod init;
mod jobs;
mod leaks;
mod namespaces;
mod nested;
mod network;
mod peers;
mod plan;
mod podman;
mod pty;
mod refusals;
mod root;
mod run;
mod seccomp;
mod security;
mod signals;
mod storm;
mod terminal;
mod userns;
