//! TOML as far as a profile has use for it: keys with texts, numbers, booleans and lists of these, and one table. The
//! grammar is toml_parser's, which toml and toml_edit are made of; of their trees and of serde's nothing is needed here.

use toml_parser::decoder::{Encoding, IntegerRadix, ScalarKind};
use toml_parser::parser::{EventReceiver, parse_document};
use toml_parser::{ErrorSink, ParseError, Source, Span};

/// The table of what counts if root runs nsl, whose sandboxes are others.
const ROOT: &str = "root";

/// What can stand behind a key; a number is a text.
pub enum Value {
    Flag(bool),
    Text(String),
    List(Vec<Value>),
}

pub struct Entry {
    pub key: String,
    /// Where the key stands.
    pub at: usize,
    /// It stands in the table for root.
    pub for_root: bool,
    pub value: Value,
}

/// All of a text, or where it is wrong, and why.
pub fn read(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let source = Source::new(text);
    let mut reader = Reader { source, keys: Vec::new(), list: None, for_root: false, entries: Vec::new() };
    let mut fault: Option<ParseError> = None;
    parse_document(&source.lex().into_vec(), &mut reader, &mut fault);
    match fault {
        None => Ok(reader.entries),
        Some(fault) => {
            let place = fault.unexpected().or(fault.context());
            Err((place.map_or(0, |span| span.start()), fault.description().to_owned()))
        }
    }
}

struct Reader<'a> {
    source: Source<'a>,
    /// The key, or the name of a table, in the parts between its dots.
    keys: Vec<(String, usize)>,
    list: Option<Vec<Value>>,
    for_root: bool,
    entries: Vec<Entry>,
}

fn refuse(cause: &'static str, span: Span, error: &mut dyn ErrorSink) {
    error.report_error(ParseError::new(cause).with_unexpected(span));
}

impl Reader<'_> {
    fn take_key(&mut self) -> (String, usize) {
        let at = self.keys.first().map_or(0, |(_, at)| *at);
        let parts: Vec<_> = self.keys.drain(..).map(|(part, _)| part).collect();
        (parts.join("."), at)
    }

    fn finish(&mut self, value: Value) {
        if let Some(list) = &mut self.list {
            return list.push(value);
        }
        let (key, at) = self.take_key();
        self.entries.push(Entry { key, at, for_root: self.for_root, value });
    }
}

impl EventReceiver for Reader<'_> {
    fn std_table_open(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.keys.clear();
    }

    fn std_table_close(&mut self, span: Span, error: &mut dyn ErrorSink) {
        if self.take_key().0 != ROOT {
            refuse("a profile has no table but [root]", span.before(), error);
        }
        self.for_root = true;
    }

    fn array_table_open(&mut self, span: Span, error: &mut dyn ErrorSink) {
        refuse("a profile has no table but [root]", span, error);
    }

    fn inline_table_open(&mut self, span: Span, error: &mut dyn ErrorSink) -> bool {
        refuse("no option takes a table", span, error);
        false
    }

    fn array_open(&mut self, span: Span, error: &mut dyn ErrorSink) -> bool {
        let is_first = self.list.is_none();
        if is_first {
            self.list = Some(Vec::new());
        } else {
            refuse("no option takes lists in a list", span, error);
        }
        is_first
    }

    fn array_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        if let Some(list) = self.list.take() {
            self.finish(Value::List(list));
        }
    }

    fn simple_key(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let mut key = String::new();
        if let Some(raw) = self.source.get(span) {
            toml_parser::Raw::new_unchecked(raw.as_str(), encoding, span).decode_key(&mut key, error);
        }
        self.keys.push((key, span.start()));
    }

    fn scalar(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let mut text = String::new();
        let Some(raw) = self.source.get(span) else { return };
        let raw = toml_parser::Raw::new_unchecked(raw.as_str(), encoding, span);
        let value = match raw.decode_scalar(&mut text, error) {
            ScalarKind::Boolean(is_set) => Value::Flag(is_set),
            ScalarKind::DateTime => return refuse("no option takes a date or a time", span, error),
            ScalarKind::Integer(radix) if radix != IntegerRadix::Dec => {
                return refuse("numbers are decimal here", span, error);
            }
            ScalarKind::String | ScalarKind::Float | ScalarKind::Integer(_) => Value::Text(text),
        };
        self.finish(value);
    }
}
