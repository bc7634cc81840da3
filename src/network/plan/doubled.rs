//! Convolutions next to an upsampling that repeats each element 2x2 times: in an octave layer, that is the path from low
//! to high frequency. So one dispatch does both, and the map between them is never made.

use super::roles::{Doubled, Role, Uses};
use crate::dims::InputSize;
use crate::layer::{Activation, Path, Spec, Split};
use crate::network::graph::{Task, ValueId, ValueShape};

/// Finds the convolutions and upsamplings that are planned together.
pub(super) fn find(uses: &Uses, roles: &mut [Role]) {
    for find in [Uses::behind, Uses::in_front] {
        for index in 0..roles.len() {
            if matches!(roles[index], Role::Itself) {
                find(uses, index, roles);
            }
        }
    }
}

impl Uses<'_> {
    /// The convolution of a node: of stride 1, from a map of high frequency alone to one.
    fn conv(&self, index: usize) -> Option<&Spec> {
        let Task::Conv { spec, .. } = &self.graph.nodes[index].task else { return None };
        (spec.input().low == 0 && spec.output().low == 0 && spec.stride() == 1).then_some(spec)
    }

    fn size(&self, id: ValueId) -> Option<InputSize> {
        self.shapes[id].size()
    }

    /// The map that a node repeats 2x2 times, if it has high frequency alone.
    fn doubles(&self, index: usize) -> Option<ValueId> {
        let node = &self.graph.nodes[index];
        let Task::Upsample { resample, .. } = &node.task else { return None };
        let from = node.inputs[0];
        let ValueShape::Map { size, low: None, .. } = self.shapes[from] else { return None };
        let to = self.size(index + 1)?;
        // A factor of 2.1 makes 8 rows of 4 too, but does not repeat each of them twice.
        let twice = |axis, from: u32, to: u32| {
            let distance = resample.distance(axis, from, to);
            from.checked_mul(2) == Some(to) && distance.above.checked_mul(2) == Some(distance.below)
        };
        (!resample.bilinear && to.t == size.t && twice(1, size.h, to.h) && twice(2, size.w, to.w)).then_some(from)
    }

    /// A convolution, then the doubling; then perhaps a sum with another map.
    fn behind(&self, conv: usize, roles: &mut [Role]) -> Option<()> {
        let spec = self.conv(conv)?;
        let node = &self.graph.nodes[conv];
        let low = node.inputs[0];
        let up = self.sole_reader(conv + 1).filter(|_| node.residual.is_none())?;
        self.doubles(up)?;
        // The layer counts positions in its input of high frequency, which has the size of its output.
        let size = self.size(up + 1).filter(|_| self.size(low) == self.size(conv + 1))?;
        let columns = 0..spec.input().high;
        let doubled = spec.doubling(Split { high: 0, low: columns.end });
        // Another layer may make the sum already.
        let alone = |&sum: &usize| spec.activation() == Activation::None && matches!(roles[sum], Role::Itself);
        let sum = self.sole_reader(up + 1).filter(alone);
        let (at, spec, residual) = match sum.and_then(|sum| self.with_sum(&doubled, up + 1, sum)) {
            Some((sum, spec, residual)) => (sum, spec, Some(residual)),
            None => (up, doubled, None),
        };
        if !spec.has(Path::LH) || spec.output_size(size).ok()? != size {
            return None;
        }
        (roles[conv], roles[up]) = (Role::Hidden, Role::Hidden);
        roles[at] = Role::Layer(Doubled { conv, spec, size, high: None, low, residual, columns });
        Some(())
    }

    /// The sum of a doubled map and another one: its node, the layer that makes it, and the other map.
    fn with_sum(&self, doubled: &Spec, up: ValueId, sum: usize) -> Option<(usize, Spec, ValueId)> {
        let node = &self.graph.nodes[sum];
        let (&Task::Add { activation }, &[a, b]) = (&node.task, node.inputs.as_slice()) else { return None };
        let other = if a == up { b } else { a };
        // A layer with a residual cannot write into a concatenation, and a sum can.
        let concatenated = |&reader: &usize| matches!(self.graph.nodes[reader].task, Task::Concat);
        (other != up && !self.readers[sum + 1].iter().any(concatenated))
            .then(|| (sum, doubled.ending(true, activation), other))
    }

    /// A doubling, perhaps a concatenation with another map, then convolutions of single positions.
    fn in_front(&self, up: usize, roles: &mut [Role]) -> Option<()> {
        let low = self.doubles(up)?;
        let reader = *self.readers[up + 1].first()?;
        let concat = matches!(self.graph.nodes[reader].task, Task::Concat).then_some(reader);
        let (read, high, columns) = match concat {
            None => (up + 1, None, None),
            Some(concat) => {
                self.sole_reader(up + 1)?;
                let &[a, b] = self.graph.nodes[concat].inputs.as_slice() else { return None };
                let channels = |id: ValueId| match self.shapes[id] {
                    ValueShape::Map { high: Some(high), low: None, .. } => Some(high.c),
                    _ => None,
                };
                let (first, all) = (channels(a)?, channels(a)?.checked_add(channels(b)?)?);
                let (high, columns) = if a == up + 1 { (b, 0..first) } else { (a, first..all) };
                (concat + 1, Some(high), Some(columns))
            }
        };
        if self.kept[read] || self.kept[up + 1] {
            return None;
        }
        let layers: Option<Vec<(usize, Doubled)>> = self.readers[read]
            .iter()
            .map(|&conv| {
                let (spec, node) = (self.conv(conv)?, &self.graph.nodes[conv]);
                let single = spec.kernel() == [1, 1] && spec.padding() == [0, 0];
                // Both frequencies and a residual are more buffers than some devices bind.
                let free = matches!(roles[conv], Role::Itself)
                    && node.inputs[0] == read
                    && if high.is_some() { node.residual.is_none() } else { node.residual != Some(read) };
                let all = spec.input().high;
                let columns = columns.clone().unwrap_or(0..all);
                let low_channels = columns.end - columns.start;
                let spec = spec.doubling(Split { high: all - low_channels, low: low_channels });
                // A group has channels of both frequencies in a layer, and of one here.
                let groups_fit = high.is_none() || spec.path_groups(Path::LH) == 1;
                let size = self.size(read)?;
                let fits = single && free && groups_fit && spec.has(Path::LH);
                fits.then_some((conv, Doubled { conv, spec, size, high, low, residual: node.residual, columns }))
            })
            .collect();
        let layers = layers?;
        roles[up] = Role::Hidden;
        concat.into_iter().for_each(|concat| roles[concat] = Role::Hidden);
        layers.into_iter().for_each(|(conv, layer)| roles[conv] = Role::Layer(layer));
        Some(())
    }
}
