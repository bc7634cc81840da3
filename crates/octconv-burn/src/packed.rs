//! What a module keeps for its accelerated forward passes.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use burn::module::{Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor};
use burn::tensor::{DType, Device};
use octconv::{InputSize, PackedWeights, Plan};

use crate::accelerator::Accelerator;
use crate::op::{LastBound, Prepared};

/// Prepared layers of a module, by size, type and device of the input. Why octconv refuses one is kept too, so that no other pass
/// tries it again. But what the device refuses may pass, and is not kept.
///
/// It is a module without parameters, so that it sees everything that changes a module's parameters: each of these gives the module
/// an empty one. Weights that are stale cannot be kept. Clones share what they keep, because their parameters are equal.
#[derive(Clone, Default)]
pub(crate) struct Packed {
    kept: Arc<Mutex<Vec<(Key, Answer)>>>,
    last: LastBound,
}

type Answer = Result<Prepared, octconv::Error>;

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

/// Most share their weights on the device.
const MOST_SIZES: usize = 16;

impl Packed {
    /// What is kept for this key.
    pub(crate) fn get(&self, key: &Key) -> Option<Answer> {
        let mut kept = self.kept();
        let index = kept.iter().position(|(of, _)| of == key)?;
        // The last one is that which was used last.
        kept[index..].rotate_left(1);
        kept.last().map(|(_, answer)| answer.clone())
    }

    /// Keeps an answer, unless another thread was faster. Returns what is kept. An error that may pass is returned alone.
    pub(crate) fn keep(&self, key: Key, answer: Answer) -> Answer {
        let mut kept = self.kept();
        if let Some((_, other)) = kept.iter().find(|(of, _)| *of == key) {
            return other.clone();
        }
        if answer.as_ref().is_err_and(may_pass) {
            return answer;
        }
        if kept.len() == MOST_SIZES {
            drop(kept.remove(0));
        }
        kept.push((key, answer.clone()));
        answer
    }

    /// Weights that were packed for another size, if they fit this plan.
    pub(crate) fn weights(&self, key: &Key, plan: &Plan) -> Option<Arc<PackedWeights>> {
        let kept = self.kept();
        let like = |of: &Key| of.dtype == key.dtype && Arc::ptr_eq(&of.accelerator, &key.accelerator);
        let layers = kept.iter().filter(|(of, _)| like(of)).filter_map(|(_, answer)| answer.as_ref().ok());
        layers.map(Prepared::weights).find(|weights| weights.fits(plan)).cloned()
    }

    /// The binding of the module's last pass.
    pub(crate) fn last(&self) -> LastBound {
        self.last.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(Key, Answer)>> {
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Whether the next try may succeed: the device is at fault, and not the layer, its size or its type.
fn may_pass(error: &octconv::Error) -> bool {
    use octconv::Error::{DeviceLost, Gpu, OutOfMemory};
    matches!(error, Gpu { .. } | OutOfMemory { .. } | DeviceLost { .. })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NotAccelerated, OctConv2d, OctConv2dConfig, OctTensor};
    use burn::tensor::{DeviceKind, Distribution, Tensor};
    use std::sync::OnceLock;

    /// Burn registers a device once.
    fn device() -> Device {
        static DEVICE: OnceLock<Device> = OnceLock::new();
        DEVICE.get_or_init(|| crate::init(DeviceKind::DefaultDevice).unwrap()).clone()
    }

    fn layer(device: &Device) -> OctConv2d {
        OctConv2dConfig::new([8, 8], [0.5, 0.5], [3, 3]).init(device)
    }

    fn input(h: usize, w: usize, device: &Device) -> OctTensor {
        let part = |h, w| Tensor::<4>::random([1, 4, h, w], Distribution::Default, device);
        OctTensor::new(part(h, w), part(h.div_ceil(2), w.div_ceil(2)))
    }

    /// A tensor of one element that looks as large as no binding may be.
    fn huge(device: &Device) -> OctTensor {
        let part = |n: usize| Tensor::<4>::zeros([1, 1, 1, 1], device).expand([1, 4, n, n]);
        OctTensor::new(part(60_000), part(30_000))
    }

    #[test]
    fn forgets_errors_that_may_pass() {
        let device = device();
        let accelerator = Accelerator::of(&device).unwrap();
        let key = |h| Key { size: InputSize::image(1, h, 6), dtype: DType::F32, accelerator: accelerator.clone() };
        let packed = Packed::default();
        let operation = || "packing".to_owned();
        let message = String::new;
        for error in [
            octconv::Error::OutOfMemory { operation: operation() },
            octconv::Error::Gpu { operation: operation(), message: message() },
            octconv::Error::DeviceLost { operation: operation(), message: message() },
        ] {
            assert_eq!(packed.keep(key(4), Err(error.clone())).err(), Some(error));
            assert!(packed.get(&key(4)).is_none());
        }
        let refused = octconv::Error::Limit { what: "a tensor".into(), needs: 2, limit: "max_buffer_size", allowed: 1 };
        assert_eq!(packed.keep(key(4), Err(refused.clone())).err(), Some(refused.clone()));
        assert_eq!(packed.get(&key(4)).unwrap().err(), Some(refused));
    }

    #[test]
    fn keeps_answers_and_shares_weights() {
        let device = device();
        let layer = layer(&device);
        let packed = layer.packed();
        let sizes: Vec<_> = (4..4 + MOST_SIZES).collect();
        for &h in &sizes {
            layer.acceleration(&input(h, 6, &device)).unwrap();
        }
        let kept: Vec<_> = packed.kept().iter().map(|(_, answer)| answer.clone().unwrap()).collect();
        assert_eq!(kept.iter().map(|layer| layer.plan().size().h as usize).collect::<Vec<_>>(), sizes);
        // Each has the first weights that fit, and not all have their own.
        let mut distinct = 0;
        for (index, layer) in kept.iter().enumerate() {
            let first = kept.iter().position(|other| other.weights().fits(layer.plan())).unwrap();
            assert!(Arc::ptr_eq(kept[first].weights(), layer.weights()), "{layer:?}");
            distinct += usize::from(first == index);
        }
        assert!(distinct <= 4, "{distinct} of {MOST_SIZES}");

        // One more: the first goes.
        let refused = layer.acceleration(&huge(&device)).unwrap_err();
        assert!(matches!(refused, NotAccelerated::Refused(_)), "{refused}");
        assert_eq!(packed.kept().len(), MOST_SIZES);
        assert!(packed.kept().last().is_some_and(|(_, answer)| answer.is_err()));
        let again = layer.acceleration(&huge(&device)).unwrap_err();
        assert_eq!(again.to_string(), refused.to_string());
        assert_eq!(packed.kept().iter().filter(|(_, answer)| answer.is_err()).count(), 1);
        // What changes parameters forgets all of it.
        assert!(layer.clone().fork(&device).packed().kept().is_empty());
        assert_eq!(packed.kept().len(), MOST_SIZES);
    }
}
