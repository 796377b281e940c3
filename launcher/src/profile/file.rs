//! What a profile says, as options: keys are their long names. What is wrong is told with its line and column.

use super::layer::{self, Layer};
use super::table::{Table, Takes};
use super::toml::{self, Entry, Value};
use crate::error::Error;
use crate::spec::Caller;
use std::ffi::OsString;

/// What is wrong, and where.
pub struct Fault {
    line: usize,
    column: usize,
    cause: String,
    hint: Option<String>,
}

impl Fault {
    fn new(text: &str, at: usize, cause: String, hint: Option<String>) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self { line: before.matches('\n').count() + 1, column: line.chars().count() + 1, cause, hint }
    }

    pub fn into_error(self, step: String) -> Error {
        let error = Error::new(step, format!("line {}, column {}: {}", self.line, self.column, self.cause));
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// The options of a profile, and those that it has for who runs nsl now.
pub fn read(text: &str, table: &mut Table) -> Result<[Layer; 2], Fault> {
    let entries = toml::read(text).map_err(|(at, cause)| Fault::new(text, at, cause, None))?;
    let (mut layer, mut for_root) = (Layer::new(), Layer::new());
    for entry in entries {
        add(if entry.for_root { &mut for_root } else { &mut layer }, text, entry, table)?;
    }
    if !Caller::current().is_privileged() {
        for_root.clear();
    }
    Ok([layer, for_root])
}

fn add(layer: &mut Layer, text: &str, entry: Entry, table: &mut Table) -> Result<(), Fault> {
    let Entry { key, at, value, .. } = entry;
    let fault = |cause, hint| Fault::new(text, at, cause, hint);
    let Some(index) = table.find(&key) else {
        let (cause, meant) = table.unknown(&key);
        return Err(fault(cause, meant.map(|meant| format!("did you mean {meant}?"))));
    };
    let values = values(value, table.takes(index)).map_err(|wanted| fault(format!("{key} {wanted}"), None))?;
    if values.iter().any(|value| value.as_encoded_bytes().contains(&0)) {
        return Err(fault(format!("{key} holds a NUL byte"), None));
    }
    let is_there = table.takes(index) != Takes::Nothing && !values.iter().any(|value| value.is_empty());
    if is_there {
        table.check(index, &values).map_err(|cause| fault(cause, None))?;
    }
    if layer::holds(layer, index) {
        return Err(fault(format!("{key} is there twice"), None));
    }
    layer.push((index, values));
    Ok(())
}

/// The value as words, or what it has to be.
fn values(value: Value, takes: Takes) -> Result<Vec<OsString>, &'static str> {
    match (takes, value) {
        (Takes::Nothing | Takes::One, Value::Flag(is_set)) => Ok(vec![is_set.to_string().into()]),
        (Takes::One, Value::Text(text)) => Ok(vec![text.into()]),
        (Takes::Many | Takes::Command, Value::List(items)) => {
            let text = |item| if let Value::Text(text) = item { Ok(text.into()) } else { Err("is a list of texts") };
            items.into_iter().map(text).collect()
        }
        (Takes::Nothing, _) => Err("is true or false"),
        (Takes::One, _) => Err("takes one text or number"),
        (Takes::Many | Takes::Command, _) => Err("is a list, such as [\"one\", \"another\"]"),
    }
}
