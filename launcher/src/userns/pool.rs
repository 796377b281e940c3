//! The ids that root can give to sandboxes, in slots of 65,536. Which of them is free, the kernel says: whoever has one
//! is bound to an abstract socket of its name, which ends with its process and leaves nothing to clean up.

use super::ranges::{self, Map, Range};
use super::{SIZE, read};
use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};

/// What is nobody's by convention: systemd's range for containers ("UIDs and GIDs on systemd systems").
const DEFAULT: Range = Range { first: 524_288, count: 1_878_982_656 - 524_288 };
/// Owners in /etc/subuid and /etc/subgid whose ranges are for this: the second is podman's.
const OWNERS: [&[u8]; 2] = [b"nsl", b"containers"];

/// Where a range is taken from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    users: Range,
    groups: Range,
    /// How many ids a sandbox gets.
    size: u32,
    /// Ranges that others are granted.
    taken: Vec<Range>,
}

/// A range of ids, kept from other sandboxes as long as this lives.
pub struct Slot {
    pub users: Map,
    pub groups: Map,
    _socket: OwnedFd,
}

impl Pool {
    /// Reads what /etc/subuid and /etc/subgid say.
    pub fn new(size: u32) -> Result<Self> {
        Self::of(&read("/etc/subuid")?, &read("/etc/subgid")?, size)
    }

    fn of(users: &[u8], groups: &[u8], size: u32) -> Result<Self> {
        let own = |text| OWNERS.iter().find_map(|owner| ranges::granted(text, Some(owner), u32::MAX).first().copied());
        let pool = if let (Some(users), Some(groups)) = (own(users), own(groups)) {
            Self { users, groups, size, taken: Vec::new() }
        } else {
            let taken = [ranges::all(users), ranges::all(groups)].concat();
            Self { users: DEFAULT, groups: DEFAULT, size, taken }
        };
        let most = SIZE.min(pool.users.count).min(pool.groups.count);
        if size > most {
            return Err(Error::new("use --userns", format!("{size} ids are too many for one sandbox of root's"))
                .hint(format!("there are {most} for each")));
        }
        Ok(pool)
    }

    pub fn size(&self) -> u32 {
        self.size
    }

    fn slots(&self) -> u32 {
        (self.users.count.min(self.groups.count) / SIZE).max(1)
    }

    /// The ids of slot `number`; nothing if they are somebody's.
    fn ranges(&self, number: u32) -> Option<[Range; 2]> {
        let ranges = [self.users, self.groups]
            .map(|pool| Range { first: pool.first + number % self.slots() * SIZE, count: self.size });
        let is_taken = ranges.iter().any(|range| self.taken.iter().any(|taken| taken.overlaps(*range)));
        (!is_taken).then_some(ranges)
    }

    /// Takes a free slot, tried from `start` on, as the pid rotates.
    pub fn take(&self, start: u32) -> Result<Slot> {
        let step = "take a range of ids";
        let failed = |errno| Error::os(step, errno);
        let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).map_err(failed)?;
        for number in 0..self.slots() {
            let Some([users, groups]) = self.ranges(start.wrapping_add(number)) else { continue };
            let name = format!("nsl-ids-{}", users.first);
            let address = UnixAddr::new_abstract(name.as_bytes()).map_err(failed)?;
            match bind(socket.as_raw_fd(), &address) {
                Err(Errno::EADDRINUSE) => tracing::debug!("{name} is taken"),
                Err(errno) => return Err(failed(errno)),
                Ok(()) => {
                    let (users, groups) = (Map::of_range(users), Map::of_range(groups));
                    return Ok(Slot { users, groups, _socket: socket });
                }
            }
        }
        Err(Error::new(step, "every one is taken, or granted to somebody")
            .hint("see /etc/subuid: the ranges of nsl, or of containers, are for this"))
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "map {} users and groups, from 0 on, to a free range in {}", self.size, self.users)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(users: &str, groups: &str, size: u32) -> Pool {
        Pool::of(users.as_bytes(), groups.as_bytes(), size).expect("a pool")
    }

    fn first(pool: &Pool, slot: u32) -> Option<[u32; 2]> {
        pool.ranges(slot).map(|ranges| ranges.map(|range| range.first))
    }

    #[test]
    fn slots_lie_apart_and_wrap_around() {
        let pool = pool("", "", SIZE);
        assert_eq!(pool.slots(), 28_663);
        assert_eq!(first(&pool, 0), Some([524_288; 2]));
        assert_eq!(first(&pool, 1), Some([524_288 + SIZE; 2]));
        assert_eq!(first(&pool, 28_663), first(&pool, 0));
        assert_eq!(pool.ranges(28_662).map(|[users, _]| users.end()), Some(1_878_982_656));
    }

    #[test]
    fn ranges_of_others_are_left_alone() {
        let pool = pool("me:524288:1\n", "you:600000:65536\n", SIZE);
        assert_eq!((first(&pool, 0), first(&pool, 1), first(&pool, 2)), (None, None, None));
        assert_eq!(first(&pool, 3), Some([524_288 + 3 * SIZE; 2]));
    }

    #[test]
    fn a_range_of_its_own_is_preferred() {
        let text = "me:100000:65536\ncontainers:2000000000:131072\n";
        let both = pool(text, text, 10);
        assert_eq!((both.slots(), first(&both, 1)), (2, Some([2_000_000_000 + SIZE; 2])));
        let other = pool(text, "nsl:3000000000:70000", SIZE);
        assert_eq!((other.slots(), first(&other, 7)), (1, Some([2_000_000_000, 3_000_000_000])));
        assert_eq!(pool("nsl:9:9", "", SIZE).users, DEFAULT);
        let small = pool("nsl:900000:100", "nsl:900000:200", 100);
        assert_eq!((small.slots(), first(&small, 5)), (1, Some([900_000; 2])));
        assert!(Pool::of(b"nsl:900000:100", b"nsl:900000:200", 101).is_err());
        assert!(Pool::of(b"", b"", SIZE + 1).is_err());
    }
}
