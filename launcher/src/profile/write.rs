//! Options as a profile. What is written is read again as the same.

use super::layer::Layer;
use super::table::{Table, Takes};
use crate::error::{Error, Result};
use std::ffi::OsStr;
use std::fmt::Write;

pub fn toml(layer: &Layer, table: &Table) -> Result<String> {
    let mut text = String::new();
    for (index, values) in layer {
        let key = table.long(*index);
        let shown = values.iter().map(|value| quoted(value, key)).collect::<Result<Vec<_>>>()?;
        let _ = match (table.takes(*index), &shown[..]) {
            (Takes::Nothing, _) => writeln!(text, "{key} = true"),
            (Takes::One, [value, ..]) => writeln!(text, "{key} = {value}"),
            (Takes::Many, [_, _, ..]) => writeln!(text, "{key} = [\n    {},\n]", shown.join(",\n    ")),
            _ => writeln!(text, "{key} = [{}]", shown.join(", ")),
        };
    }
    Ok(text)
}

/// A basic string of TOML's.
fn quoted(value: &OsStr, key: &str) -> Result<String> {
    let refused = || Error::new(format!("write {key} = {} into a profile", value.display()), "TOML is UTF-8");
    let mut text = String::from('"');
    for c in value.to_str().ok_or_else(refused)?.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => drop(write!(text, "\\u{:04x}", c as u32)),
            c => text.push(c),
        }
    }
    text.push('"');
    Ok(text)
}
