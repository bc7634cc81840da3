//! Reads the members of a JSON object one by one by name, because derived readers cannot name the field that they
//! refuse.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::error::Error;

/// The members of an object that are not read yet, and the names that were asked for.
pub(crate) struct Members {
    given: BTreeMap<String, Value>,
    known: Vec<&'static str>,
}

impl Members {
    /// Reads one object with `read`. Refuses members that `read` does not ask for.
    pub(crate) fn deserialize<'de, T, D>(
        deserializer: D,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
    {
        let mut members = deserializer.deserialize_map(Collect)?;
        let value = read(&mut members).map_err(de::Error::custom)?;
        members.finish().map_err(de::Error::custom)?;
        Ok(value)
    }

    /// Reads one member if it is there. The error gives its value and what it must be.
    pub(crate) fn take<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.take_value(name) else { return Ok(None) };
        read(&value).map(Some).ok_or_else(|| refused(name, &value, wanted))
    }

    /// Takes one member without reading it.
    pub(crate) fn take_value(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.given.remove(name)
    }

    pub(crate) fn required<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, Error> {
        self.take(name, wanted, read)?.ok_or_else(|| missing(name))
    }

    pub(crate) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Error> {
        self.take(name, "true or false", Value::as_bool)
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, Error> {
        self.take(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// Reads one of a few names. `T` itself gives the names for the error, so that a new one is added in one place.
    pub(crate) fn choice<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<T>, Error> {
        let Some(value) = self.take_value(name) else { return Ok(None) };
        serde_json::from_value(value.clone()).map(Some).map_err(|error| {
            let names = variants::<T>();
            match value.as_str() {
                Some(text) if names.contains(&text) => refused(name, &value, "an object, with the numbers that it has"),
                Some(_) => {
                    let list = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
                    refused(name, &value, &format!("one of {list}"))
                }
                None => Error::argument(name, shown(&value), error),
            }
        })
    }

    /// Reads one member that is an object. Errors in it begin with its name.
    pub(crate) fn object<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<T>, Error> {
        let Some(value) = self.take_value(name) else { return Ok(None) };
        let inner = |error| Error::Description { problem: format!("{name}: {error}") };
        serde_json::from_value(value).map(Some).map_err(inner)
    }

    fn finish(self) -> Result<(), Error> {
        let Some(name) = self.given.into_keys().next() else { return Ok(()) };
        let known = self.known.join(", ");
        Err(Error::Description { problem: format!("unknown field `{name}`: must be one of {known}") })
    }
}

/// Reads an object into its members. The same name twice is an error.
struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut given = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if given.contains_key(&name) {
                return Err(de::Error::custom(format!("duplicate field `{name}`")));
            }
            given.insert(name, value);
        }
        Ok(Members { given, known: Vec::new() })
    }
}

pub(crate) fn missing(name: &str) -> Error {
    Error::Description { problem: format!("{name} is missing") }
}

fn refused(name: &'static str, value: &Value, wanted: &str) -> Error {
    Error::argument(name, shown(value), format!("must be {wanted}"))
}

/// A value as JSON writes it, cut off if it is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

pub(crate) fn whole(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

pub(crate) fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|v| v.is_finite())
}

/// The names of an enum's variants in JSON, as its own `Deserialize` gives them.
pub(crate) fn variants<T: DeserializeOwned>() -> &'static [&'static str] {
    match T::deserialize(AskVariants) {
        Err(Answer(names)) => names,
        Ok(_) => &[],
    }
}

/// A deserializer without a value. It only learns for which variants it is asked.
struct AskVariants;

#[derive(Debug)]
struct Answer(&'static [&'static str]);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no value")
    }
}

impl std::error::Error for Answer {}

impl de::Error for Answer {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

impl<'de> Deserializer<'de> for AskVariants {
    type Error = Answer;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Answer> {
        Err(Answer(&[]))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Answer> {
        Err(Answer(variants))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
