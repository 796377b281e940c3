//! The host's own firewall, where it would keep what is forwarded for sandboxes: found in `nf_tables`, and told with the
//! command that lets it pass. Reads only.
//!
//! A packet passes every base chain at the hook, so that one which nsl's own rules accept can still be dropped by
//! another's: by the policy of Docker's or ufw's, by the last rule of firewalld's.

use super::dump::{End, Raw, dump};
use super::nftables::{Message, ask, connect, message};
use netlink_packet_netfilter::NetfilterProtoFamily::{self, IPv4, IPv6, Inet, Unspec};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Cmp, DataAttribute, ExpressionAttribute, Expressions, Hook, HookNumber, Immediate,
    InetHookNumber, ListAttribute, NfTablesMessage, RuleAttribute, RuleMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner};
use rtnetlink::packet_core::{NLM_F_DUMP, NetlinkPayload, Nla};
use std::fs;
use std::io;
use std::ops::ControlFlow;

/// What an interface is compared with, by nft's `nsl*` and by iptables' `nsl+`.
const PREFIX: &[u8] = b"nsl";
/// `NFTA_CHAIN_HOOK`, which base chains alone have.
const HOOK: u16 = 4;
/// `NF_DROP` and `NF_ACCEPT`: verdicts of rules, policies of chains.
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// The bounds of what is read, in datagrams: some 1,400 chains, which take a third of a millisecond, and, of a table that
/// stops us, some 2,000 rules.
const CHAINS_MAX: usize = 4;
const RULES_MAX: usize = 16;
/// Where too many chains stand before them, these are looked up by their names.
const KNOWN: [(NetfilterProtoFamily, &str, &str); 3] =
    [(IPv4, "filter", "FORWARD"), (IPv6, "filter", "FORWARD"), (Inet, "firewalld", "filter_FORWARD")];
/// Where the kernel lists the tables of iptables' older sort, which `nf_tables` does not know.
const LEGACY_TABLES: &str = "/proc/net/ip_tables_names";

/// A base chain at the hook forward.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Chain {
    family: NetfilterProtoFamily,
    table: String,
    name: String,
    accepts: bool,
}

/// What of the host's firewall stops sandboxes.
pub struct Obstacles {
    /// The chains, in words.
    pub names: String,
    /// The command that opens the way.
    pub mend: String,
}

/// Warns if the host's firewall stops what sandboxes send beyond this host. Whoever lets anything of a device `nsl*`
/// pass or not, has thought of it, and hears nothing.
pub(super) fn check(ipv4: bool, ipv6: bool) {
    let _span = tracing::debug_span!("firewall", step = %"look for a firewall that stops it").entered();
    match look(ipv4, ipv6) {
        Ok(None) => {}
        Ok(Some(Obstacles { names, mend })) => {
            tracing::warn!(
                "the firewall of this host ({names}) stops forwarded packets that it does not know: what the sandbox \
                 sends may get no further than this host (hint: {mend})"
            );
        }
        Err(error) => tracing::debug!("cannot read the firewall's rules: {error}"),
    }
    if tracing::enabled!(tracing::Level::DEBUG) && has_legacy_filter() {
        tracing::debug!("the host has a filter of iptables-legacy too, which is not looked into");
    }
}

/// Looks for what stops them; nothing if they may pass.
pub fn look(ipv4: bool, ipv6: bool) -> io::Result<Option<Obstacles>> {
    let chains = obstacles(ipv4, ipv6)?;
    let names = chains.iter().map(Chain::to_string).collect::<Vec<_>>().join(" and ");
    let mend = chains.iter().map(mend).collect::<Vec<_>>().join(" && ");
    Ok((!chains.is_empty()).then_some(Obstacles { names, mend }))
}

/// Has the host a filter of iptables' older sort, which is not looked into?
pub fn has_legacy_filter() -> bool {
    let tables = fs::read_to_string(LEGACY_TABLES).unwrap_or_default();
    tables.lines().any(|table| table == "filter")
}

