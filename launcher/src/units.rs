//! What is counted on the command line: times, sizes, CPUs, processes. Pure; each error has examples. All arithmetic is
//! in whole numbers, so that 0.1 is what it looks like.

use crate::error::{Error, Result};

/// The length of a period of the CPU limit, in microseconds (`cpu.max` of the kernel's cgroup-v2 document).
pub const CPU_PERIOD: u64 = 100_000;
/// The shortest quota and the largest number of CPUs that a period may have: the kernel's bounds, the second rounded.
const CPU_QUOTA_MIN: u64 = 1000;
const CPUS_MAX: u128 = 1_000_000;
/// The most processes that the kernel counts to (`PID_MAX_LIMIT`), less the init.
const PROCESSES_MAX: u32 = (1 << 22) - 1;

const ONE: u128 = 1_000_000_000;

/// A time as in `10s`, `500ms`, `1.5m` or `2h`, in milliseconds, rounded up; a number alone counts seconds.
pub fn milliseconds(option: &str, text: &str) -> Result<u32> {
    let step = || format!("use {option}");
    let (number, suffix) = split(text);
    let unit = match suffix {
        "ms" => Some(1),
        "" | "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    match billionths(number).zip(unit) {
        None => Err(Error::new(step(), format!("'{text}' is no time")).hint("such as 10s, 500ms, 2m or 1h")),
        Some((number, unit)) => u32::try_from((number * unit).div_ceil(ONE))
            .map_err(|_| Error::new(step(), format!("'{text}' is too long")).hint("49 days are the most")),
    }
}

/// A size as in `64m`, `1.5g` or `100000`, in bytes; a kilobyte has 1024 of them, as docker has it.
pub fn bytes(option: &str, text: &str) -> Result<u64> {
    let step = || format!("use {option}");
    let (number, suffix) = split(text);
    let suffix = suffix.to_ascii_lowercase();
    let letter = suffix.strip_suffix("ib").or(suffix.strip_suffix('b')).unwrap_or(&suffix);
    let shift = match letter {
        "" if suffix != "ib" => Some(0),
        "k" => Some(10),
        "m" => Some(20),
        "g" => Some(30),
        "t" => Some(40),
        _ => None,
    };
    let no_size = || Error::new(step(), format!("'{text}' is no size")).hint("such as 64m, 1.5g or 1048576");
    let (number, shift) = billionths(number).zip(shift).ok_or_else(no_size)?;
    match i64::try_from((number << shift) / ONE) {
        Ok(0) => Err(Error::new(step(), format!("'{text}' is nothing at all")).hint("leave it out for no limit")),
        Ok(bytes) => Ok(bytes as u64),
        Err(_) => Err(Error::new(step(), format!("'{text}' is too large"))),
    }
}

/// CPUs as in `1.5`, in microseconds of each [`CPU_PERIOD`].
pub fn cpus(option: &str, text: &str) -> Result<u64> {
    let step = || format!("use {option}");
    let no_number = || Error::new(step(), format!("'{text}' is no number of CPUs")).hint("such as 2 or 0.5");
    let number = billionths(text).ok_or_else(no_number)?;
    let quota = number * u128::from(CPU_PERIOD) / ONE;
    match u64::try_from(quota) {
        Ok(quota) if quota >= CPU_QUOTA_MIN && number <= CPUS_MAX * ONE => Ok(quota),
        _ => Err(Error::new(step(), format!("'{text}' is not from 0.01 to {CPUS_MAX}"))),
    }
}

/// A number of processes; none for -1, which is docker's word for no limit.
pub fn processes(option: &str, number: i64) -> Result<Option<u32>> {
    match u32::try_from(number) {
        Err(_) if number == -1 => Ok(None),
        Ok(number) if (1..=PROCESSES_MAX).contains(&number) => Ok(Some(number)),
        _ => Err(Error::new(format!("use {option}"), format!("{number} is not from 1 to {PROCESSES_MAX}"))
            .hint("-1 is no limit")),
    }
}

/// The number at the beginning, and what is behind it.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()))
}

/// A decimal number, in billionths; further digits are cut off. Of at most 15 digits before the point, so that no unit
/// overflows.
fn billionths(text: &str) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || whole.len() > 15 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let digits = whole.bytes().chain(fraction.bytes().chain(std::iter::repeat(b'0')).take(9));
    Some(digits.fold(0, |number, digit| number * 10 + u128::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_a_number_alone_counts_seconds() {
        let cases = [
            ("0", 0),
            ("10", 10_000),
            ("10s", 10_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("1.5", 1500),
            (".5s", 500),
            ("0.0001", 1),
            ("0.1", 100),
            ("4294967.295", u32::MAX),
        ];
        for (text, expected) in cases {
            assert_eq!(milliseconds("--timeout", text).ok(), Some(expected), "{text}");
        }
        for bad in ["", ".", "s", "soon", "1 s", "1S", "-1", "+1", "1.2.3", "1e3", "10sec", "ms", "١"] {
            let error = milliseconds("--timeout", bad).unwrap_err().to_string();
            assert_eq!(error, format!("cannot use --timeout: '{bad}' is no time (hint: such as 10s, 500ms, 2m or 1h)"));
        }
        for long in ["4294967.296", "50d", "1194h", "999999999999999d"] {
            assert!(milliseconds("--timeout", long).unwrap_err().to_string().contains("too long"), "{long}");
        }
    }

    #[test]
    fn sizes_are_dockers() {
        let cases = [
            ("1", 1),
            ("100b", 100),
            ("64k", 65_536),
            ("64m", 67_108_864),
            ("64M", 67_108_864),
            ("64mb", 67_108_864),
            ("64MiB", 67_108_864),
            ("1.5g", 1_610_612_736),
            ("2t", 2_199_023_255_552),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes("--memory", text).ok(), Some(expected), "{text}");
        }
        for bad in ["", "m", "-1", "64x", "64ib", "64 m", "sixty", "1,5g", "64mm"] {
            let error = bytes("--memory", bad).unwrap_err().to_string();
            assert!(error.contains("is no size") && error.contains("64m, 1.5g"), "{bad}: {error}");
        }
        assert!(bytes("--memory", "0").unwrap_err().to_string().contains("no limit"));
        assert!(bytes("--memory", "0.1b").unwrap_err().to_string().contains("no limit"));
        for large in ["9000000000g", "999999999999999t"] {
            assert!(bytes("--memory", large).unwrap_err().to_string().contains("too large"), "{large}");
        }
    }

    #[test]
    fn cpus_are_a_quota_of_each_period() {
        for (text, expected) in [("1", 100_000), ("1.5", 150_000), ("0.01", 1000), (".25", 25_000), ("0.1", 10_000)] {
            assert_eq!(cpus("--cpus", text).ok(), Some(expected), "{text}");
        }
        for (bad, words) in [("0", "0.01"), ("0.001", "0.01"), ("1000001", "1000000"), ("two", "0.5"), ("-1", "0.5")] {
            let error = cpus("--cpus", bad).unwrap_err().to_string();
            assert!(error.contains(words), "{bad}: {error}");
        }
    }

    #[test]
    fn processes_are_one_or_more_or_without_limit() {
        assert_eq!(processes("--pids-limit", 100).ok(), Some(Some(100)));
        assert_eq!(processes("--pids-limit", -1).ok(), Some(None));
        for bad in [0, -2, 4_194_304, i64::MAX, i64::MIN, 1 << 32] {
            assert!(processes("--pids-limit", bad).is_err(), "{bad}");
        }
    }
}
