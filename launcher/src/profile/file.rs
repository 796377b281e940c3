//! The text of a profile, TOML, read as options: keys are their long names. What is wrong is told with its line and column.

use super::layer::Layer;
use super::table::{Table, Takes};
use crate::error::Error;
use crate::spec::Caller;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use toml::Spanned;

/// The table of what counts if root runs nsl, whose sandboxes are others.
const ROOT: &str = "root";

type Entries = BTreeMap<Spanned<String>, Spanned<Value>>;

/// What can stand behind a key.
enum Value {
    Flag(bool),
    Text(String),
    List(Vec<Value>),
    Table(Entries),
}

struct AnyValue;

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyValue)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, a number, \"text\" or a list of them")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Flag(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut entries = Entries::new();
        // A date is given as a table with a key of toml's own, the only one that is none of the text.
        let wanted = |_| A::Error::custom("no option takes a date or a time");
        while let Some((key, value)) = items.next_entry().map_err(wanted)? {
            entries.insert(key, value);
        }
        Ok(Value::Table(entries))
    }
}

/// What is wrong, and where.
pub struct Fault {
    place: Option<(usize, usize)>,
    cause: String,
    hint: Option<String>,
}

impl Fault {
    fn new(text: &str, offset: Option<usize>, cause: String, hint: Option<String>) -> Self {
        let place = offset.and_then(|offset| text.get(..offset)).map(|before| {
            let line = before.rsplit('\n').next().unwrap_or_default();
            (before.matches('\n').count() + 1, line.chars().count() + 1)
        });
        Self { place, cause, hint }
    }

    pub fn into_error(self, step: String) -> Error {
        let cause = match self.place {
            Some((line, column)) => format!("line {line}, column {column}: {}", self.cause),
            None => self.cause,
        };
        let error = Error::new(step, cause);
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// The options of a profile, and those that it has for who runs nsl now.
pub fn read(text: &str, table: &mut Table) -> Result<[Layer; 2], Fault> {
    let entries: Entries = toml::from_str(text).map_err(|error| {
        Fault::new(text, error.span().map(|span| span.start), error.message().replace('\n', ", "), None)
    })?;
    let (mut layer, mut for_root) = (Layer::new(), Layer::new());
    for (key, value) in entries {
        match (key.get_ref().as_str(), value.into_inner()) {
            (ROOT, Value::Table(entries)) => {
                for (key, value) in entries {
                    add(&mut for_root, text, &key, value.into_inner(), table)?;
                }
            }
            (_, value) => add(&mut layer, text, &key, value, table)?,
        }
    }
    if !Caller::current().is_privileged() {
        for_root.clear();
    }
    Ok([layer, for_root])
}

fn add(layer: &mut Layer, text: &str, key: &Spanned<String>, value: Value, table: &mut Table) -> Result<(), Fault> {
    let name = key.get_ref();
    let fault = |cause, hint| Fault::new(text, Some(key.span().start), cause, hint);
    let Some(index) = table.find(name) else {
        let (cause, meant) = table.unknown(name);
        return Err(fault(cause, meant.map(|meant| format!("did you mean {meant}?"))));
    };
    let values = values(value, table.takes(index)).map_err(|wanted| fault(format!("{name} {wanted}"), None))?;
    if values.iter().any(|value| value.as_encoded_bytes().contains(&0)) {
        return Err(fault(format!("{name} holds a NUL byte"), None));
    }
    let is_there = table.takes(index) != Takes::Nothing && !values.iter().any(|value| value.is_empty());
    if is_there {
        table.check(index, &values).map_err(|cause| fault(cause, None))?;
    }
    layer.insert(index, values);
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
