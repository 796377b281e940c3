//! Did you mean …? The name of a list that a word was meant to be.

/// As near as clap's own suggestions have to be.
const NEAR: f64 = 0.7;

/// The name that is most like `word`, whatever its case, if one is like it at all.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let likeness = |name: &'a str| (strsim::jaro(&word, &name.to_ascii_lowercase()), name);
    let near = names.into_iter().map(likeness).filter(|(likeness, _)| *likeness > NEAR);
    near.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, name)| name)
}

/// A hint of that name; else of what there is.
pub fn hint<'a>(word: &str, names: impl IntoIterator<Item = &'a str>, otherwise: impl Into<String>) -> String {
    match nearest(word, names) {
        Some(name) => format!("did you mean {name}?"),
        None => otherwise.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_another_word_is_not() {
        let names = ["NET_ADMIN", "NET_RAW", "SYS_ADMIN", "KILL"];
        let near = |word| nearest(word, names);
        assert_eq!(near("NET_ADMN"), Some("NET_ADMIN"));
        assert_eq!(near("sys-admin"), Some("SYS_ADMIN"));
        assert_eq!(near("KLIL"), Some("KILL"));
        assert_eq!(near("netraw"), Some("NET_RAW"));
        assert_eq!((near("FLY"), near(""), nearest("x", [])), (None, None, None));
        assert_eq!(hint("FLY", names, "such as KILL"), "such as KILL");
        assert_eq!(hint("KIL", names, "such as KILL"), "did you mean KILL?");
    }
}
