//! What a profile says is what the same words would, whichever options there are, and whatever their values hold.

use super::layer::{self, Layer};
use super::table::{Table, Takes, WAITING};
use super::{Base, file, find, paths, write};
use crate::cli::Run;
use clap::error::ErrorKind;
use clap::{Args, Command};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

/// The options that a profile can hold, by their numbers.
fn options(table: &Table) -> Vec<usize> {
    let of_none = |index: &usize| table.find(table.long(*index)).is_some();
    (0..table.len()).filter(of_none).collect()
}

fn read(text: &str, table: &mut Table) -> Layer {
    let [layer, _] =
        file::read(text, table).unwrap_or_else(|fault| panic!("{}\n{text}", fault.into_error(String::new())));
    layer
}

fn fault(text: &str) -> String {
    let fault = file::read(text, &mut Table::new()).err().unwrap_or_else(|| panic!("not refused: {text}"));
    fault.into_error("read it".to_owned()).to_string()
}

/// What comes of profiles and, last, of words.
fn merged(profiles: &[&str], words: &str) -> String {
    let mut table = Table::new();
    let mut all = Layer::new();
    for text in profiles {
        let later = read(text, &mut table);
        layer::put(&mut all, later, &table);
    }
    let words: Vec<OsString> = words.split_whitespace().map(Into::into).collect();
    let typed = table.read(&words).unwrap().layer;
    let own: Vec<_> = typed.iter().map(|(index, _)| *index).collect();
    layer::put(&mut all, typed, &table);
    layer::leave_what_waits(&mut all, &own, &table);
    table.words(&all).join(OsStr::new(" ")).into_string().unwrap()
}

/// Always the same numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// A value for an option: one of those that it knows, or else any text.
    fn value(&mut self, table: &mut Table, index: usize) -> OsString {
        const KNOWN: [&str; 11] =
            ["json", "none", "7", "true", "host", "new", "file", "debug", "veth:a", "ns:/x y", "-1"];
        const LETTERS: [&str; 16] =
            ["a", "Z", "\"", "\\", "\n", "\t", "\r", "\u{1}", "\u{7f}", "'", "#", "=", "$x", " ", "ü€😀", "\u{85}"];
        for _ in 0..1000 {
            let text = match self.below(2) {
                0 => KNOWN[self.below(KNOWN.len())].to_owned(),
                _ => (0..=self.below(12)).map(|_| LETTERS[self.below(LETTERS.len())]).collect(),
            };
            if table.check(index, &[OsString::from(&text)]).is_ok() {
                return text.into();
            }
        }
        panic!("no value is known for --{}", table.long(index))
    }
}

#[test]
fn what_is_printed_is_read_again_as_the_same_for_every_option() {
    let mut table = Table::new();
    let options = options(&table);
    assert!(options.len() > 60, "{}", options.len());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..2 * options.len() {
        // Each of them alone, then many at once.
        let count = if round < options.len() { 1 } else { 1 + random.below(options.len()) };
        let mut layer = Layer::new();
        for turn in 0..count {
            let index = if round < options.len() {
                options[round]
            } else {
                options[(random.below(3) + turn * 2) % options.len()]
            };
            let values = match table.takes(index) {
                Takes::Nothing => vec!["true".into()],
                Takes::One => vec![random.value(&mut table, index)],
                Takes::Many | Takes::Command => {
                    (0..=random.below(3)).map(|_| random.value(&mut table, index)).collect()
                }
            };
            layer.retain(|(other, _)| *other != index && !table.conflict(index, *other));
            layer.push((index, values));
        }
        layer.sort();
        let text = write::toml(&layer, &table).unwrap();
        assert_eq!(read(&text, &mut table), layer, "{text}");
        // And so it is as words.
        let words = table.words(&layer);
        assert_eq!(table.read(&words).unwrap().layer, layer, "{words:?}\n{text}");
    }
}

#[test]
fn what_is_not_utf8_cannot_be_printed() {
    use std::os::unix::ffi::OsStrExt;
    let table = Table::new();
    let layer = vec![(table.find("hostname").unwrap(), vec![OsStr::from_bytes(b"\xff").to_owned()])];
    assert!(write::toml(&layer, &table).unwrap_err().to_string().contains("hostname"));
}

#[test]
fn what_comes_later_wins_and_lists_grow() {
    let base = "hostname = 'a'\nread-only = true\nenv = ['A=1']\nvolume = ['/a:/a']\ncommand = ['one', '-x']";
    assert_eq!(merged(&[base], ""), "--read-only --volume=/a:/a --hostname=a --env=A=1 -- one -x");
    assert_eq!(
        merged(&[base, "env = ['B=2']\nhostname = 'b'"], "-e C=3 two -y"),
        "--read-only --volume=/a:/a --hostname=b --env=A=1 --env=B=2 --env=C=3 -- two -y"
    );
    assert_eq!(merged(&["cpus = 1.5\npids-limit = -1"], "-dx"), "--ephemeral --detach --cpus=1.5 --pids-limit=-1");
}