/// The chains that stop us and were not told to let us pass.
fn obstacles(ipv4: bool, ipv6: bool) -> io::Result<Vec<Chain>> {
    let mut found = Vec::new();
    for chain in forward_chains()? {
        let is_asked = (chain.family != IPv4 || ipv4) && (chain.family != IPv6 || ipv6);
        if is_asked && chain.stops()? && !knows_us(chain.family, &chain.table)? {
            found.push(chain);
        }
    }
    Ok(found)
}

fn forward_chains() -> io::Result<Vec<Chain>> {
    let mut chains = Vec::new();
    let end = dump(get_chain(Unspec, NLM_F_DUMP, None), CHAINS_MAX, |raw| {
        if raw.has(HOOK) {
            chains.extend(raw.decode().as_ref().and_then(Chain::of));
        }
        ControlFlow::Continue(())
    })?;
    if end == End::Early {
        tracing::debug!("there are many chains: the usual ones are looked up");
        for (family, table, name) in KNOWN {
            let chain = look_up(family, table, name).as_ref().and_then(Chain::of);
            chains.extend(chain.filter(|chain| !chains.contains(chain)).into_iter().collect::<Vec<_>>());
        }
    }
    Ok(chains)
}

impl Chain {
    /// One of others, at the hook forward of the families that our packets are of.
    fn of(message: &Message) -> Option<Self> {
        let (family, NfTablesMessage::NewChain(ChainMessage { attributes })) = content(message)? else { return None };
        let (mut table, mut name, mut accepts, mut at_forward) = (None, None, true, false);
        for attribute in attributes {
            match attribute {
                ChainAttribute::Table(text) => table = Some(text.clone()),
                ChainAttribute::Name(text) => name = Some(text.clone()),
                ChainAttribute::Policy(policy) => accepts = *policy == ACCEPT,
                ChainAttribute::Hook(hook) => {
                    at_forward = hook.contains(&Hook::Number(HookNumber::Inet(InetHookNumber::Forward)));
                }
                _ => {}
            }
        }
        let chain = Self { family, table: table?, name: name?, accepts };
        let is_ours = family == Inet && chain.table.as_bytes().starts_with(PREFIX);
        (at_forward && !is_ours && matches!(family, IPv4 | IPv6 | Inet)).then_some(chain)
    }

    /// Does it stop whatever none of its rules is about?
    fn stops(&self) -> io::Result<bool> {
        if !self.accepts {
            return Ok(true);
        }
        let mut last = Vec::new();
        let end = dump(get_rules(self.family, &self.table, Some(&self.name)), RULES_MAX, |raw| {
            raw.copy_to(&mut last);
            ControlFlow::Continue(())
        })?;
        Ok(end == End::Complete && Message::deserialize(&last).is_ok_and(|rule| stops_all(&rule)))
    }
}

impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", family_name(self.family), self.table, self.name)
    }
}

fn family_name(family: NetfilterProtoFamily) -> &'static str {
    match family {
        IPv4 => "ip",
        IPv6 => "ip6",
        _ => "inet",
    }
}

