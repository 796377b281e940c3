//! One man page: its sections in the order that man-pages(7) gives them. Options are clap_mangen's.

use crate::cli::{help, texts};
use crate::sections::{self, Sections};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A page in the making.
pub struct Page {
    name: String,
    roff: String,
}

impl Page {
    /// Its head, and what it is in a line.
    pub fn new(name: &str, about: &str) -> Self {
        let version = concat!("nsl ", env!("CARGO_PKG_VERSION"));
        let mut roff = Roff::new();
        roff.control("TH", [&*name.to_uppercase(), "1", &date(), version, "nsl"]);
        // `man` finds this line by its form.
        roff.control("SH", ["NAME"]).text([roman(format!("{name} - {}", uncapitalised(about)))]);
        Self { name: name.to_owned(), roff: roff.render() }
    }

    /// Forms of use, a line each.
    pub fn synopsis(&mut self, usage: &str) {
        self.section("SYNOPSIS", |roff| {
            for (number, form) in usage.lines().map(str::trim).enumerate() {
                if number > 0 {
                    roff.control("br", []);
                }
                roff.text(emphasised(form));
            }
        });
    }

    pub fn paragraphs<'a>(&mut self, heading: &str, paragraphs: impl IntoIterator<Item = &'a str>) {
        self.section(heading, |roff| {
            for (number, text) in paragraphs.into_iter().enumerate() {
                if number > 0 {
                    roff.control("PP", []);
                }
                roff.text(emphasised(text));
            }
        });
    }

    /// Terms, and what is said of each.
    pub fn list(&mut self, heading: &str, entries: &[(impl AsRef<str>, impl AsRef<str>)]) {
        if !entries.is_empty() {
            self.section(heading, |roff| {
                for (term, text) in entries {
                    item(roff, term.as_ref(), text.as_ref());
                }
            });
        }
    }

    pub fn section(&mut self, heading: &str, fill: impl FnOnce(&mut Roff)) {
        let mut roff = Roff::new();
        roff.control("SH", [heading]);
        fill(&mut roff);
        self.add(&roff.render());
    }

    /// Each piece begins with the same definition of an apostrophe, which is needed once.
    pub fn add(&mut self, roff: &str) {
        self.roff.extend(roff.split_inclusive('\n').skip_while(|line| is_preamble(line)));
    }

    /// The file, and what is in it.
    pub fn end(mut self, sections: &Sections, examples: &[(&str, &str)]) -> (String, String) {
        self.list("ENVIRONMENT", sections.environment);
        self.list("FILES", sections.files);
        self.list("EXAMPLES", examples);
        self.section("SEE ALSO", |roff| {
            let last = sections.see_also.len();
            for (number, page) in (1..).zip(sections.see_also) {
                let (name, section) = page.split_once('(').unwrap_or((page, ""));
                let comma = if number < last { "," } else { "" };
                roff.text([bold(name), roman(format!("({section}{comma}"))]);
            }
        });
        (format!("{}.1", self.name), self.roff)
    }
}

/// nsl(1).
pub fn nsl(cli: &Command) -> (String, String) {
    let about = cli.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = Page::new("nsl", &about);
    page.synopsis("nsl COMMAND [OPTIONS] [ARG]...");
    page.paragraphs("DESCRIPTION", [
        "nsl run executes a command in namespaces of its own: with its own processes, root directory, network, hostname \
         and a real init, which is nsl-init(1). There is no image to be had before, no daemon and no configuration: \
         without options the command sees the host's own files, which it may change as it likes, since what it writes \
         stays in memory.",
        "A sandbox with a name lives on without its caller if that is asked for, and the other subcommands find it.",
        "Without root all is the same in a user namespace, as far as the kernel lets an ordinary user.",
    ]);
    page.section("COMMANDS", |roff| {
        for (heading, subcommands) in help::groups(cli) {
            if !heading.is_empty() {
                roff.control("SS", [heading]);
            }
            for subcommand in subcommands {
                let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
                item(roff, &format!("nsl-{}(1)", subcommand.get_name()), &about);
            }
        }
    });
    page.list(
        "OPTIONS",
        &[("-h, --help", "Show this in brief; behind a command, its options"), ("-V, --version", "Show the version")],
    );
    page.paragraphs(
        "EXIT STATUS",
        ["That of the command that nsl run and nsl exec execute; 125 if nsl itself failed, and said why in a line on \
         stderr. The page of each subcommand has the rest."],
    );
    page.end(&sections::of("nsl"), texts::of("run").examples)
}

/// The page of a subcommand.
pub fn subcommand(command: &Command) -> (String, String) {
    let name = format!("nsl-{}", command.get_name());
    let text = texts::of(command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = Page::new(&name, &about);
    page.synopsis(&usage(command));
    page.paragraphs("DESCRIPTION", if text.notes.is_empty() { vec![&*about] } else { text.notes.to_vec() });
    page.add(&options(command));
    page.paragraphs("EXIT STATUS", [&*capitalised(text.status)]);
    page.end(&sections::of(&name), text.examples)
}

pub fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    usage.trim_start_matches("Usage:").trim().to_owned()
}

/// The options, under the headings of the help.
pub fn options(command: &Command) -> String {
    let command = command.clone().mut_arg("help", |arg| arg.help("Show all this; -h shows less"));
    let mut bytes = Vec::new();
    let rendered = Man::new(command).render_options_section(&mut bytes);
    let rendered = rendered.map(|()| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let mut roff = String::new();
    for line in rendered.lines().skip_while(|line| is_preamble(line)) {
        match line.strip_prefix(".SH ").filter(|heading| *heading != "OPTIONS") {
            None => roff.push_str(line),
            Some(heading) => {
                let (first, rest) = heading.split_at(1);
                roff.extend([".SS ", first, &rest.to_lowercase()]);
            }
        }
        roff.push('\n');
    }
    roff
}

fn is_preamble(line: &str) -> bool {
    line.starts_with(".ie ") || line.starts_with(".el ")
}

fn item(roff: &mut Roff, term: &str, text: &str) {
    roff.control("TP", []).text([bold(term)]).text(emphasised(text));
}

/// Options, and names of other pages, in bold.
fn emphasised(text: &str) -> Vec<Inline> {
    let mut inlines = Vec::new();
    for word in text.split_inclusive(' ') {
        let bare = word.trim_end_matches([' ', ',', '.', ';', ':']);
        let is_option = bare.len() > 1 && bare.starts_with('-') && bare != "--";
        if is_option {
            inlines.push(bold(bare));
            inlines.push(roman(&word[bare.len()..]));
        } else {
            inlines.push(roman(word));
        }
    }
    inlines
}

fn uncapitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect()
}

pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// The day that `SOURCE_DATE_EPOCH` names, so that the same source gives the same pages; else today.
fn date() -> String {
    let seconds = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let time = seconds.map_or_else(SystemTime::now, |seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    humantime::format_rfc3339_seconds(time).to_string().chars().take(10).collect()
}
