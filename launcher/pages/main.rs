//! `make pages`: writes the man pages and the completions of bash, zsh and fish, made from the definitions that nsl reads
//! its command line by, and from what nsl-init says of itself; and the notices of what is linked in. No part of nsl.

#[allow(dead_code, reason = "nsl uses all of it")]
#[path = "../src/security/capabilities.rs"]
mod capabilities;
#[allow(dead_code, unused_imports, reason = "nsl uses all of it")]
#[path = "../src/cli/mod.rs"]
mod cli;
mod completions;
mod init;
mod man;
mod notices;
mod sections;

use clap::CommandFactory;
use cli::help::{Form, dress};
use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).ok_or("usage: pages DIRECTORY")?;
    let directory = Path::new(&directory);
    for (name, files) in [("man", man_pages()?), ("completions", completions::all()), (".", notices::all()?)] {
        let directory = directory.join(name);
        fs::create_dir_all(&directory)?;
        for (file, text) in files {
            fs::write(directory.join(file), text)?;
        }
    }
    Ok(())
}

/// Files and what is in them.
type Files = Vec<(String, String)>;

fn man_pages() -> Result<Files, Box<dyn Error>> {
    let mut nsl = dress(cli::Cli::command(), Form::Full);
    nsl.build();
    let mut pages = vec![man::nsl(&nsl)];
    for subcommand in nsl.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        // What `nsl init` writes is a program of that name.
        let is_init = subcommand.get_name() == "init";
        pages.push(if is_init { init::page(subcommand)? } else { man::subcommand(subcommand) });
    }
    Ok(pages)
}
