//! Reads pickles of the protocols 2 to 5.
//!
//! A pickle is a program for a machine with a stack. Here it can build values, and nothing else: a class or a function is
//! its name, and what it would make is looked up in the short list of [`Machine::made`]. Nothing recurses.

use std::collections::HashMap;

use super::super::bytes::Bytes;
use super::super::element::{Element, View};
use super::super::error::Error;
use super::value::{Arena, Id, Storage, Tensor, Value};

/// The longest name of a class or a function, with its module.
const LONGEST_NAME: usize = 1000;
/// PyTorch has no tensor of more dimensions.
const MOST_DIMENSIONS: usize = 64;

pub(super) struct Machine<'a> {
    bytes: Bytes<'a>,
    stack: Vec<Id>,
    /// Lengths of the stack where lists, tuples and dictionaries begin.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

const WHAT: &str = "the pickle";

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: Bytes<'a>) -> Self {
        Self { bytes, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }
    }

    /// Reads one pickle. Gives its value, and what follows it.
    pub(super) fn run(mut self, arena: &mut Arena) -> Result<(Id, Bytes<'a>), Error> {
        loop {
            let code = self.bytes.byte(WHAT)?;
            if code == b'.' {
                let id = self.pop(arena)?;
                return Ok((id, self.bytes));
            }
            self.step(code, arena)?;
        }
    }

    fn step(&mut self, code: u8, arena: &mut Arena) -> Result<(), Error> {
        match code {
            // The protocol, and the length of a frame.
            0x80 => drop(self.bytes.byte(WHAT)?),
            0x95 => drop(self.bytes.u64(WHAT)?),
            b'(' => {
                arena.charge(1)?;
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop(arena)?),
            b'1' => drop(self.pop_mark(arena)?),
            b'2' => {
                let top = self.top(arena)?;
                self.push_id(top, arena)?;
            }
            b'N' => self.push(Value::None, arena)?,
            0x88 | 0x89 => self.push(Value::Bool, arena)?,
            b'J' => self.number(4, arena)?,
            b'K' => self.unsigned(1, arena)?,
            b'M' => self.unsigned(2, arena)?,
            0x8a => {
                let length = self.bytes.byte(WHAT)?;
                self.number(length.into(), arena)?;
            }
            0x8b => {
                let length = self.bytes.u32(WHAT)?;
                self.number(length.into(), arena)?;
            }
            b'G' => {
                self.bytes.take(8, WHAT)?;
                self.push(Value::Float, arena)?;
            }
            b'X' | b'T' | b'U' | 0x8c | 0x8d => {
                let length = self.length(code)?;
                let text = String::from_utf8_lossy(self.bytes.take(length, WHAT)?).into_owned();
                self.push(Value::Text(text), arena)?;
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                let length = self.length(code)?;
                self.bytes.take(length, WHAT)?;
                self.push(Value::Bytes, arena)?;
            }
            b')' | b']' | 0x8f => self.push(Value::List(Vec::new()), arena)?,
            b'}' => self.push(Value::Dict(Vec::new()), arena)?,
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(code - 0x84), arena)?;
                self.push(Value::List(items), arena)?;
            }
            b't' | b'l' | 0x91 => {
                let items = self.pop_mark(arena)?;
                self.push(Value::List(items), arena)?;
            }
            b'd' => {
                let items = self.pop_mark(arena)?;
                self.push(Value::Dict(pairs(&items, arena)?), arena)?;
            }
            b'a' | b'e' | 0x90 => {
                let mut items = if code == b'a' { self.pop_many(1, arena)? } else { self.pop_mark(arena)? };
                let list = self.top(arena)?;
                // Objects that are lists of their own kind are not looked into.
                if let Value::List(list) = arena.value_mut(list) {
                    list.append(&mut items);
                }
            }
            b's' | b'u' => {
                let items = if code == b's' { self.pop_many(2, arena)? } else { self.pop_mark(arena)? };
                let mut pairs = pairs(&items, arena)?;
                let dict = self.top(arena)?;
                if let Value::Dict(dict) = arena.value_mut(dict) {
                    dict.append(&mut pairs);
                }
            }
            b'h' => {
                let index = self.bytes.byte(WHAT)?;
                self.recall(index.into(), arena)?;
            }
            b'j' => {
                let index = self.bytes.u32(WHAT)?;
                self.recall(index, arena)?;
            }
            b'q' => {
                let index = self.bytes.byte(WHAT)?;
                self.remember(index.into(), arena)?;
            }
            b'r' => {
                let index = self.bytes.u32(WHAT)?;
                self.remember(index, arena)?;
            }
            0x94 => self.remember(self.memo.len() as u32, arena)?,
            b'c' => {
                let parts = [self.bytes.line(WHAT)?, self.bytes.line(WHAT)?];
                let [module, name] = parts.map(String::from_utf8_lossy);
                self.global(&module, &name, arena)?;
            }
            0x93 => {
                let parts = self.pop_many(2, arena)?;
                let part = |id| arena.text(id).ok_or_else(|| arena.damaged("a name is no text"));
                // Checked before it is copied: one long text may be named often.
                let [module, name] = [part(parts[0])?, part(parts[1])?].map(|part| shortened(part).to_owned());
                self.global(&module, &name, arena)?;
            }
            b'R' | 0x81 => {
                let parts = self.pop_many(2, arena)?;
                self.made(parts[0], parts[1], arena)?;
            }
            0x92 => {
                let parts = self.pop_many(3, arena)?;
                self.made(parts[0], parts[1], arena)?;
            }
            b'b' => {
                let state = self.pop(arena)?;
                let object = self.top(arena)?;
                if let Value::Object { state: of_object, .. } = arena.value_mut(object) {
                    *of_object = Some(state);
                }
            }
            b'Q' => {
                let id = self.pop(arena)?;
                self.persistent(id, arena)?;
            }
            _ => return Err(arena.damaged(&format!("it has the code {code:#04x}, which torch.save does not write"))),
        }
        Ok(())
    }

    fn push(&mut self, value: Value, arena: &mut Arena) -> Result<(), Error> {
        let id = arena.add(value)?;
        self.push_id(id, arena)
    }

    fn push_id(&mut self, id: Id, arena: &mut Arena) -> Result<(), Error> {
        arena.charge(1)?;
        self.stack.push(id);
        Ok(())
    }

    /// A tensor has numbers for each axis: a short pickle can make many from the same lists.
    fn push_tensor(&mut self, tensor: Tensor, arena: &mut Arena) -> Result<(), Error> {
        arena.charge(tensor.view.shape.len())?;
        self.push(Value::Tensor(tensor), arena)
    }

    fn top(&self, arena: &Arena) -> Result<Id, Error> {
        self.stack.last().copied().ok_or_else(|| arena.damaged("its stack is empty"))
    }

    fn pop(&mut self, arena: &Arena) -> Result<Id, Error> {
        Ok(self.pop_many(1, arena)?[0])
    }

    /// The `count` uppermost values. They must lie above the last mark.
    fn pop_many(&mut self, count: usize, arena: &Arena) -> Result<Vec<Id>, Error> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count).filter(|&at| at >= floor) {
            Some(at) => Ok(self.stack.split_off(at)),
            None => Err(arena.damaged("its stack is empty")),
        }
    }

    /// The values above the last mark.
    fn pop_mark(&mut self, arena: &Arena) -> Result<Vec<Id>, Error> {
        let mark = self.marks.pop().ok_or_else(|| arena.damaged("a mark is missing"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    /// The length in front of a text or of bytes.
    fn length(&mut self, code: u8) -> Result<u64, Error> {
        match code {
            b'U' | b'C' | 0x8c => self.bytes.byte(WHAT).map(u64::from),
            b'X' | b'T' | b'B' => self.bytes.u32(WHAT).map(u64::from),
            _ => self.bytes.u64(WHAT),
        }
    }

    /// A whole number with a sign, of `length` bytes.
    fn number(&mut self, length: u64, arena: &mut Arena) -> Result<(), Error> {
        let digits = self.bytes.take(length, WHAT)?;
        let value = if digits.len() <= 8 {
            let is_negative = digits.last().is_some_and(|last| last & 0x80 != 0);
            let mut bytes = [if is_negative { 0xff } else { 0 }; 8];
            bytes[..digits.len()].copy_from_slice(digits);
            Value::Int(i64::from_le_bytes(bytes))
        } else {
            Value::Long(digits.to_vec())
        };
        self.push(value, arena)
    }

    fn unsigned(&mut self, length: u64, arena: &mut Arena) -> Result<(), Error> {
        let digits = self.bytes.take(length, WHAT)?;
        let value = digits.iter().rev().fold(0, |value, &digit| (value << 8) | i64::from(digit));
        self.push(Value::Int(value), arena)
    }

    fn recall(&mut self, index: u32, arena: &mut Arena) -> Result<(), Error> {
        let id = self.memo.get(&index).copied().ok_or_else(|| arena.damaged("it recalls what it did not remember"))?;
        self.push_id(id, arena)
    }

    fn remember(&mut self, index: u32, arena: &mut Arena) -> Result<(), Error> {
        arena.charge(1)?;
        let top = self.top(arena)?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str, arena: &mut Arena) -> Result<(), Error> {
        if module.len() + name.len() > LONGEST_NAME {
            return Err(arena.damaged(&format!("the name of a class has more than {LONGEST_NAME} bytes")));
        }
        // A short pickle can name a long text often.
        arena.charge((module.len() + name.len()) / 32)?;
        self.push(Value::Global(format!("{module}.{name}")), arena)
    }

    /// What `function` makes of `arguments`, as far as PyTorch's tensors need it. Anything else becomes an object that
    /// only has a name.
    fn made(&mut self, function: Id, arguments: Id, arena: &mut Arena) -> Result<(), Error> {
        let (mut function, mut arguments) = (function, arguments);
        if arena.name(function) == "torch._tensor._rebuild_from_type_v2" {
            // Arguments: what makes the tensor, the type that it becomes, the arguments of the first, and attributes.
            match *items(arguments, arena)? {
                [inner, _, of_inner, _] => (function, arguments) = (inner, of_inner),
                _ => return Err(arena.damaged("a tensor has the wrong number of arguments")),
            }
        }
        match arena.name(function) {
            "collections.OrderedDict" | "collections.defaultdict" => {
                let given = items(arguments, arena)?.first().copied();
                let pairs = match given.map(|given| arena.value(given)) {
                    Some(Value::List(given)) => given.iter().map(|&pair| two(pair, arena)).collect::<Result<_, _>>()?,
                    _ => Vec::new(),
                };
                arena.charge(pairs.len())?;
                self.push(Value::Dict(pairs), arena)
            }
            "torch.Size" => match *items(arguments, arena)? {
                [sizes] => self.push_id(sizes, arena),
                _ => Err(arena.damaged("a size has the wrong number of arguments")),
            },
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
                match *items(arguments, arena)? {
                    [tensor, ..] => self.push_id(tensor, arena),
                    [] => Err(arena.damaged("a parameter has no tensor")),
                }
            }
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => {
                let tensor = tensor(arguments, None, arena)?;
                self.push_tensor(tensor, arena)
            }
            "torch._utils._rebuild_tensor_v3" => {
                let dtype = items(arguments, arena)?.get(6).map(|&dtype| arena.name(dtype));
                let element = dtype.and_then(|dtype| element_of(dtype.strip_prefix("torch.")?));
                let tensor = tensor(arguments, element, arena)?;
                self.push_tensor(tensor, arena)
            }
            _ => self.push(Value::Object { made_by: function, state: None }, arena),
        }
    }

    /// What an id of PyTorch stands for: a storage, or, in old files, the class of a module.
    fn persistent(&mut self, id: Id, arena: &mut Arena) -> Result<(), Error> {
        match *items(id, arena)? {
            [tag, class, ..] if arena.text(tag) == Some("module") => self.push_id(class, arena),
            [tag, class, key, _, count, ref view @ ..] if arena.text(tag) == Some("storage") => {
                // Old files may have a view of another storage here.
                if view.first().is_some_and(|&view| !matches!(arena.value(view), Value::None)) {
                    return Err(Error::unsupported(
                        arena.kind,
                        "a storage is a view of another, as only PyTorch 0.1 wrote",
                    ));
                }
                let element = arena.name(class).rsplit('.').next().and_then(|name| name.strip_suffix("Storage"));
                let element = element.and_then(element_of);
                let storage = Storage { key, class, element, elements: size(count, arena)? };
                let storage = arena.add_storage(storage);
                self.push(storage, arena)
            }
            _ => Err(arena.damaged("an id is neither that of a storage nor of a module")),
        }
    }
}

/// A text, or as much of it as shows that it is too long for a name.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(LONGEST_NAME + 1).map_or(text, |(end, _)| &text[..end])
}

