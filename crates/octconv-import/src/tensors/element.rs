//! Types of elements, and how they become f32.

use half::{bf16, f16};

/// The type of a tensor's elements in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

/// The order of the bytes of an element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Little,
    Big,
}

impl Element {
    pub(super) fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Element `i` of `data`, whose end must be known to lie behind it. Gives 0 if it does not.
    fn value(self, data: &[u8], i: usize, order: Order) -> f32 {
        let size = self.size();
        let mut bytes = [0; 8];
        let Some(found) = i.checked_mul(size).and_then(|at| data.get(at..at + size)) else { return 0.0 };
        bytes[..size].copy_from_slice(found);
        if order == Order::Big {
            bytes[..size].reverse();
        }
        let word = u64::from_le_bytes(bytes);
        match self {
            Self::F64 => f64::from_bits(word) as f32,
            Self::F32 => f32::from_bits(word as u32),
            Self::F16 => f16::from_bits(word as u16).to_f32(),
            Self::Bf16 => bf16::from_bits(word as u16).to_f32(),
            Self::I64 => word as i64 as f32,
            Self::I32 => word as i32 as f32,
            Self::I16 => f32::from(word as i16),
            Self::I8 => f32::from(word as i8),
            Self::U64 => word as f32,
            Self::U32 => word as u32 as f32,
            Self::U16 => f32::from(word as u16),
            Self::U8 => f32::from(word as u8),
            Self::Bool => f32::from(u8::from(word != 0)),
        }
    }

    /// The first `count` elements.
    pub(super) fn values(self, data: &[u8], count: usize, order: Order) -> Vec<f32> {
        (0..count).map(|i| self.value(data, i, order)).collect()
    }

    /// The elements of a tensor that lies in `data` with these strides, with the last axis fastest. `count`: the product
    /// of `shape`.
    pub(super) fn strided(self, data: &[u8], view: &View, count: usize, order: Order) -> Vec<f32> {
        let mut values = Vec::with_capacity(count);
        let mut index = vec![0u64; view.shape.len()];
        let mut at = view.offset;
        for _ in 0..count {
            values.push(self.value(data, at as usize, order));
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                at += view.strides[axis];
                if index[axis] < view.shape[axis] {
                    break;
                }
                at -= view.strides[axis] * index[axis];
                index[axis] = 0;
            }
        }
        values
    }
}

/// Where a tensor lies in a storage, in elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    /// As many as `shape` has.
    pub(super) strides: Vec<u64>,
}

impl View {
    /// The elements of the storage that the tensor reaches to. `None` if no storage has so many.
    pub(super) fn end(&self) -> Option<u64> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let last = self.shape.iter().zip(&self.strides).try_fold(self.offset, |last, (&size, &stride)| {
            // Twice, because the walk goes one step too far before it turns back.
            stride.checked_mul(size)?.checked_add(last)?;
            stride.checked_mul(size - 1)?.checked_add(last)
        });
        last?.checked_add(1)
    }

    pub(super) fn is_contiguous(&self) -> bool {
        let mut stride = 1u64;
        self.shape.iter().zip(&self.strides).rev().all(|(&size, &found)| {
            let right = size == 1 || found == stride;
            stride = stride.saturating_mul(size);
            right
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_in_both_orders() {
        let cases: [(Element, &[u8], f32); 13] = [
            (Element::F64, &(-1.5f64).to_le_bytes(), -1.5),
            (Element::F32, &0.75f32.to_le_bytes(), 0.75),
            (Element::F16, &f16::from_f32(-2.5).to_le_bytes(), -2.5),
            (Element::Bf16, &bf16::from_f32(3.0).to_le_bytes(), 3.0),
            (Element::I64, &(-3i64).to_le_bytes(), -3.0),
            (Element::I32, &(-70_000i32).to_le_bytes(), -70_000.0),
            (Element::I16, &(-300i16).to_le_bytes(), -300.0),
            (Element::I8, &(-3i8).to_le_bytes(), -3.0),
            (Element::U64, &(1u64 << 63).to_le_bytes(), 9_223_372_036_854_775_808.0),
            (Element::U32, &4_000_000_000u32.to_le_bytes(), 4_000_000_000.0),
            (Element::U16, &60_000u16.to_le_bytes(), 60_000.0),
            (Element::U8, &[200], 200.0),
            (Element::Bool, &[1], 1.0),
        ];
        for (element, bytes, value) in cases {
            assert_eq!(bytes.len(), element.size());
            let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
            for (bytes, order) in [(bytes, Order::Little), (&reversed, Order::Big)] {
                assert_eq!(element.values(&[bytes, bytes].concat(), 2, order), [value, value], "{element:?}");
            }
        }
    }

    #[test]
    fn views_are_walked() {
        let data: Vec<u8> = (0..12).collect();
        let view =
            |offset, shape: &[u64], strides: &[u64]| View { offset, shape: shape.into(), strides: strides.into() };
        let read =
            |view: &View| Element::U8.strided(&data, view, view.shape.iter().product::<u64>() as usize, Order::Little);
        let transposed = view(1, &[2, 3], &[1, 4]);
        assert_eq!((read(&transposed), transposed.end()), (vec![1.0, 5.0, 9.0, 2.0, 6.0, 10.0], Some(11)));
        let repeated = view(3, &[2, 2], &[0, 1]);
        assert_eq!((read(&repeated), repeated.end()), (vec![3.0, 4.0, 3.0, 4.0], Some(5)));
        assert_eq!((read(&view(7, &[], &[])), view(7, &[], &[]).end()), (vec![7.0], Some(8)));
        assert_eq!((read(&view(7, &[2, 0], &[9, 9])), view(7, &[2, 0], &[9, 9]).end()), (vec![], Some(0)));
        for (shape, strides) in [([2, 1 << 63], [1, 2]), ([1 << 40, 1 << 40], [1, 1 << 40]), ([2, 1], [1, u64::MAX])] {
            assert_eq!(view(1, &shape, &strides).end(), None, "{shape:?} {strides:?}");
        }
        let contiguous = [(&[2, 3][..], &[3, 1][..], true), (&[2, 1], &[1, 9], true), (&[2, 3], &[1, 2], false)];
        for (shape, strides, wanted) in contiguous {
            assert_eq!(view(0, shape, strides).is_contiguous(), wanted, "{shape:?} {strides:?}");
        }
    }
}
