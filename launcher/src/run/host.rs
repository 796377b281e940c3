//! What must be known of the host: for the plan, the entries of its root; for the child, the files with names.

use crate::net::{Addresses, Join, VethPlan, names};
use crate::plan::{HostEntry, Plan};
use crate::root::Names;
use crate::spec::{Network, Spec};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The entries of the host's root directory, with what is mounted below them.
pub fn entries() -> Vec<HostEntry> {
    let mounts: Vec<PathBuf> = procfs::process::Process::myself()
        .and_then(|me| me.mountinfo())
        .map(|mounts| mounts.into_iter().map(|mount| mount.mount_point).collect())
        .unwrap_or_default();
    let Ok(entries) = std::fs::read_dir("/") else { return Vec::new() };
    let mut entries: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let (name, path) = (entry.file_name(), Path::new("/").join(entry.file_name()));
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    let has_mounts = mounts.iter().any(|mount| *mount != path && mount.starts_with(&path));
                    Some(HostEntry::Directory { name, has_mounts })
                }
                Ok(kind) if kind.is_symlink() => {
                    std::fs::read_link(path).ok().map(|target| HostEntry::Link { name, target })
                }
                _ => None,
            }
        })
        .collect();
    entries.sort_by(|a, b| a.name().cmp(b.name()));
    entries
}

/// What the files with names hold.
pub fn names(spec: &Spec, plan: &Plan) -> Names {
    let reach = match plan.network {
        Network::Host => names::Reach::Host,
        Network::Veth(VethPlan { internal: true, .. }) | Network::None => names::Reach::Nothing,
        Network::Veth(_) | Network::Pasta(_) | Network::Join(_) => names::Reach::Outside,
    };
    let resolv_conf = match &plan.network {
        Network::Join(Join { resolv_conf: Some(text), .. }) => spec.dns().applied_to(text.clone()),
        _ => names::resolv_conf(Path::new("/"), reach, spec.dns()),
    };
    let own = plan.addresses().map(Addresses::own).unwrap_or_default();
    let host = match &plan.network {
        Network::Host => Some(Ipv4Addr::LOCALHOST.into()),
        _ => plan.addresses().and_then(Addresses::of_host),
    };
    let hosts = spec.hosts().text(&own, host, std::iter::empty());
    Names { resolv_conf, hosts, hostname: format!("{}\n", plan.hostname).into_bytes() }
}
