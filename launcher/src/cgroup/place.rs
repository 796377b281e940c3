//! Which cgroup the sandbox's is made in: the choice, over a description of those that are in sight. Pure.

use std::fmt;

/// A set of the controllers that nsl uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Controllers(u8);

impl Controllers {
    pub const MEMORY: Self = Self(1);
    pub const CPU: Self = Self(1 << 1);
    pub const PIDS: Self = Self(1 << 2);

    const NAMES: [(Self, &'static str); 3] = [(Self::MEMORY, "memory"), (Self::CPU, "cpu"), (Self::PIDS, "pids")];

    /// Those among the words of `cgroup.controllers` and the like.
    pub fn parse(text: &str) -> Self {
        text.split_ascii_whitespace().map(Self::named).fold(Self::default(), Self::and)
    }

    /// That of a name; none for others'.
    pub fn named(name: &str) -> Self {
        Self::NAMES.iter().find(|(_, known)| *known == name).map_or(Self::default(), |(one, _)| *one)
    }

    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(one, _)| self.contains(*one)).map(|(_, name)| *name)
    }

    /// Each alone.
    pub fn each() -> impl Iterator<Item = Self> {
        Self::NAMES.iter().map(|(one, _)| *one)
    }

    /// The first of them.
    pub fn first(self) -> Self {
        Self::NAMES.iter().map(|(one, _)| *one).find(|one| self.contains(*one)).unwrap_or_default()
    }
}

/// The names, with spaces between them.
impl fmt::Display for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(" "))
    }
}

/// Who lives in a cgroup itself, those below it left aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holds {
    Nobody,
    NslAlone,
    Others,
}

/// What there is to know of a cgroup: nsl's own or one above it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Level {
    /// What its parent lets it use.
    pub available: Controllers,
    /// What those below it can use.
    pub enabled: Controllers,
    /// May cgroups be made and processes be moved in it?
    pub is_writable: bool,
    /// The root of the whole hierarchy is exempt from the rule that none may hold both processes and controllers.
    pub is_root: bool,
    /// Does it hold processes as a whole, and not threads of them?
    pub is_domain: bool,
    pub holds: Holds,
    /// A service manager has left it, and what is below, to who is in it.
    pub is_delegated: bool,
}

/// Where to make the sandbox's cgroup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The index of the level.
    pub level: usize,
    /// nsl is in it, and must get out of the way: into a cgroup below.
    pub step_aside: bool,
}

/// Why there is no such place. The indices are those of levels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The uppermost cgroup in sight does not have this controller.
    Absent(Controllers),
    /// This cgroup does not have this controller, and no other may be written to.
    NotEnabled(Controllers, usize),
    /// None may be written to; this is nsl's own.
    NotWritable(usize),
    /// All would be well, were there not other processes in it.
    HoldsOthers(usize),
}

/// Chooses among nsl's own cgroup, which is the first of `levels`, and those above it, up to the uppermost in sight: the
/// nearest where all that is wanted is enabled already, or else the nearest where it can be. Above one that was delegated
/// all is the service manager's, and the limits of the unit end there: that is the last resort.
pub fn choose(levels: &[Level], wanted: Controllers) -> Result<Choice, Refusal> {
    let delegated = levels.iter().position(|level| level.is_delegated);
    match delegated.map(|index| choose_among(&levels[..=index], wanted)) {
        Some(Ok(choice)) => Ok(choice),
        _ => choose_among(levels, wanted),
    }
}

fn choose_among(levels: &[Level], wanted: Controllers) -> Result<Choice, Refusal> {
    let usable = || levels.iter().enumerate().filter(|(_, level)| level.is_writable && level.is_domain);
    if let Some((level, _)) = usable().find(|(_, level)| level.enabled.contains(wanted)) {
        return Ok(Choice { level, step_aside: false });
    }
    let can_have = || usable().filter(|(_, level)| level.available.contains(wanted));
    let free = can_have().find(|(index, level)| {
        level.is_root || level.holds == Holds::Nobody || *index == 0 && level.holds == Holds::NslAlone
    });
    if let Some((index, level)) = free {
        return Ok(Choice { level: index, step_aside: !level.is_root && level.holds == Holds::NslAlone });
    }
    Err(refusal(levels, wanted, usable().next().map(|(index, _)| index), can_have().next().map(|(index, _)| index)))
}

