//! What a module keeps for its accelerated forward passes.

use std::fmt;
use std::sync::{Arc, Mutex};

use burn::module::{Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor};
use burn::tensor::{DType, Device};
use octconv::InputSize;

use crate::accelerator::Accelerator;
use crate::op::Prepared;

/// Prepared layers of a module, by size, type and device of the input.
///
/// It is a module without parameters, so that it sees everything that changes a module's parameters: each of these gives the module
/// an empty one. Weights that are stale cannot be kept. Clones share what they keep, because their parameters are equal.
#[derive(Clone, Default)]
pub(crate) struct Packed(Arc<Mutex<Vec<(Key, Prepared)>>>);

/// What a prepared layer is for.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) size: InputSize,
    pub(crate) dtype: DType,
    pub(crate) accelerator: Arc<Accelerator>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        (self.size, self.dtype) == (other.size, other.dtype) && Arc::ptr_eq(&self.accelerator, &other.accelerator)
    }
}

/// Each has weights of its own on the device.
const MOST_SIZES: usize = 4;

impl Packed {
    /// The layer for this key. `prepare` makes it if it is not there.
    pub(crate) fn get<E>(&self, key: Key, prepare: impl FnOnce() -> Result<Prepared, E>) -> Result<Prepared, E> {
        let mut kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match kept.iter().position(|(of, _)| *of == key) {
            // The last one is that which was used last.
            Some(index) => kept[index..].rotate_left(1),
            None => {
                let prepared = prepare()?;
                if kept.len() == MOST_SIZES {
                    kept.remove(0);
                }
                kept.push((key, prepared));
            }
        }
        Ok(kept.last().map(|(_, prepared)| prepared.clone()).expect("one was moved there or pushed"))
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packed")
    }
}

impl Module for Packed {
    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn fork(self, _: &Device) -> Self {
        Self::default()
    }

    fn to_device(self, _: &Device) -> Self {
        Self::default()
    }

    fn train(self) -> Self {
        Self::default()
    }

    fn valid(&self) -> Self {
        Self::default()
    }

    fn materialize(self) -> Self {
        Self::default()
    }

    fn visit<Visitor: ModuleVisitor>(&self, _: &mut Visitor) {}

    fn map<Mapper: ModuleMapper>(self, _: &mut Mapper) -> Self {
        Self::default()
    }
}

impl ModuleDisplayDefault for Packed {
    fn content(&self, _: Content) -> Option<Content> {
        None
    }
}

impl ModuleDisplay for Packed {}