#[test]
fn what_a_profile_says_can_be_taken_back() {
    let base = "hostname = 'a'\nread-only = true\nenv = ['A=1']\nhealth-retries = 3";
    assert_eq!(merged(&[base], "--hostname= --read-only=false -e= --health-retries="), "");
    assert_eq!(merged(&[base], "-e B=1 -e= -e C=1"), "--read-only --hostname=a --env=C=1");
    assert_eq!(merged(&[base, "hostname = ''\nread-only = false\nenv = ['', 'B=2']"], ""), "--env=B=2");
    assert_eq!(merged(&[base, "env = []"], "--read-only=true"), "--read-only --hostname=a --env=A=1");
}

#[test]
fn what_excludes_each_other_is_what_came_later() {
    for (before, words, after) in [
        ("empty = true", "--rootfs /r", "--rootfs=/r"),
        ("rootfs = '/r'\nephemeral = true", "--empty", "--empty"),
        ("rootfs = '/r'\nephemeral = true\nread-only = true", "--changes c", "--changes=c"),
        ("changes = '/c'", "--read-only", "--read-only"),
        ("ip = ['10.0.0.2/24']\ngateway = ['10.0.0.1']", "--pool 10.1.0.0/16", "--pool=10.1.0.0/16"),
        ("detach = true\nrestart = 'always'", "-t", "--tty"),
        ("tty = true", "-T", "--no-tty"),
        ("no-tty = true", "-tT", "--no-tty"),
        ("volume = ['/a:/x', '/a:/y']\ntmpfs = ['/z:ro']", "-v /b:/x/", "--volume=/a:/y --volume=/b:/x/ --tmpfs=/z:ro"),
        ("mount = ['type=bind,src=/a,dst=/x']\ntmpfs = ['/z:ro']", "-v /b:/x --tmpfs /z", "--volume=/b:/x --tmpfs=/z"),
        ("volume = ['/a:/x']", "--mount type=tmpfs,target=/x", "--mount=type=tmpfs,target=/x"),
    ] {
        assert_eq!(merged(&[before], words), after);
    }
    // What one place says that cannot be is left for others to refuse.
    assert_eq!(merged(&["rootfs = '/r'\nempty = true"], ""), "--rootfs=/r --empty");
    assert_eq!(merged(&["volume = ['/a:/x']\ntmpfs = ['/x']"], ""), "--volume=/a:/x --tmpfs=/x");
}

#[test]
fn an_option_waits_for_the_one_that_it_is_about() {
    let base = "health-interval = '5s'\nrestart = 'always'\ngateway = ['10.0.0.1']";
    assert_eq!(merged(&[base], ""), "");
    assert_eq!(
        merged(&[base], "-d --health-cmd true"),
        "--detach --restart=always --health-cmd=true --health-interval=5s"
    );
    assert_eq!(merged(&[base], "--restart no"), "--restart=no");
}

/// The one list of what clap does not tell.
#[test]
fn every_option_that_needs_another_one_is_known() {
    let value = |table: &mut Table, index| Random(42).value(table, index);
    let mut table = Table::new();
    let mut found = BTreeSet::new();
    for index in options(&table) {
        let long = table.long(index).to_owned();
        if table.takes(index) == Takes::Command {
            continue;
        }
        let values = vec![value(&mut table, index)];
        let layer = vec![(index, values), (table.command(), vec!["true".into()])];
        let words = [vec!["nsl run".into()], table.words(&layer)].concat();
        match Run::augment_args(Command::new("nsl run")).try_get_matches_from(words) {
            Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => drop(found.insert(long)),
            result => drop(result.unwrap()),
        }
    }
    assert_eq!(found, WAITING.map(|(waiting, _)| waiting.to_owned()).into());
}

