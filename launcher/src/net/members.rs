//! Named networks: sandboxes that reach each other. Its number is the group of a member's device on the host.

/// Bits of a device's group that are the number of a named network: those above mean something else.
pub const GROUP: u32 = (1 << 30) - 1;

/// The number of a named network, never 0. FNV-1a, folded: the same for every nsl, today and tomorrow.
pub fn group(name: &str) -> u32 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let folded = (hash ^ hash >> 30 ^ hash >> 60) as u32 & GROUP;
    if folded == 0 { 1 } else { folded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_networks_number_is_stable_and_never_0() {
        assert_eq!([group("web"), group("db")], [854_694_545, 394_172_925]);
        let all: std::collections::BTreeSet<_> = (0..2000).map(|number| group(&format!("net{number}"))).collect();
        assert_eq!(all.len(), 2000);
        assert!(all.iter().all(|group| *group != 0 && group & !GROUP == 0));
    }
}
