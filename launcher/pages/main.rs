//! `make pages`: writes the man pages, the completions of bash, zsh and fish, and parts of docs/reference.md, all made
//! from the definitions that nsl reads its command line by, and from what nsl-init says of itself; and the notices of what
//! is linked in. No part of nsl.

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
mod reference;
mod sections;

use clap::{Command, CommandFactory};
use cli::help::{Form, dress};
use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).ok_or("usage: pages DIRECTORY")?;
    let directory = Path::new(&directory);
    let mut nsl = dress(cli::Cli::command(), Form::Full);
    nsl.build();
    let init = init::Help::read()?;
    let kinds = [
        ("man", man_pages(&nsl, &init)),
        ("completions", completions::all()),
        ("reference", reference::parts(&nsl, &init)),
        (".", notices::all()?),
    ];
    for (name, files) in kinds {
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

fn man_pages(nsl: &Command, help: &init::Help) -> Files {
    let mut pages = vec![man::nsl(nsl)];
    for subcommand in nsl.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        // What `nsl init` writes is a program of that name.
        let is_init = subcommand.get_name() == "init";
        pages.push(if is_init { init::page(subcommand, help) } else { man::subcommand(subcommand) });
    }
    pages
}
