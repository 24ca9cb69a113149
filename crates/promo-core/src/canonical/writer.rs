//! Writes canonical JSON as values are told to it, without a tree of them in between: a plan over ten thousand environments
//! takes ten times its own size as a tree. What must not live here: what is read.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt::Display;
use core::ops::Range;

use serde::ser::{self, Serialize, Serializer};
use serde_json::Value;

use super::{CanonicalError, MAX_INTEGER};

type Result<T, E = CanonicalError> = core::result::Result<T, E>;

impl ser::Error for CanonicalError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Json(message.to_string())
    }
}

/// Writes one value at the end of what is there.
pub(super) struct Writer<'o>(pub(super) &'o mut Vec<u8>);

/// A list that is being written.
pub(super) struct Items<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
    close: &'static [u8],
}

/// An object that is being written: its entries stand in the order in which they came, and are put in order at its end.
pub(super) struct Entries<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    entries: Vec<(Cow<'static, str>, Range<usize>)>,
    key: Option<String>,
    close: &'static [u8],
}

impl<'o> Writer<'o> {
    fn raw(self, bytes: &[u8]) -> Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn number(self, magnitude: u64, text: &str) -> Result<()> {
        if magnitude > MAX_INTEGER { Err(CanonicalError::Number(text.to_string())) } else { self.raw(text.as_bytes()) }
    }

    /// JSON has no other numbers than finite ones, and writes null for those.
    fn float(self, value: Value) -> Result<()> {
        if value.is_null() { self.raw(b"null") } else { Err(CanonicalError::Number(value.to_string())) }
    }

    /// The variant of an enum, as an object with one key, up to its value.
    fn variant(self, name: &str) -> &'o mut Vec<u8> {
        self.0.push(b'{');
        write_string(name, self.0);
        self.0.push(b':');
        self.0
    }
}

impl<'o> Items<'o> {
    fn new(out: &'o mut Vec<u8>, close: &'static [u8]) -> Self {
        out.push(b'[');
        Self { out, first: true, close }
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        if !core::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        value.serialize(Writer(self.out))
    }

    fn close(self) -> Result<()> {
        self.out.extend_from_slice(self.close);
        Ok(())
    }
}

impl<'o> Entries<'o> {
    fn new(out: &'o mut Vec<u8>, close: &'static [u8]) -> Self {
        out.push(b'{');
        let start = out.len();
        Self { out, start, entries: Vec::new(), key: None, close }
    }

    fn entry<T: Serialize + ?Sized>(&mut self, key: Cow<'static, str>, value: &T) -> Result<()> {
        if !self.entries.is_empty() {
            self.out.push(b',');
        }
        let from = self.out.len();
        write_string(&key, self.out);
        self.out.push(b':');
        value.serialize(Writer(self.out))?;
        self.entries.push((key, from..self.out.len()));
        Ok(())
    }

    fn close(mut self) -> Result<()> {
        let ordered = self.entries.is_sorted_by(|(a, _), (b, _)| order(a, b) == Ordering::Less);
        if !ordered {
            // Of several entries with one key the last one counts, as in any tree of values.
            self.entries.sort_by(|(a, _), (b, _)| order(a, b));
            let mut sorted = Vec::with_capacity(self.out.len() - self.start);
            for (place, (key, range)) in self.entries.iter().enumerate() {
                if self.entries.get(place + 1).is_some_and(|(next, _)| next == key) {
                    continue;
                }
                if !sorted.is_empty() {
                    sorted.push(b',');
                }
                sorted.extend_from_slice(&self.out[range.clone()]);
            }
            self.out.truncate(self.start);
            self.out.extend_from_slice(&sorted);
        }
        self.out.extend_from_slice(self.close);
        Ok(())
    }
}

/// RFC 8785 section 3.2.3: keys are sorted by their UTF-16 code units. Only beyond ASCII do they order otherwise than bytes.
fn order(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

/// A key as JSON has it: a text, or what has one spelling as a text.
fn key<T: Serialize + ?Sized>(key: &T) -> Result<String> {
    match serde_json::to_value(key) {
        Ok(Value::String(text)) => Ok(text),
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        Ok(_) => Err(ser::Error::custom("key must be a string")),
        Err(error) => Err(ser::Error::custom(error)),
    }
}

impl<'o> Serializer for Writer<'o> {
    type Ok = ();
    type Error = CanonicalError;
    type SerializeSeq = Items<'o>;
    type SerializeTuple = Items<'o>;
    type SerializeTupleStruct = Items<'o>;
    type SerializeTupleVariant = Items<'o>;
    type SerializeMap = Entries<'o>;
    type SerializeStruct = Entries<'o>;
    type SerializeStructVariant = Entries<'o>;

    fn serialize_bool(self, value: bool) -> Result<()> {
        self.raw(if value { b"true" } else { b"false" })
    }

    fn serialize_i8(self, value: i8) -> Result<()> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<()> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<()> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<()> {
        self.number(value.unsigned_abs(), &value.to_string())
    }

    fn serialize_u8(self, value: u8) -> Result<()> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<()> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<()> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<()> {
        self.number(value, &value.to_string())
    }

    fn serialize_f32(self, value: f32) -> Result<()> {
        self.float(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<()> {
        self.float(value.into())
    }

    fn serialize_char(self, value: char) -> Result<()> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<()> {
        write_string(value, self.0);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_none(self) -> Result<()> {
        self.raw(b"null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<()> {
        self.raw(b"null")
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<()> {
        self.raw(b"null")
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<()> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        let out = self.variant(variant);
        value.serialize(Writer(out))?;
        Writer(out).raw(b"}")
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Items<'o>> {
        Ok(Items::new(self.0, b"]"))
    }

    fn serialize_tuple(self, _len: usize) -> Result<Items<'o>> {
        Ok(Items::new(self.0, b"]"))
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Items<'o>> {
        Ok(Items::new(self.0, b"]"))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Items<'o>> {
        Ok(Items::new(self.variant(variant), b"]}"))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Entries<'o>> {
        Ok(Entries::new(self.0, b"}"))
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Entries<'o>> {
        Ok(Entries::new(self.0, b"}"))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Entries<'o>> {
        Ok(Entries::new(self.variant(variant), b"}}"))
    }
}

macro_rules! items {
    ($($trait:ident: $method:ident;)+) => {$(
        impl ser::$trait for Items<'_> {
            type Ok = ();
            type Error = CanonicalError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                self.item(value)
            }

            fn end(self) -> Result<()> {
                self.close()
            }
        }
    )+};
}

items! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
}

macro_rules! fields {
    ($($trait:ident;)+) => {$(
        impl ser::$trait for Entries<'_> {
            type Ok = ();
            type Error = CanonicalError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
                self.entry(Cow::Borrowed(name), value)
            }

            fn end(self) -> Result<()> {
                self.close()
            }
        }
    )+};
}

fields! {
    SerializeStruct;
    SerializeStructVariant;
}

impl ser::SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = CanonicalError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<()> {
        self.key = Some(key(name)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let key = self.key.take().ok_or_else(|| ser::Error::custom("a value came before its key"))?;
        self.entry(Cow::Owned(key), value)
    }

    fn end(self) -> Result<()> {
        self.close()
    }
}

/// RFC 8785 section 3.2.2.2: short escapes where JSON has them, `\u00xx` in lower case for other controls, else as is.
fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    // All that is escaped is ASCII, so whole stretches between escapes are copied as they are.
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, 0..=0x1f | b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            control => out.extend_from_slice(alloc::format!("\\u{control:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
