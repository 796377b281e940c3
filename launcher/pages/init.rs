//! nsl-init(1), from what nsl-init --help says; and from the definition of `nsl init`, which writes that program.

use crate::cli::texts;
use crate::man::{self, Page};
use crate::sections;
use clap::Command as Definition;
use std::error::Error;
use std::process::Command;

/// What `nsl-init --help` prints.
pub struct Help {
    pub usage: String,
    about: String,
    /// Options as they are given, and what is said of each.
    pub options: Vec<(String, String)>,
    notes: String,
}

impl Help {
    pub fn read() -> Result<Self, Box<dyn Error>> {
        let output = Command::new(env!("NSL_INIT")).arg("--help").output()?;
        let help = String::from_utf8(output.stdout)?;
        let (usage, rest) = help.split_once('\n').ok_or("nsl-init says nothing of itself")?;
        let usage = usage.strip_prefix("Usage: ").ok_or("the first line is no usage")?;
        let mut parts = rest.split("\n\n");
        let mut next = || parts.next().ok_or("there are three parts");
        let (about, options, notes) = (next()?, next()?, next()?);
        let options = options.lines().filter_map(|line| line.trim().split_once('\t'));
        let options = options.map(|(option, text)| (option.to_owned(), man::capitalised(text.trim()))).collect();
        Ok(Self { usage: usage.to_owned(), about: one_line(about), options, notes: one_line(notes) })
    }
}

pub const STATUS: &str = "the command's own; 128+N if signal N ended it; 127 if it was not found, 126 if it could not be \
    executed; 125 if nsl-init itself failed; 0 in the place of each status that -e names.";

pub fn page(writer: &Definition, help: &Help) -> (String, String) {
    let mut page = Page::new("nsl-init", "An init for containers, sandboxes and machines");
    page.synopsis(&format!("{}\n{}", help.usage, man::usage(writer)));
    page.paragraphs("DESCRIPTION", [&*help.about, &help.notes]);
    page.list("OPTIONS", &help.options);
    page.paragraphs("NSL INIT", texts::of("init").notes.iter().copied());
    let options = man::options(writer);
    page.add(options.strip_prefix(".SH OPTIONS\n").unwrap_or(&options));
    page.paragraphs("EXIT STATUS", [&*man::capitalised(STATUS)]);
    page.end(&sections::of("nsl-init"), &EXAMPLES)
}

const EXAMPLES: [(&str, &str); 2] = [
    ("nsl-init sh -c 'exit 3'", "Run a command, and exit with its status"),
    (
        "nsl-init --stop-signal QUIT -e 143 -- ./server",
        "A server that ends in order by SIGQUIT; its end by SIGTERM is no failure",
    ),
];

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
