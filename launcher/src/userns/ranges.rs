//! Ranges of user and group ids: what /etc/subuid and /etc/subgid grant, and the maps that are made of it. Pure.

use std::fmt;

/// How many lines a map can have (`user_namespaces(7)`).
const LINES_MAX: usize = 340;

/// Ids of the host, side by side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Range {
    pub first: u32,
    /// At least 1.
    pub count: u32,
}

impl Range {
    /// Nothing if it is empty or holds what is no id: `u32::MAX` is none.
    pub fn new(first: u32, count: u32) -> Option<Self> {
        (count > 0 && first.checked_add(count).is_some()).then_some(Self { first, count })
    }

    /// The first id behind it.
    pub fn end(self) -> u32 {
        self.first + self.count
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.first < other.end() && other.first < self.end()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.end() - 1)
    }
}

/// What a line of /etc/subuid grants, and to whom: subuid(5). Lines that are none are passed over, as newuidmap does.
fn lines(text: &[u8]) -> impl Iterator<Item = (&[u8], Range)> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let (owner, first, count, None) = (fields.next()?, fields.next()?, fields.next()?, fields.next()) else {
            return None;
        };
        Some((owner, Range::new(number(first)?, number(count)?)?)).filter(|(owner, _)| !owner.is_empty())
    })
}

fn number(digits: &[u8]) -> Option<u32> {
    // parse() alone would take a sign.
    digits.first()?.is_ascii_digit().then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// Every range that is granted to anybody.
pub fn all(text: &[u8]) -> Vec<Range> {
    lines(text).map(|(_, range)| range).collect()
}

/// What is granted to the user of this id, called by its number or by `name`: in the order of the ids, each once.
pub fn granted(text: &[u8], name: Option<&[u8]>, id: u32) -> Vec<Range> {
    let is_owner = |owner: &[u8]| Some(owner) == name || number(owner) == Some(id);
    let mut ranges: Vec<_> = lines(text).filter(|(owner, _)| is_owner(owner)).map(|(_, range)| range).collect();
    ranges.sort_unstable();
    ranges.dedup_by(|next, range| {
        let joins = next.first <= range.end();
        if joins {
            range.count = range.end().max(next.end()) - range.first;
        }
        joins
    });
    ranges
}

/// The name of a user in the text of /etc/passwd.
pub fn name_of(passwd: &[u8], id: u32) -> Option<&[u8]> {
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, id_there) = (fields.next()?, fields.nth(1)?);
        (number(id_there) == Some(id) && !name.is_empty()).then_some(name)
    })
}

/// A line of a map: ids inside, from `inside` on, and who they are outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    pub inside: u32,
    pub outside: Range,
}

/// Which ids there are inside, and who they are outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Map(Vec<Line>);

impl Map {
    /// All of a range, from 0 on.
    pub fn of_range(outside: Range) -> Self {
        Self(vec![Line { inside: 0, outside }])
    }

