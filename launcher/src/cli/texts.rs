//! What the help of each subcommand says beside its options, and its man page as well. Words only; `help` sets them.

/// Of one subcommand.
pub struct Text {
    /// How it is used, where clap's own line is not plain enough.
    pub usage: Option<&'static str>,
    /// What one should know, a paragraph each.
    pub notes: &'static [&'static str],
    /// Command lines, and what each is for.
    pub examples: &'static [(&'static str, &'static str)],
    /// What its exit status means.
    pub status: &'static str,
}

/// Of commands that are run inside.
macro_rules! status_of_command {
    () => {
        "the command's own; 128+N if signal N ended it; 127 if it was not found, 126 if it could not be executed; 125 if \
         nsl itself failed"
    };
}

const EACH: &str =
    "0; 125 if one of the NAMEs could not be done, or nsl itself failed. The others are done all the same.";
const PLAIN: &str = "0; 125 if nsl itself failed.";

const RUN: Text = Text {
    usage: Some("nsl run [OPTIONS] [--] COMMAND [ARG]..."),
    notes: &[
        "Without --rootfs or --empty the command sees the host's own files and may change them as it likes: what it \
         writes stays in memory and is gone at the end, or is kept with --changes.",
    ],
    examples: &[
        ("nsl run -- bash", "A shell on a view of this host, with a network"),
        ("nsl run --network none -v $PWD:$PWD -- make", "A build that writes to this directory, and reaches nobody"),
        ("nsl run --rootfs alpine.tar.gz -- sh", "The same in the root that an archive holds"),
        ("nsl run --changes kept -- ./install.sh", "What it changes is kept, for nsl diff kept and nsl apply kept"),
        (
            "nsl run --network none -u 1000 --cap-drop ALL -m 512m --timeout 10m -- ./untrusted",
            "Code that one does not trust",
        ),
        ("nsl run -d --name web -p 8080:80 --restart always -- ./server", "A service, for nsl logs web, nsl stop web"),
    ],
    status: concat!(status_of_command!(), ", 124 if --timeout ended it."),
};

const EXEC: Text = Text {
    usage: Some("nsl exec [OPTIONS] NAME [--] COMMAND [ARG]..."),
    notes: &[
        "The command gets what the sandbox's own has: namespaces, cgroup, capabilities, system calls, limits and \
         environment. It ends with the sandbox, or when nsl exec is killed; what it leaves behind stays in the sandbox.",
    ],
    examples: &[("nsl exec web sh", "A shell beside the command of web"), ("nsl exec -u 0 web id", "As root of web")],
    status: concat!(status_of_command!(), "."),
};

const PS: Text = Text {
    usage: None,
    notes: &[
        "CPU is the time that all its processes have used since the start, in percent of one CPU; MEM is what they have \
         in memory, each counted for itself; PROCS leaves nsl-init out. Dead is one whose nsl was killed: nobody knows \
         how it ended.",
    ],
    examples: &[("nsl ps -aq", "The names of all, also of those that have ended")],
    status: PLAIN,
};

const LOGS: Text = Text {
    usage: None,
    notes: &[
        "What went to stdout goes to stdout, and what went to stderr to stderr. A line of nsl's own on stderr tells where \
         lines were dropped since the disk was full or too slow.",
    ],
    examples: &[
        ("nsl logs -f -n 20 web", "The last 20 lines, and all that come"),
        ("nsl logs -t --since 10m web", "Those of the last ten minutes, with their times"),
    ],
    status: PLAIN,
};

const TOP: Text = Text {
    usage: None,
    notes: &[
        "q or Ctrl-C ends it. If stdout is no terminal it shows what happens in one second, and ends. CPU is in percent of \
         one CPU, MEM is what each process has in memory.",
    ],
    examples: &[],
    status: PLAIN,
};

const INSPECT: Text = Text {
    usage: None,
    notes: &["It is one JSON array with an object for each NAME; docs/services.md has its schema."],
    examples: &[],
    status: EACH,
};

const STOP: Text = Text {
    usage: None,
    notes: &[
        "Each command gets its stop signal, and what it leaves behind after that; whatever has not ended in time is \
         killed. None is started again.",
    ],
    examples: &[("nsl stop -t 30s web db", "Both at once, with half a minute for each")],
    status: EACH,
};

const KILL: Text = Text {
    usage: None,
    notes: &[
        "The init inside hands the signal on to the command. With KILL all ends at once; what is meant to end it (KILL, \
         TERM, INT, QUIT, ABRT) also ends its restarts.",
    ],
    examples: &[("nsl kill -s HUP web", "Have a server read its configuration again")],
    status: EACH,
};

