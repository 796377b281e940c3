//! What man pages say beside the help: variables of the environment, files, other pages.

pub struct Sections {
    pub environment: &'static [(&'static str, &'static str)],
    pub files: &'static [(&'static str, &'static str)],
    pub see_also: &'static [&'static str],
}

const LOG: (&str, &str) = ("NSL_LOG", "How much to tell on stderr, unless --log-level is given.");
const RUNTIME_DIR: (&str, &str) =
    ("XDG_RUNTIME_DIR", "Where sandboxes of an ordinary user are noted: in nsl below it. It must be set for them.");
const STATE_HOME: (&str, &str) =
    ("XDG_STATE_HOME", "Where their logs are: in nsl/log below it; without it in ~/.local/state.");
const STORE_DIR: (&str, &str) = ("NSL_STORE", "Where roots are unpacked to, an absolute path.");
const CACHE_HOME: (&str, &str) =
    ("XDG_CACHE_HOME", "Without NSL_STORE an ordinary user's are in nsl/store below it, or below ~/.cache.");
const STATE: (&str, &str) =
    ("/run/nsl/NAME, $XDG_RUNTIME_DIR/nsl/NAME", "What is noted of a sandbox: root's, and everybody else's.");
const LOGS: (&str, &str) =
    ("/var/log/nsl/NAME/log, ~/.local/state/nsl/log/NAME/log", "What a sandbox has written, in the form of CRI.");
const STORE: (&str, &str) = (
    "/var/lib/nsl/store, ~/.cache/nsl/store",
    "Roots that were unpacked from archives and images. It can be removed whenever none of them is in use.",
);

const NSL: Sections = Sections {
    environment: &[LOG, RUNTIME_DIR, STATE_HOME],
    files: &[STATE, LOGS, STORE],
    see_also: &["nsl-run(1)", "nsl-init(1)", "namespaces(7)"],
};

const RUN: Sections = Sections {
    environment: &[
        LOG,
        STORE_DIR,
        CACHE_HOME,
        RUNTIME_DIR,
        STATE_HOME,
        (
            "LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES",
            "Sockets of an activation are handed on to the command, if they are for nsl.",
        ),
        (
            "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID",
            "The service manager that is told when the command has started, or with --ready is ready, and that it lives.",
        ),
        (
            "SYSTEMD_EXEC_PID",
            "If it names another process than nsl, the command is given that socket to speak for itself.",
        ),
        ("PATH", "The command is looked up in it inside; outside pasta(1), newuidmap(1) and newgidmap(1) are."),
    ],
    files: &[
        STATE,
        LOGS,
        STORE,
        (
            "/etc/nsl/profiles/NAME.toml, ~/.config/nsl/profiles/NAME.toml",
            "What --profile NAME finds, one's own before the machine's; else one that comes with nsl.",
        ),
        ("/etc/subuid, /etc/subgid", "Which ids an ordinary user may give to others inside, for --userns."),
        ("/etc/resolv.conf, /etc/hosts", "What those of the same names inside are made from."),
    ],
    see_also: &[
        "nsl-exec(1)",
        "nsl-diff(1)",
        "nsl-init(1)",
        "nsl-ps(1)",
        "nsl-stop(1)",
        "capabilities(7)",
        "namespaces(7)",
        "cgroups(7)",
        "sd_notify(3)",
        "setrlimit(2)",
        "pasta(1)",
    ],
};

/// Of those that find a sandbox by its name.
const NAMED: Sections =
    Sections { environment: &[RUNTIME_DIR], files: &[STATE], see_also: &["nsl-run(1)", "nsl-ps(1)"] };

const CHECK: Sections = Sections {
    environment: &[
        ("NO_COLOR, TERM", "There is no colour if the first is set, or the second is dumb."),
        STORE_DIR,
        CACHE_HOME,
        RUNTIME_DIR,
        STATE_HOME,
    ],
    files: &[STATE, LOGS, STORE],
    see_also: &["nsl-run(1)", "nsl-clean(1)"],
};

const PLAIN: Sections = Sections { environment: &[], files: &[], see_also: &["nsl-run(1)"] };

pub fn of(page: &str) -> Sections {
    match page {
        "nsl" => NSL,
        "nsl-run" => RUN,
        "nsl-exec" => Sections { environment: &[LOG, RUNTIME_DIR], ..NAMED },
        "nsl-logs" | "nsl-rm" => Sections { environment: &[RUNTIME_DIR, STATE_HOME], files: &[STATE, LOGS], ..NAMED },
        "nsl-ps" => Sections { see_also: &["nsl-run(1)", "nsl-inspect(1)", "nsl-top(1)"], ..NAMED },
        "nsl-kill" | "nsl-wait" => Sections { see_also: &["nsl-run(1)", "nsl-stop(1)", "signal(7)"], ..NAMED },
        "nsl-inspect" | "nsl-stop" | "nsl-top" => NAMED,
        "nsl-unit" => Sections { see_also: &["nsl-run(1)", "systemd.service(5)", "systemctl(1)"], ..NAMED },
        "nsl-diff" => Sections { see_also: &["nsl-run(1)", "nsl-apply(1)"], ..PLAIN },
        "nsl-apply" => Sections { see_also: &["nsl-run(1)", "nsl-diff(1)"], ..PLAIN },
        "nsl-check" => CHECK,
        "nsl-init" => Sections { see_also: &["nsl(1)", "nsl-run(1)", "signal(7)", "prctl(2)"], ..PLAIN },
        "nsl-clean" => {
            Sections { environment: &[STORE_DIR, CACHE_HOME], files: &[STORE], see_also: &["nsl-run(1)", "nft(8)"] }
        }
        _ => PLAIN,
    }
}