/// Does any rule of a table compare something with the prefix of our devices? A table with more rules than are read
/// is taken to: a warning that cannot be silenced is worse than none.
fn knows_us(family: NetfilterProtoFamily, table: &str) -> io::Result<bool> {
    let end = dump(get_rules(family, table, None), RULES_MAX, |raw: Raw<'_>| {
        let names_us = raw.contains(PREFIX) && raw.decode().is_some_and(|rule| expressions(&rule).any(is_our_prefix));
        if names_us { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(end == End::Early)
}

fn is_our_prefix(expression: &Expressions) -> bool {
    let Expressions::Cmp(parts) = expression else { return false };
    parts.iter().any(|part| matches!(part, Cmp::Data(DataAttribute::Value(value)) if value == PREFIX))
}

/// Is it a rule without a condition, that drops or rejects?
fn stops_all(rule: &Message) -> bool {
    let mut stops = false;
    expressions(rule).all(|expression| match expression {
        Expressions::Immediate(parts) => {
            stops |= parts.iter().any(is_drop);
            true
        }
        Expressions::Other { expression_type, attributes } => match expression_type.as_str() {
            "counter" | "log" => true,
            "reject" => {
                stops = true;
                true
            }
            // Of iptables, which has its own words for it.
            "target" => {
                let mut value = [0; 8];
                stops |= attributes.iter().any(|attribute| {
                    attribute.value_len() <= value.len() && {
                        attribute.emit_value(&mut value[..attribute.value_len()]);
                        value.starts_with(b"REJECT\0") || value.starts_with(b"DROP\0")
                    }
                });
                true
            }
            _ => false,
        },
        _ => false,
    }) && stops
}

fn is_drop(part: &Immediate) -> bool {
    let Immediate::Data(DataAttribute::Verdict(verdict)) = part else { return false };
    verdict.contains(&VerdictAttribute::Code(Verdict::Other(DROP)))
}

fn expressions(rule: &Message) -> impl Iterator<Item = &Expressions> {
    let attributes = match content(rule) {
        Some((_, NfTablesMessage::NewRule(RuleMessage { attributes }))) => attributes.as_slice(),
        _ => &[],
    };
    let lists = attributes.iter().filter_map(|attribute| match attribute {
        RuleAttribute::Expressions(list) => Some(list),
        _ => None,
    });
    let elements = lists.flatten().filter_map(|element| match element {
        ListAttribute::Element(parts) => Some(parts),
        _ => None,
    });
    elements.flatten().filter_map(|part| match part {
        ExpressionAttribute::Data(expression) => Some(expression),
        _ => None,
    })
}

/// The command that lets our packets pass, in the words of whom the chain belongs to.
///
/// What is new and comes from elsewhere needs no condition in it: nsl's own rules stop what no port was published for.
fn mend(chain: &Chain) -> String {
    let has = |name| look_up(chain.family, &chain.table, name).is_some();
    let Chain { family, table, name, .. } = chain;
    let (iptables, ufw_chain) =
        if *family == IPv6 { ("ip6tables", "ufw6-user-forward") } else { ("iptables", "ufw-user-forward") };
    match (family, table.as_str(), name.as_str()) {
        (Inet, "firewalld", _) => {
            // Its other zones stop what is forwarded; this one is open for the host's own services as well.
            "firewall-cmd --permanent --zone=trusted --add-interface=nsl+ && firewall-cmd --reload".to_owned()
        }
        (IPv4 | IPv6, "filter", "FORWARD") if has("DOCKER-USER") => format!(
            "{iptables} -I DOCKER-USER -i 'nsl+' -j ACCEPT && {iptables} -I DOCKER-USER -o 'nsl+' -m conntrack \
             --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT"
        ),
        (IPv4 | IPv6, "filter", "FORWARD") if has(ufw_chain) => {
            "ufw route allow in on nsl+ && ufw route allow out on nsl+".to_owned()
        }
        _ => format!("nft insert rule {chain} iifname 'nsl*' accept && nft insert rule {chain} oifname 'nsl*' accept"),
    }
}

/// A chain by its name, if it is there.
fn look_up(family: NetfilterProtoFamily, table: &str, name: &str) -> Option<Message> {
    let socket = connect().ok()?;
    ask(&socket, &mut [get_chain(family, 0, Some((table, name)))]).ok()?.into_iter().next()
}

fn get_chain(family: NetfilterProtoFamily, flags: u16, name: Option<(&str, &str)>) -> Message {
    let attributes = name.map(|(table, name)| [ChainAttribute::Table(table.into()), ChainAttribute::Name(name.into())]);
    let attributes = attributes.into_iter().flatten().collect();
    message(family, flags, NfTablesMessage::GetChain(ChainMessage { attributes }))
}

fn get_rules(family: NetfilterProtoFamily, table: &str, chain: Option<&str>) -> Message {
    let chain = chain.map(|name| RuleAttribute::Chain(name.to_owned()));
    let attributes = [RuleAttribute::Table(table.to_owned())].into_iter().chain(chain).collect();
    message(family, NLM_F_DUMP, NfTablesMessage::GetRule(RuleMessage { attributes }))
}

/// What a message says, and of which family.
fn content(message: &Message) -> Option<(NetfilterProtoFamily, &NfTablesMessage)> {
    let NetlinkPayload::InnerMessage(NetfilterMessage { header, inner, .. }) = &message.payload else { return None };
    match inner {
        NetfilterMessageInner::NfTables(inner) => Some((header.family, inner)),
        _ => None,
    }
}