fn items(id: Id, arena: &Arena) -> Result<&[Id], Error> {
    match arena.value(id) {
        Value::List(items) => Ok(items),
        _ => Err(arena.damaged("arguments are no tuple")),
    }
}

fn two(id: Id, arena: &Arena) -> Result<(Id, Id), Error> {
    match *items(id, arena)? {
        [key, value] => Ok((key, value)),
        _ => Err(arena.damaged("a pair has not two values")),
    }
}

/// Keys and values that stand in turn.
fn pairs(items: &[Id], arena: &Arena) -> Result<Vec<(Id, Id)>, Error> {
    match items.as_chunks() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err(arena.damaged("a key has no value")),
    }
}

fn size(id: Id, arena: &Arena) -> Result<u64, Error> {
    let number = match arena.value(id) {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    number.ok_or_else(|| arena.damaged("a size, a stride or an offset is not a number of at least 0"))
}

/// A tensor from its storage, offset, shape and strides, which the arguments start with.
fn tensor(arguments: Id, element: Option<Element>, arena: &Arena) -> Result<Tensor, Error> {
    let [storage, offset, shape, strides, ..] = *items(arguments, arena)? else {
        return Err(arena.damaged("a tensor has the wrong number of arguments"));
    };
    let &Value::Storage(storage) = arena.value(storage) else {
        return Err(arena.damaged("a tensor has no storage"));
    };
    let sizes = |id: Id| -> Result<Vec<u64>, Error> {
        let sizes = items(id, arena)?;
        if sizes.len() > MOST_DIMENSIONS {
            return Err(arena.damaged(&format!("a tensor has more than {MOST_DIMENSIONS} dimensions")));
        }
        sizes.iter().map(|&size| self::size(size, arena)).collect()
    };
    let view = View { offset: size(offset, arena)?, shape: sizes(shape)?, strides: sizes(strides)? };
    if view.shape.len() != view.strides.len() {
        return Err(arena.damaged("a tensor has not as many strides as dimensions"));
    }
    Ok(Tensor { storage, view, element })
}

/// The type of a name such as `Float` of `FloatStorage`, or `float32` of `torch.float32`.
fn element_of(name: &str) -> Option<Element> {
    Some(match name {
        "Double" | "float64" | "double" => Element::F64,
        "Float" | "float32" | "float" => Element::F32,
        "Half" | "float16" | "half" => Element::F16,
        "BFloat16" | "bfloat16" => Element::Bf16,
        "Long" | "int64" | "long" => Element::I64,
        "Int" | "int32" | "int" => Element::I32,
        "Short" | "int16" | "short" => Element::I16,
        "Char" | "int8" => Element::I8,
        "uint64" => Element::U64,
        "uint32" => Element::U32,
        "uint16" => Element::U16,
        "Byte" | "uint8" => Element::U8,
        "Bool" | "bool" => Element::Bool,
        _ => return None,
    })
}
