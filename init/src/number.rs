//! Numbers, as words of the command line and of /proc have them.

/// The number that `text`, of decimal digits alone, stands for.
#[must_use]
pub fn read(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u32, |sum, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit < 10 { sum.checked_mul(10)?.checked_add(digit.into()) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn digits_alone_are_a_number() {
        assert_eq!(["0", "015", "4294967295"].map(|text| read(text.as_bytes())), [Some(0), Some(15), Some(u32::MAX)]);
        for text in ["", "-1", "+1", " 1", "1x", "4294967296", "/", ":"] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
