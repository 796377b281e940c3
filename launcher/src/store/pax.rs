//! The records of an extended header: pax(1), "pax Extended Header", with star's and GNU tar's own. Pure.

/// What the records say about the entry behind them; what they do not say is `None` or empty.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Records {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    /// Seconds and nanoseconds since 1970.
    pub mtime: Option<(i64, u32)>,
    /// Extended attributes, by their names.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: Sparse,
}

/// GNU tar's three ways to tell where the data of a file with holes belong.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Sparse {
    pub major: u64,
    pub minor: u64,
    pub real_size: Option<u64>,
    /// Numbers of formats 0.0 and 0.1: offset, length, offset, length …
    pub map: Vec<u64>,
}

impl Sparse {
    pub fn is_used(&self) -> bool {
        self.major > 0 || self.real_size.is_some() || !self.map.is_empty()
    }
}

impl Records {
    /// Reads "LENGTH KEY=VALUE\n" again and again; says what is wrong with them otherwise.
    pub fn parse(mut bytes: &[u8]) -> Result<Self, &'static str> {
        const MALFORMED: &str = "its extended header is malformed";
        let mut records = Self::default();
        while !bytes.is_empty() {
            let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or(MALFORMED)?;
            let length = number(&bytes[..space]).and_then(|length| usize::try_from(length).ok()).ok_or(MALFORMED)?;
            let record = bytes.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or(MALFORMED)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(MALFORMED)?;
            records.take(&record[..equals], &record[equals + 1..])?;
            bytes = &bytes[length..];
        }
        Ok(records)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        const NO_NUMBER: &str = "a number in its extended header is none";
        let count = || number(value).ok_or(NO_NUMBER);
        match key {
            b"path" | b"GNU.sparse.name" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(count()?),
            b"uid" => self.uid = Some(count()?),
            b"gid" => self.gid = Some(count()?),
            b"mtime" => self.mtime = Some(time(value).ok_or(NO_NUMBER)?),
            b"GNU.sparse.major" => self.sparse.major = count()?,
            b"GNU.sparse.minor" => self.sparse.minor = count()?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = Some(count()?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.sparse.map.push(count()?),
            b"GNU.sparse.map" => {
                for number_in_map in value.split(|byte| *byte == b',') {
                    self.sparse.map.push(number(number_in_map).ok_or(NO_NUMBER)?);
                }
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// A number in decimal digits, and nothing else.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Seconds since 1970 with a fraction, which may be before it: the fraction counts upwards from the second below.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (is_negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = match digits.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&digits[..dot], &digits[dot + 1..]),
        None => (digits, &b""[..]),
    };
    let seconds = i64::try_from(number(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds =
        (0..9).fold(0, |sum, place| sum * 10 + fraction.get(place).map_or(0, |digit| u32::from(digit - b'0')));
    Some(match (is_negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_apart_by_their_lengths() {
        let records = Records::parse(b"12 path=a\nb\n8 uid=7\n30 SCHILY.xattr.user.x=y\n=\0zz\n9 other=\n");
        assert_eq!(
            records,
            Ok(Records {
                path: Some(b"a\nb".to_vec()),
                uid: Some(7),
                xattrs: vec![(b"user.x".to_vec(), b"y\n=\0zz".to_vec())],
                ..Records::default()
            })
        );
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"8 path=a\n"[..],
            b"99 path=a\n",
            b"10 path=ab",
            b"path=a\n",
            b"0 \n",
            b"2 ",
            b"18446744073709551615 a=b\n",
            b"7 pathx\n",
            b"-1 a=b\n",
            b"9 size=-\n",
            b"11 mtime=1x\n",
        ] {
            assert!(Records::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn times_have_fractions_and_may_lie_before_1970() {
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"12.1234567899"), Some((12, 123_456_789)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"-3"), Some((-3, 0)));
        for bad in [&b""[..], b".", b"1.x", b"--1", b"99999999999999999999", b"1e3"] {
            assert_eq!(time(bad), None, "{}", bad.escape_ascii());
        }
    }
}
