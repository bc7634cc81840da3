//! The values of pickles. Each is kept once, so that a pickle that repeats one takes no more memory.

use super::super::element::{Element, View};
use super::super::error::Error;
use super::super::kind::Kind;
use super::super::limits::check_name;

/// The index of a value.
pub(super) type Id = u32;

/// A value of a pickle.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    /// A whole number that needs more than 64 bits: its bytes, the lowest first.
    Long(Vec<u8>),
    Float,
    Text(String),
    Bytes,
    /// A list, a tuple or a set.
    List(Vec<Id>),
    /// In the order of the file. A key may be there twice.
    Dict(Vec<(Id, Id)>),
    /// A class or a function: the names of its module and its own, with a dot between them.
    Global(String),
    /// The index of a storage.
    Storage(usize),
    Tensor(Tensor),
    /// What a class or a function would make, which is not called.
    Object {
        made_by: Id,
        state: Option<Id>,
    },
}

/// A tensor: where its elements lie.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) storage: usize,
    pub(super) view: View,
    /// Its type, if the storage has none.
    pub(super) element: Option<Element>,
}

/// Elements that tensors share.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    /// The value that is its key.
    pub(super) key: Id,
    /// The value that is its class.
    pub(super) class: Id,
    /// `None` if it has no type, or one that is not read.
    pub(super) element: Option<Element>,
    /// Its number of elements.
    pub(super) elements: u64,
}

/// All values and storages.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) kind: Kind,
    values: Vec<Value>,
    storages: Vec<Storage>,
    /// Values that may still be put on a stack.
    left: usize,
    most: usize,
}

impl Arena {
    pub(super) fn new(kind: Kind, most: usize) -> Self {
        Self { kind, values: Vec::new(), storages: Vec::new(), left: most, most }
    }

    /// Takes room for `count` values from the limit.
    pub(super) fn charge(&mut self, count: usize) -> Result<(), Error> {
        match self.left.checked_sub(count) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                Err(Error::Limit { what: "the pickle".into(), needs: "more values".into(), allowed: self.most as u64 })
            }
        }
    }

    pub(super) fn add(&mut self, value: Value) -> Result<Id, Error> {
        let id = Id::try_from(self.values.len()).map_err(|_| self.damaged("it has too many values"))?;
        self.values.push(value);
        Ok(id)
    }

    pub(super) fn add_storage(&mut self, storage: Storage) -> Value {
        self.storages.push(storage);
        Value::Storage(self.storages.len() - 1)
    }

    /// The value of an index that `add` gave.
    pub(super) fn value(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    pub(super) fn value_mut(&mut self, id: Id) -> &mut Value {
        &mut self.values[id as usize]
    }

    pub(super) fn storage(&self, tensor: &Tensor) -> &Storage {
        &self.storages[tensor.storage]
    }

    pub(super) fn storages(&self) -> &[Storage] {
        &self.storages
    }

    /// The name of a class or a function; empty for anything else.
    pub(super) fn name(&self, id: Id) -> &str {
        match self.value(id) {
            Value::Global(name) => name,
            _ => "",
        }
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The key of a storage as a text.
    pub(super) fn key(&self, storage: &Storage) -> Result<String, Error> {
        self.key_text(storage.key)
    }

    /// A key, which is a short text or a number, as a text.
    pub(super) fn key_text(&self, key: Id) -> Result<String, Error> {
        match self.value(key) {
            Value::Text(text) => check_name(text).map(|()| text.clone()),
            Value::Int(number) => Ok(number.to_string()),
            _ => Err(self.damaged("the key of a storage is no text")),
        }
    }

    pub(super) fn damaged(&self, problem: &str) -> Error {
        Error::damaged(self.kind, format!("the pickle is damaged: {problem}"))
    }
}