fn refusal(levels: &[Level], wanted: Controllers, usable: Option<usize>, can_have: Option<usize>) -> Refusal {
    let missing = |level: &Level| wanted.without(level.available).first();
    match (levels.last(), usable, can_have) {
        (Some(top), ..) if !top.available.contains(wanted) => Refusal::Absent(missing(top)),
        (_, _, Some(index)) => Refusal::HoldsOthers(index),
        (_, Some(index), None) => Refusal::NotEnabled(missing(&levels[index]), index),
        (_, None, None) => Refusal::NotWritable(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Controllers = Controllers(7);
    const NONE: Controllers = Controllers(0);
    const MEMORY: Controllers = Controllers::MEMORY;

    /// A writable cgroup with processes.
    fn level(available: Controllers, enabled: Controllers) -> Level {
        let holds = if enabled.is_empty() { Holds::Others } else { Holds::Nobody };
        Level { available, enabled, is_writable: true, is_root: false, is_domain: true, holds, is_delegated: false }
    }

    fn root(enabled: Controllers) -> Level {
        Level { is_root: true, holds: Holds::Others, ..level(ALL, enabled) }
    }

    fn foreign(level: Level) -> Level {
        Level { is_writable: false, ..level }
    }

    fn holding(holds: Holds, level: Level) -> Level {
        Level { holds, ..level }
    }

    fn chosen(level: usize, step_aside: bool) -> Choice {
        Choice { level, step_aside }
    }

    #[test]
    fn the_root_will_do_whoever_is_in_it() {
        assert_eq!(choose(&[root(NONE)], ALL), Ok(chosen(0, false)));
        assert_eq!(choose(&[root(ALL)], MEMORY), Ok(chosen(0, false)));
        // Nobody is asked to leave it.
        assert_eq!(choose(&[holding(Holds::NslAlone, root(NONE))], ALL), Ok(chosen(0, false)));
    }

    #[test]
    fn the_nearest_with_all_controllers_enabled_is_taken() {
        // As in a session of systemd's: scope, slice of the user, slice of all users, root.
        let levels = [level(ALL, NONE), level(ALL, MEMORY), level(ALL, ALL), root(ALL)];
        assert_eq!(choose(&levels, MEMORY), Ok(chosen(1, false)));
        assert_eq!(choose(&levels, ALL), Ok(chosen(2, false)));
        assert_eq!(choose(&[levels[0], foreign(levels[1]), levels[2], levels[3]], MEMORY), Ok(chosen(2, false)));
    }

    #[test]
    fn where_none_has_them_the_nearest_that_can_is_taken() {
        let levels = [level(MEMORY, NONE), level(ALL, MEMORY), root(ALL)];
        // The uppermost has them enabled, and so comes first.
        assert_eq!(choose(&levels, ALL), Ok(chosen(2, false)));
        assert_eq!(choose(&[levels[0], levels[1], foreign(levels[2])], ALL), Ok(chosen(1, false)));
        assert_eq!(choose(&[level(NONE, NONE), root(NONE)], ALL), Ok(chosen(1, false)));
    }

    #[test]
    fn nsl_steps_aside_in_a_cgroup_that_it_has_for_itself() {
        let delegated = holding(Holds::NslAlone, level(ALL, NONE));
        let above = [foreign(level(ALL, ALL)), foreign(root(ALL))];
        assert_eq!(choose(&[delegated, above[0], above[1]], ALL), Ok(chosen(0, true)));
        assert_eq!(choose(&[holding(Holds::Others, delegated), above[0], above[1]], ALL), Err(Refusal::HoldsOthers(0)));
        // A cgroup above that holds nsl alone can't be: nsl is in its own.
        let levels = [level(NONE, NONE), holding(Holds::Others, level(ALL, NONE)), above[1]];
        assert_eq!(choose(&levels, ALL), Err(Refusal::HoldsOthers(1)));
    }

    #[test]
    fn what_is_delegated_is_left_only_where_it_will_not_do() {
        // As in a service of systemd's with Delegate=yes: its cgroup, the slice, the root.
        let unit = Level { is_delegated: true, ..holding(Holds::NslAlone, level(ALL, NONE)) };
        let above = [level(ALL, ALL), root(ALL)];
        assert_eq!(choose(&[unit, above[0], above[1]], ALL), Ok(chosen(0, true)));
        assert_eq!(choose(&[holding(Holds::Others, unit), above[0], above[1]], ALL), Ok(chosen(1, false)));
        let aside = level(ALL, NONE);
        assert_eq!(choose(&[aside, Level { enabled: ALL, ..unit }, above[0], above[1]], ALL), Ok(chosen(1, false)));
    }

    #[test]
    fn a_cgroup_of_threads_is_no_place() {
        let threaded = Level { is_domain: false, ..level(ALL, ALL) };
        assert_eq!(choose(&[threaded, root(NONE)], ALL), Ok(chosen(1, false)));
    }

    #[test]
    fn the_refusal_names_what_is_missing() {
        let hybrid = Level { available: NONE, ..root(NONE) };
        assert_eq!(choose(&[hybrid], ALL), Err(Refusal::Absent(MEMORY)));
        assert_eq!(choose(&[hybrid], Controllers::PIDS), Err(Refusal::Absent(Controllers::PIDS)));
        let session = [foreign(level(ALL, NONE)), foreign(level(ALL, ALL)), foreign(root(ALL))];
        assert_eq!(choose(&session, MEMORY), Err(Refusal::NotWritable(0)));
        let levels = [level(MEMORY, NONE), foreign(root(ALL))];
        assert_eq!(choose(&levels, ALL), Err(Refusal::NotEnabled(Controllers::CPU, 0)));
    }

    #[test]
    fn controllers_are_read_and_written_by_name() {
        let some = Controllers::parse("cpuset cpu io memory hugetlb\n");
        assert_eq!(some, Controllers::MEMORY.and(Controllers::CPU));
        assert_eq!((some.to_string().as_str(), NONE.to_string().as_str()), ("memory cpu", ""));
        assert_eq!(ALL.without(some), Controllers::PIDS);
        assert_eq!((ALL.first(), NONE.first()), (MEMORY, NONE));
    }
}
