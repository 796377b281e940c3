//! What the init says of itself: help, usage, version and licence, under each of its names. The marks are those of
//! `message`.

use crate::cli::{Answer, Program};

pub const LICENSE: &str = concat!("nsl-init is licensed under ", env!("CARGO_PKG_LICENSE"), "%|");
pub const SEE_HELP: &str = " (hint: see nsl-init --help)%|";

const HELP: &str = "\
Usage: nsl-init [OPTIONS] [--] COMMAND [ARG]...
Run COMMAND as a child: forward signals to it, reap every orphan, end what it leaves behind, exit with its status.

  -g\t\t\tforward signals to the command's process group
  -c\t\t\tleave the command in the init's process group
  -r FROM:TO\t\tforward signal FROM as TO; 0 drops it (repeatable)
  -e CODE\t\texit with 0 instead of CODE (repeatable)
  -p SIGNAL\t\tget SIGNAL when the parent ends
  -s\t\t\tbecome a child subreaper (the default when not PID 1)
  -P\t\t\trun no command: reap until SIGTERM or SIGINT
  --grace TIME\t\twhat is left gets TIME to end, then SIGKILL [default: 10s]
  --stop-signal SIG\task to end with SIG instead of SIGTERM
  --no-kill-rest\tleave alone what the command leaves behind
  --wait-all\t\tend when the last process has ended
  --ready-fd N\t\twrite the command's process ID to descriptor N once it runs
  --machine\t\tbe the init of a machine, or fail
  -w\t\t\twarn about each orphan that is reaped
  -v\t\t\tsay more (repeatable)
  -l\t\t\tshow the licence
  --version\t\tshow the version
  -h, --help\t\tshow this help

TIME is like 10s, 500ms or 2m, SIGNAL like TERM, SIGTERM, 15 or RTMIN+3. Called tini, docker-init, dumb-init,
catatonit or podman-init, it does as that program does.
";

/// How `program` is used, as it says when it is used wrongly. dumb-init then says only what is wrong.
pub(crate) fn usage(program: Program) -> &'static str {
    match program {
        Program::NslInit => HELP,
        Program::Tini => {
            "\
%b (tini version 0.19.0)
Usage: %b [OPTIONS] [--] PROGRAM [ARG]... | --version
This is nsl-init, in the place of tini: -g -e CODE -p SIGNAL -s -w -v -h -l
"
        }
        Program::DumbInit => "",
        Program::Catatonit => "usage: catatonit [-ghLPV] [--] PROGRAM [ARG]...%|",
    }
}

/// What is said when the options are not followed by a command.
pub(crate) fn no_command(program: Program) -> [&'static str; 2] {
    match program {
        Program::NslInit => ["nsl-init: cannot start: no command given (hint: nsl-init COMMAND [ARG]...)%|", ""],
        Program::Tini => [usage(program), ""],
        Program::DumbInit => ["Usage: %a [option] command [arg]...%|See %a --help.%|", ""],
        Program::Catatonit => ["ERROR (catatonit:%p): missing program name%|", usage(program)],
    }
}

/// The answer to `-h`, on the stream that the program uses for it.
pub(crate) fn help(program: Program) -> Answer {
    match program {
        Program::NslInit | Program::Tini => Answer::new(0, false, [usage(program), ""]),
        Program::DumbInit => {
            let options = "\
Usage: %a [option] command [arg]...
This is nsl-init, in the place of dumb-init: -c, --single-child; -r, --rewrite s:r; -v, --verbose; -h, --help; \
-V, --version
";
            Answer::new(0, true, ["dumb-init v1.2.5%|", options])
        }
        Program::Catatonit => {
            let options = "This is nsl-init, in the place of catatonit: -g -P -h -L; -V, --version%|";
            Answer::new(0, true, [usage(program), options])
        }
    }
}

/// The version: of the program that the init stands for, since scripts compare it.
pub(crate) fn version(program: Program) -> Answer {
    let version = match program {
        Program::NslInit => concat!("nsl-init ", env!("CARGO_PKG_VERSION"), "%|"),
        Program::Tini => "tini version 0.19.0%|",
        Program::DumbInit => "dumb-init v1.2.5%|",
        Program::Catatonit => "tini version 0.1.7_catatonit%|",
    };
    Answer::new(0, program == Program::DumbInit, [version, ""])
}
