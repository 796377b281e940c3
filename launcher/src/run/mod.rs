//! The story of `nsl run`: plan, spawn, network, go, wait. There is nothing to undo: the kernel drops it all with
//! the init.

mod again;
mod boot;
mod checks;
mod host;
mod hosts;
mod sandbox;
mod serve;

use crate::cgroup::{Group, Limits};
use crate::changes::Kept;
use crate::cli;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::health::Checks;
use crate::hints;
use crate::image;
use crate::log;
use crate::logs::{self, Output};
use crate::net::{self, Home, Prepared};
use crate::plan::{HostStep, Plan};
use crate::preserve;
use crate::service::{self, Caller, Service, Side};
use crate::signals::{Blocked, Signals};
use crate::spawn::{self, Files, Luggage, Stream};
use crate::spec::{Network, Spec};
use crate::status;
use crate::store;
use crate::terminal::{self, Relay};
use again::Lasting;
use sandbox::Sandbox;
use std::io::Write;
use std::os::fd::AsFd;

/// Runs the command; returns its exit code.
pub fn run(run: &cli::Run) -> Result<u8> {
    // First of all: later these numbers could be those of files of nsl's own.
    let preserved = preserve::adopt(run);
    let watched = run.status_fd.filter(|_| !run.dry_run);
    let mut events = watched.map_or(Ok(Events::NONE), Events::open)?;
    let caller = match &preserved {
        Ok(preserved) if run.detach && !run.dry_run => {
            let kept: Vec<_> = preserved.iter().map(AsFd::as_fd).chain(events.descriptor()).collect();
            match service::detach(&kept)? {
                Side::Caller(code) => return Ok(code),
                Side::Monitor(caller) => Some(caller),
            }
        }
        _ => None,
    };
    if caller.is_none() && !run.dry_run {
        events.find_manager();
    }
    let result = preserved.and_then(|preserved| again::carry_out(run, preserved, caller, &mut events));
    events.ended(&result);
    result
}

/// Runs a command that only nsl itself has to do with: nobody is told of it.
pub fn unwatched(run: &cli::Run) -> Result<u8> {
    let mut events = Events::NONE;
    again::carry_out(run, Vec::new(), None, &mut events)
}

/// One start, to its end.
fn start(run: &cli::Run, caller: Option<Caller>, events: &mut Events, lasting: &mut Lasting) -> Result<u8> {
    let planning = log::step("check the options and make the plan");
    let log = logs::Options::new(run)?;
    let mut spec = Spec::new(run)?;
    let mut plan = Plan::new(&spec, host::entries);
    drop(planning);
    if run.dry_run {
        return show(&plan);
    }
    if run.is_registered() && events.name().is_none() {
        let _step = log::step("take the name");
        events.register(Service::register(run, spec.grace_ms(), lasting.restarts, caller)?);
    }
    if let Some(socket) = events.notify_socket() {
        spec.notify_by(socket);
        plan = Plan::new(&spec, host::entries);
    }
    let preparing = log::step("check the network, and take its ports");
    let mut prepared = prepare(&plan.network, lasting)?;
    drop(preparing);
    let reading = log::step("read the files of names");
    plan.keep_limit(prepared.limit());
    let kept = spec.changes().map(|directory| Kept::new(directory, plan.identities.is_new())).transpose()?;
    spec.know(&prepared.known);
    let names = host::names(&spec, &plan);
    if !prepared.known.is_empty() {
        prepared.servers = net::names::servers(&names.resolv_conf);
    }
    drop(reading);
    if let Some(source) = &plan.unpack {
        let _step = log::step(HostStep::Unpack(source.path()));
        let root = store::unpacked(source)?;
        spec.found(run, &root)?;
        plan.found(root);
    }
    let home = plan.enters_network().then(Home::open).flatten();
    if home.is_none() {
        plan.clone_network();
    }
    let writing = log::step("write the boot message and nsl-init to memory");
    let preserved = lasting.preserved()?;
    let blocked = lasting.signals.as_ref().map_or_else(Blocked::new, Signals::block)?;
    let boot = boot::message(&spec, &plan, &blocked, preserved.len() as u32)?;
    let init = image::init().map_err(hints::memory_file)?;
    events.keep_boot(boot.as_fd())?;
    drop(writing);
    let mut output = events.output(&log)?;
    let (streams, relays) = streams(output.as_mut(), &spec)?;
    let group = plan.limits.map(group).transpose()?;
    let cgroup = group.as_ref().map(Group::descriptor);
    let kept_directory = kept.as_ref().map(AsFd::as_fd);
    let files = Files { init, boot, streams, preserved };
    let luggage = Luggage { files, names: &names, kept: kept_directory, cgroup };
    let init = spawn::spawn(&plan, luggage)?;
    let making = home.is_some().then(|| log::step(HostStep::MakeNetwork));
    let network = home.map(Home::make_another).transpose().map_err(|errno| hints::network_namespace(&plan, errno))?;
    drop(making);
    if let Some(network) = &network {
        // A child that is gone has reported why.
        let _ = status::order(init.status.as_fd(), nsl_shared::boot::NETWORK, Some(network.as_fd()));
    }
    if let Some(kept) = &kept {
        kept.started(init.pid)?;
    }
    let signals = blocked.let_in(&mut lasting.signals)?;
    let mut sandbox = Sandbox::new(spec, plan, init, signals, (relays, output), group, events);
    sandbox.checks = Checks::new(run)?;
    let result = sandbox.run(prepared, network);
    if let Some(made) = sandbox.end() {
        lasting.network.keep(made);
    }
    if let Some(kept) = kept {
        kept.settle();
    }
    result
}

/// The command's streams, and what carries their bytes where they are not the caller's own.
fn streams(output: Option<&mut Output>, spec: &Spec) -> Result<([Stream; 3], Vec<Relay>)> {
    if let Some(streams) = output.and_then(Output::streams) {
        Ok((streams, Vec::new()))
    } else if spec.terminal() {
        Ok((terminal::pty_streams(), Vec::new()))
    } else {
        terminal::plain_streams().map_err(|errno| Error::os("make pipes for the command", errno))
    }
}

/// The cgroup that holds the sandbox to its limits.
fn group(limits: Limits) -> Result<Group> {
    let _step = log::step(HostStep::MakeCgroup(&limits));
    Group::new(limits)
}

/// Says why the network cannot be made, if it cannot, and takes what is the host's. What another start has had is had
/// again.
fn prepare(network: &Network, lasting: &mut Lasting) -> Result<Prepared> {
    let kept = &mut lasting.network;
    match network {
        Network::Veth(veth) => {
            if !kept.is_taken() {
                net::check(veth)?;
            }
            net::prepare(veth, lasting.restarts.then_some(kept))
        }
        Network::Join(join) => join.check().map(|()| Prepared::default()),
        Network::Pasta(pasta) => net::prepare_pasta(pasta, lasting.restarts.then_some(kept)),
        Network::None | Network::Host => Ok(Prepared::default()),
    }
}

fn show(plan: &Plan) -> Result<u8> {
    let mut out = std::io::stdout();
    write!(out, "{plan}").and_then(|()| out.flush()).map_err(|error| Error::io("write the plan", &error))?;
    Ok(0)
}