    /// The text of /proc/PID/uid_map or gid_map.
    pub fn read(text: &str) -> Self {
        let line = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map_while(|word| word.parse().ok());
            let (inside, first, count) = (numbers.next()?, numbers.next()?, numbers.next()?);
            Some(Line { inside, outside: Range { first, count } })
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// How many ids there are inside.
    pub fn size(&self) -> u32 {
        self.0.iter().fold(0, |size, line| size.saturating_add(line.outside.count))
    }

    /// The id `own` of the host is `inside`; the others, from 0 on, come from `ranges`, which are apart and without
    /// `own`, until there are `size` ids, or no more ranges.
    pub fn around(own: u32, inside: u32, ranges: &[Range], size: u32) -> Self {
        let own = Line { inside, outside: Range { first: own, count: 1 } };
        let mut lines = Vec::new();
        let (mut next, mut left) = (0, size.saturating_sub(1));
        for range in ranges {
            let mut range = *range;
            while left > 0 && range.count > 0 && lines.len() + 2 < LINES_MAX {
                if next == own.inside {
                    lines.push(own);
                    next += 1;
                }
                let room = if next < own.inside { own.inside - next } else { u32::MAX };
                let count = range.count.min(left).min(room);
                lines.push(Line { inside: next, outside: Range { first: range.first, count } });
                range = Range { first: range.first + count, count: range.count - count };
                (next, left) = (next + count, left - count);
            }
        }
        if !lines.contains(&own) {
            lines.push(own);
        }
        Self(lines)
    }

    /// Who 0 is outside, if it exists.
    pub fn root(&self) -> Option<u32> {
        self.0.iter().find(|line| line.inside == 0).map(|line| line.outside.first)
    }

    pub fn contains(&self, id: u32) -> bool {
        self.0.iter().any(|line| id.checked_sub(line.inside).is_some_and(|offset| offset < line.outside.count))
    }

    /// The numbers of each line, as the files in /proc, newuidmap and newgidmap want them.
    pub fn numbers(&self) -> impl Iterator<Item = [u32; 3]> {
        self.0.iter().map(|line| [line.inside, line.outside.first, line.outside.count])
    }
}

/// "0 is 1000, 1-65535 are 100000-165534"
impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Line { inside, outside }) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match outside.count {
                1 => write!(f, "{comma}{inside} is {}", outside.first)?,
                count => write!(f, "{comma}{inside}-{} are {outside}", inside + (count - 1))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_read_as_the_kernel_writes_it() {
        let map = Map::read("         0       1000          1\n         1     100000      65535\n");
        assert_eq!(map.numbers().collect::<Vec<_>>(), [[0, 1000, 1], [1, 100_000, 65535]]);
        assert!(map.contains(0) && map.contains(65535) && !map.contains(65536));
        assert_eq!((map.size(), Map::read("").size()), (65536, 0));
        // All that there is.
        assert!(Map::read("0 0 4294967295\n").contains(u32::MAX - 1));
    }

    fn range(first: u32, count: u32) -> Range {
        Range::new(first, count).expect("a range")
    }

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = b"me:100000:65536\nyou:200000:65536\n1000:300000:10\n";
        assert_eq!(granted(text, Some(b"me"), 1000), [range(100_000, 65536), range(300_000, 10)]);
        assert_eq!(granted(text, None, 1000), [range(300_000, 10)]);
        assert_eq!(granted(text, Some(b"nobody"), 65534), []);
        assert_eq!(all(text).len(), 3);
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        let most = u32::MAX;
        let text = format!(
            "\n:\n::\n:1:1\n# me:1:1\nme\nme:1\nme:1:\nme::1\nme:1:1:1\nme:+1:1\nme:-1:1\nme: 1:1\nme:1:0\nme:x:1\n\
             me:99999999999999999999:1\nme:1:99999999999999999999\nme:{most}:1\nme:1:{most}\nme:{}:2\nme:0x10:1\nme:7:2",
            most - 1
        );
        let mut text = text.into_bytes();
        text.extend(b"\nme:\xff:1\n\xff\xfe\0\nme:8:1\r\nme:20:1");
        assert_eq!(granted(&text, Some(b"me"), 1000), [range(7, 2), range(20, 1)]);
        assert_eq!(granted(format!("me:{}:1", most - 1).as_bytes(), Some(b"me"), 0), [range(most - 1, 1)]);
    }

    #[test]
    fn ranges_that_touch_or_overlap_are_one() {
        let text = b"me:50:10\nme:10:10\nme:15:10\nme:25:5\nme:11:2\nme:50:10\n";
        assert_eq!(granted(text, Some(b"me"), 0), [range(10, 20), range(50, 10)]);
    }

    #[test]
    fn names_are_found_in_passwd() {
        let passwd = b"root:x:0:0::/:\nbad\n:x:7:7::\nme:x:1000:100::/home/me:/bin/sh\n";
        assert_eq!(name_of(passwd, 1000), Some(&b"me"[..]));
        assert_eq!((name_of(passwd, 7), name_of(passwd, 8)), (None, None));
    }

    fn shown(own: u32, inside: u32, ranges: &[Range], size: u32) -> String {
        Map::around(own, inside, ranges, size).to_string()
    }

    #[test]
    fn root_inside_is_the_caller_and_the_others_are_its_ranges() {
        let ranges = [range(100_000, 65536)];
        assert_eq!(shown(1000, 0, &ranges, 65536), "0 is 1000, 1-65535 are 100000-165534");
        assert_eq!(shown(1000, 0, &ranges, 2), "0 is 1000, 1 is 100000");
        assert_eq!(shown(1000, 0, &ranges, 1), "0 is 1000");
        assert_eq!(shown(1000, 0, &[range(10, 2), range(20, 3)], 65536), "0 is 1000, 1-2 are 10-11, 3-5 are 20-22");
    }

    #[test]
    fn the_caller_keeps_its_id_and_the_others_are_around_it() {
        let ranges = [range(100_000, 65536)];
        let all = "0-999 are 100000-100999, 1000 is 1000, 1001-65535 are 101000-165534";
        assert_eq!(shown(1000, 1000, &ranges, 65536), all);
        assert_eq!(shown(1000, 1000, &[range(10, 5)], 65536), "0-4 are 10-14, 1000 is 1000");
        assert_eq!(shown(0, 0, &[range(10, 5)], 65536), "0 is 0, 1-5 are 10-14");
        let last = u32::MAX - 1;
        assert_eq!(shown(last, last, &[range(10, 5)], 9), format!("0-4 are 10-14, {last} is {last}"));
    }

    /// Numbers without end or meaning, the same in each run: a linear congruential generator.
    fn numbers() -> impl FnMut(u32) -> u32 {
        let mut state = 1_u64;
        move |below| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % u64::from(below.max(1))) as u32
        }
    }

    #[test]
    fn maps_never_overlap_and_have_no_gaps() {
        let mut any = numbers();
        for _ in 0..20_000 {
            let text = (0..any(6)).map(|_| format!("me:{}:{}", any(200), any(40))).collect::<Vec<_>>().join("\n");
            let (own, size) = (1000 + any(50), 1 + any(300));
            let inside = [0, own, any(40)][any(3) as usize];
            let ranges = granted(text.as_bytes(), Some(b"me"), own);
            let map = Map::around(own, inside, &ranges, size);
            let context = format!("{text} {own} {inside} {size}: {map}");
            let mut ids: Vec<_> = map.numbers().flat_map(|[inside, _, count]| inside..inside + count).collect();
            let mut outside: Vec<_> = map.numbers().flat_map(|[_, outside, count]| outside..outside + count).collect();
            let there = 1 + ranges.iter().map(|range| range.count).sum::<u32>();
            assert_eq!(ids.len(), size.min(there) as usize, "{context}");
            assert!(map.contains(inside) && ids.iter().all(|id| map.contains(*id)), "{context}");
            ids.sort_unstable();
            let others = ids.iter().copied().filter(|id| *id != inside);
            assert!(others.eq((0..).filter(|id| *id != inside).take(ids.len() - 1)), "{context}");
            outside.sort_unstable();
            assert!(outside.windows(2).all(|pair| pair[0] < pair[1]), "{context}");
        }
    }

    #[test]
    fn maps_have_no_more_lines_than_the_kernel_takes() {
        let ranges: Vec<_> = (0..1000).map(|number| range(2 * number, 1)).collect();
        for inside in [0, 100, 100_000] {
            let map = Map::around(50_001, inside, &ranges, 65536);
            assert!(map.numbers().count() <= LINES_MAX, "{inside}");
            assert!(map.contains(inside));
        }
    }
}