#[test]
fn relative_paths_begin_where_their_profile_lies() {
    let base = Base { directory: "/etc/x".into(), home: Some("/home/u".into()), inside: true };
    let on_host = Base { directory: "/cwd".into(), home: None, inside: false };
    for (long, value, in_a_profile, typed) in [
        ("rootfs", "root", "/etc/x/root", "/cwd/root"),
        ("changes", "../c", "/etc/c", "/c"),
        ("env-file", "~/e", "/home/u/e", "/cwd/~/e"),
        ("pidfile", "/run/p", "/run/p", "/run/p"),
        ("workdir", ".", "/etc/x", "."),
        ("seccomp", "default", "", ""),
        ("seccomp", "./default", "/etc/x/default", "/cwd/default"),
        ("network", "ns:n", "ns:/etc/x/n", "ns:/cwd/n"),
        ("network", "veth:n", "", ""),
        ("volume", ".:.", "/etc/x:/etc/x", "/cwd:."),
        ("volume", "~/.a/../b:/b:ro", "/home/u/.a/../b:/b:ro", "/cwd/~/.a/../b:/b:ro"),
        ("volume", "odd", "odd", "odd"),
        ("tmpfs", "~:mode=700", "/home/u:mode=700", "~:mode=700"),
        ("landlock", "ro=.,rw=-~/b,ro=/usr", "ro=/etc/x,rw=-/home/u/b,ro=/usr", "ro=.,rw=-~/b,ro=/usr"),
        ("mount", "type=bind,src=.,dst=a", "type=bind,src=/etc/x,dst=/etc/x/a", "type=bind,src=/cwd,dst=a"),
        ("mount", "\"src=a,\"\"b\",ro", "\"src=/etc/x/a,\"\"b\",ro", "\"src=/cwd/a,\"\"b\",ro"),
        ("health-cmd", "./check", "", ""),
    ] {
        let shown = |base| paths::resolved(long, value.as_bytes(), base).unwrap_or_default().into_string().unwrap();
        assert_eq!((shown(&base), shown(&on_host)), (in_a_profile.to_owned(), typed.to_owned()), "{long} {value}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, told) in [
        ("\n  hostnam = 'x'", "line 2, column 3: there is no option 'hostnam' (hint: did you mean hostname?)"),
        ("read_only = true", "there is no option 'read_only' (hint: did you mean read-only?)"),
        ("profile = ['x']", "line 1, column 1: profile is for the command line alone"),
        ("print-profile = true", "for the command line alone"),
        ("m = '64m'", "there is no option 'm'"),
        ("dns = ['ü', ]\nnetwork = 'all'", "line 2, column 1: invalid value 'all' for '--network <KIND>': it is veth"),
        ("health-retries = 0", "'--health-retries <N>': 0 is not in 1"),
        ("read-only = 'yes'", "read-only is true or false"),
        ("volume = '/a:/b'", "volume is a list, such as [\"one\", \"another\"]"),
        ("env = ['A=1', true]", "env is a list of texts"),
        ("env = [['A=1']]", "line 1, column 8: no option takes lists in a list"),
        ("env = { A = 1 }", "line 1, column 7: no option takes a table"),
        ("preserve-fds = 0x3", "line 1, column 16: numbers are decimal here"),
        ("log.size = '1m'", "line 1, column 1: there is no option 'log.size'"),
        ("hostname = ['a']", "hostname takes one text or number"),
        ("command = 'sh -c x'", "command is a list"),
        ("timeout = 07:32:00", "line 1, column 11: no option takes a date or a time"),
        ("hostname = \"a\\u0000b\"", "hostname holds a NUL byte"),
        ("hostname = 'a'\nhostname = 'b'", "line 2, column 1: hostname is there twice"),
        ("'ü' = 1\nhostname = ", "line 2, column 12: "),
        ("[root]\nhost = 'x'", "line 2, column 1: there is no option 'host'"),
        ("[user]\nhostname = 'x'", "a profile has no table but [root]"),
        ("[[root]]\nhostname = 'x'", "a profile has no table but [root]"),
        ("[root.x]\nhostname = 'x'", "a profile has no table but [root]"),
        ("root = true", "there is no option 'root'"),
    ] {
        let fault = fault(text);
        assert!(fault.starts_with("cannot read it: line ") && fault.contains(told), "{text}\n{fault}");
    }
}

#[test]
fn those_that_come_with_nsl_are_what_a_command_line_could_be() {
    for (name, text) in find::OWN {
        let mut table = Table::new();
        let mut all = Layer::new();
        for part in file::read(text, &mut table).unwrap_or_else(|fault| panic!("{}", fault.into_error(name.into()))) {
            layer::put(&mut all, part, &table);
        }
        layer::leave_what_waits(&mut all, &[], &table);
        all.push((table.command(), vec!["true".into()]));
        let words = [vec!["nsl run".into()], table.words(&all)].concat();
        Run::augment_args(Command::new("nsl run")).try_get_matches_from(words).unwrap();
    }
}

#[test]
fn whatever_a_file_holds_is_read_or_refused() {
    let words: [&[u8]; 8] =
        [b"[root]\n", b"= [", b"= true\n", b"\"\\u0000\"", b"volume", b"{ a = 1 }", b"1979-05-27", b"''"];
    let mut table = Table::new();
    let table = std::cell::RefCell::new(&mut table);
    crate::mutation::check_many("profiles", &words, 1000, |input| {
        if let Ok(text) = std::str::from_utf8(input) {
            drop(file::read(text, &mut table.borrow_mut()));
        }
    });
}
