//! Groups of devices: how the static rules tell, without a word on any one sandbox, what holds for it.
//!
//! A group is a number of 32 bits that a device on the host has (`IFLA_GROUP`). Of those of nsl's, two bits are about
//! the sandbox, and the rest is the named network that it is in.

/// It has no way out, nor to the host.
pub(super) const INTERNAL: u32 = 1 << 31;
/// What may leave it is on a list: rules of its own mark it.
pub(super) const LISTED: u32 = 1 << 30;
/// The named network; 0 is none.
pub(super) const NETWORK: u32 = LISTED - 1;

/// The number of a named network: FNV-1a of its name. Two names that fall together, one time in a billion, are one
/// network.
pub(super) fn of_network(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    ((hash ^ hash >> 30) & NETWORK).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_known_by_the_same_number_for_ever() {
        assert_eq!(of_network("web"), 265_927_825);
        let names: std::collections::BTreeSet<u32> = (0..1000).map(|n| of_network(&format!("net{n}"))).collect();
        assert_eq!(names.len(), 1000);
        assert!(names.iter().all(|group| (1..=NETWORK).contains(group)));
    }
}
