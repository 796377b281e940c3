//! docs/embedding.md: its recipes for containers, pods and services are used as they stand there. Its other commands
//! `documents` runs.

use crate::documents::{ROOT, blocks_of};
use crate::harness::{DIR, PATIENCE};
use crate::podman::Podman;
use nix::sys::signal::Signal;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

fn document() -> String {
    fs::read_to_string(Path::new(ROOT).join("docs/embedding.md")).expect("read docs/embedding.md")
}

/// The one fence of the document in a language.
fn fence(language: &str) -> String {
    let (document, opened) = (document(), format!("```{language}\n"));
    let mut fences = document.split(&opened).skip(1);
    let fence = fences.next().and_then(|rest| rest.split_once("```\n")).expect("there is such a fence").0.to_owned();
    assert!(fences.next().is_none(), "there is more than one {language}");
    fence
}

/// The seconds that nsl-init is given behind `--grace`.
fn grace(words: &[&str]) -> u32 {
    let at = words.iter().position(|word| *word == "--grace").expect("it has a grace time");
    words[at + 1].trim_end_matches('s').parse().expect("in seconds")
}

#[test]
fn containers_are_made_as_the_document_says() {
    let mut host = crate::host!("podman", "runc", "busybox");
    let podman = Podman::new(&mut host);
    podman.import("docker.io/library/busybox");
    let file = |name: &str, text: &str| fs::write(podman.host.path(DIR).join(name), text).expect("write a file");
    file("Containerfile", &fence("dockerfile"));
    file("wrapper", &podman.script());
    podman.host.sh("cd /tmp/test; mkdir bin; chmod 755 wrapper; mv wrapper bin/podman");
    let mut failures = String::new();
    for block in blocks_of(&document(), "sh podman").expect("the document has no mistakes") {
        let result = block.check(|options, script| {
            let invocation = podman.host.command("sh", [options, &format!("exec 2>&1\n{script}")]).cwd(DIR);
            let output = invocation.env("PATH", "/tmp/test/bin:/usr/sbin:/usr/bin:/sbin:/bin").timeout(PATIENCE).run();
            (output.code, output.stdout())
        });
        if let Err(failure) = result {
            let _ = writeln!(failures, "docs/embedding.md, {failure}");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn a_pods_container_starts_as_the_document_says() {
    let mut host = crate::host!("podman", "runc", "busybox", "python3");
    let podman = Podman::new(&mut host);
    // kubectl's own check needs a cluster. Here it is YAML, with the names that a pod has.
    let script = "import sys, yaml
pod = yaml.safe_load(sys.stdin)
assert (pod['apiVersion'], pod['kind']) == ('v1', 'Pod') and set(pod) == {'apiVersion', 'kind', 'metadata', 'spec'}
[container] = pod['spec']['containers']
assert set(container) == {'name', 'image', 'command', 'args'}
print(pod['spec']['terminationGracePeriodSeconds'], *container['command'], '|', *container['args'], sep='\\n')";
    let output = podman.host.command("python3", ["-c", script]).stdin(fence("yaml")).run();
    let shown = output.assert_code(0).assert_quiet().stdout();
    let mut words = shown.lines();
    let patience: u32 = words.next().and_then(|number| number.parse().ok()).expect("a number of seconds");
    let command: Vec<_> = words.by_ref().take_while(|word| *word != "|").collect();
    assert!(grace(&command) < patience);
    let args: Vec<_> = words.collect();
    let entrypoint = format!("{command:?}");
    podman.run(&["--entrypoint", &entrypoint], &args).run().assert_prints("ready");
}

#[test]
fn a_service_starts_and_stops_as_the_document_says() {
    let mut host = crate::host!("systemd-analyze");
    let unit = fence("ini");
    host.sh("mount -t tmpfs -o mode=755 tmpfs /usr/local/bin; /run/bin/nsl init -o /usr/local/bin
        printf '#!/bin/sh\\necho \"$@\"\\nexec sleep 1000' > /usr/local/bin/example; chmod 755 /usr/local/bin/example");
    host.accept();
    fs::write(host.path(DIR).join("example.service"), &unit).expect("write the unit");
    host.command("systemd-analyze", ["verify", "--man=no", "/tmp/test/example.service"]).run().assert_prints("");
    let value = |name: &str| {
        let mut values = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        values.next().unwrap_or_else(|| panic!("there is no {name}"))
    };
    let words: Vec<_> = value("ExecStart").split(' ').collect();
    assert!(grace(&words) < value("TimeoutStopSec").parse().expect("a number of seconds"));
    let mut running = host.command(words[0], &words[1..]).start();
    assert_eq!(running.line(), "--serve");
    running.signal(Signal::SIGTERM);
    running.finish().assert_code(0).assert_quiet();
}

#[test]
fn every_option_of_the_init_is_explained() {
    let host = crate::host!();
    let help = host.command(env!("NSL_INIT"), ["--help"]).run().assert_code(0).stdout();
    let options = help.lines().filter_map(|line| line.strip_prefix("  -")?.split(['\t', ' ', ',']).next());
    let options: Vec<_> = options.map(|option| format!("`-{option}")).collect();
    let document = document();
    let missing: Vec<_> = options.iter().filter(|option| !document.contains(&***option)).collect();
    assert!(options.len() > 10 && missing.is_empty(), "{missing:?} of {options:?}");
}

#[test]
fn what_dockerd_reads_is_json() {
    let host = crate::host!("python3");
    let script = "import json, sys; print(*json.load(sys.stdin).items())";
    let output = host.command("python3", ["-c", script]).stdin(fence("json")).run();
    output.assert_prints("('init-path', '/usr/local/bin/nsl-init')");
}