const WAIT: Text = Text {
    usage: None,
    notes: &["One number a line, in the order of the NAMEs."],
    examples: &[],
    status: "0, whatever theirs are; 125 if it is not known how one of the NAMEs ended, or nsl itself failed.",
};

const RM: Text = Text {
    usage: None,
    notes: &["Their logs go too. One that runs is not touched without --force."],
    examples: &[("nsl rm -f web", "Whether it runs, has ended, or never was")],
    status: EACH,
};

const UNIT: Text = Text {
    usage: Some("nsl unit NAME\n       nsl unit -- [OPTIONS] -- COMMAND [ARG]..."),
    notes: &[
        "The unit goes to stdout. systemd starts and restarts the sandbox then, in the place of --detach and --restart; \
         nsl ps and nsl exec find it as before. Without root a unit lies in ~/.config/systemd/user.",
    ],
    examples: &[
        ("nsl unit web >/etc/systemd/system/web.service", "Of a sandbox that runs, or is still known"),
        ("nsl unit -- -p 8080:80 -- ./server", "Of what would be one"),
    ],
    status: PLAIN,
};

const DIFF: Text = Text {
    usage: None,
    notes: &[
        "Each line is a change against the host as it is now: added, changed, removed, or metadata where only the mode, \
         the owner, the time or extended attributes differ. A directory's name ends with a slash; what comes or goes \
         with setuid, setgid or file capabilities says so.",
    ],
    examples: &[("nsl diff kept", "All changes"), ("nsl diff --content kept /etc", "Those in /etc as a patch")],
    status: "0; with --exit-code 1 if there are changes; 125 if nsl itself failed.",
};

const APPLY: Text = Text {
    usage: None,
    notes: &[
        "The changes are shown before anything is asked or done. If one of them cannot be applied, because the file was \
         changed on this host since the command ran or is not yours to change, nothing is: name the PATHs that you want. \
         A file is replaced at once, so nobody ever sees half of it.",
    ],
    examples: &[("nsl apply kept", "All changes, once you have said yes"), ("nsl apply -y kept /etc", "Those in /etc")],
    status: "0 if all is applied or there was nothing to do; 1 if the answer was no, or something stands against it; 125 \
             if nsl itself failed, also half-way: it says how far it came, and can be run again.",
};

const INIT: Text = Text {
    usage: None,
    notes: &[
        "The file is static, executable for everybody, and needs nothing else: as the ENTRYPOINT of an image, for podman \
         run --init --init-path FILE, for dockerd --init-path FILE, or as the /init of a machine. FILE --help tells what \
         it can do.",
        "Its name goes to stdout. A file that is there already is replaced at once, also while it is executed.",
    ],
    examples: &[("nsl init -o rootfs/sbin/nsl-init", "Into the root of an image")],
    status: PLAIN,
};

const CLEAN: Text = Text {
    usage: None,
    notes: &[
        "A sandbox leaves nothing but what is the same for all: the nftables table inet nsl, which is removed here, unless \
         there are sandboxes that it keeps apart. The next one makes it anew. With it go the cgroups and the \
         half-unpacked roots of nsl that were killed.",
        "That this host forwards is left as it is, since others may rely on it; the settings are named. Roots that were \
         unpacked stay in their store.",
    ],
    examples: &[],
    status: "0 if nothing is left; 125 if something had to stay, or nsl itself failed.",
};

const CHECK: Text = Text {
    usage: None,
    notes: &[
        "A line each: ok; limited, where something of nsl's is not to be had; missing, where nsl run does not work; absent, \
         where only who asks for it needs it; unknown, where it could not be tried. What mends it stands behind \"hint:\". \
         The last line is the sum.",
        "What only a trial tells is tried: sandboxes start and end, the network of root's in one of its own. Nothing of this \
         host's is changed; its kernel may load the modules that nsl run would have it load.",
    ],
    examples: &[],
    status: "0 if nsl run works, 1 if it does not; 125 if nsl check itself failed.",
};

const NONE: Text = Text { usage: None, notes: &[], examples: &[], status: PLAIN };

pub fn of(subcommand: &str) -> &'static Text {
    match subcommand {
        "run" => &RUN,
        "ps" => &PS,
        "logs" => &LOGS,
        "top" => &TOP,
        "exec" => &EXEC,
        "inspect" => &INSPECT,
        "stop" => &STOP,
        "kill" => &KILL,
        "wait" => &WAIT,
        "rm" => &RM,
        "unit" => &UNIT,
        "diff" => &DIFF,
        "apply" => &APPLY,
        "init" => &INIT,
        "check" => &CHECK,
        "clean" => &CLEAN,
        _ => &NONE,
    }
}
