//! Random networks: every operation, small, in all sizes and connections that are easily forgotten.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::NetworkCase;
use crate::dims::InputSize;
use crate::layer::{Activation, Downsample, Rounding, Split, TimeAxis};
use crate::network::{
    Attention, Axes, Conv, Ends, Excite, Graph, INPUT, Input, Network, Node, Op, Pool, PoolKind, Upsample,
    UpsampleMode, UpsampleTo, ValueShape,
};

/// The most elements of a value, and the most multiply-adds of a node.
const MOST_ELEMENTS: u64 = 20_000;
const MOST_MACS: u64 = 2_000_000;

/// The most nodes.
const MOST_NODES: u32 = 9;

impl NetworkCase {
    /// A random network that the library accepts, with a size that the network can have. `seed` determines it.
    pub fn random(seed: u64) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut draw = Draw::new(&mut rng);
        if draw.rng.random_bool(0.2) {
            draw.stem();
        }
        let nodes = draw.rng.random_range(1..=MOST_NODES) as usize;
        // A node that does not fit is drawn again, but not for ever.
        for _ in 0..20 * nodes {
            if draw.network.nodes.len() >= nodes {
                break;
            }
            draw.node();
        }
        if draw.network.nodes.is_empty() {
            // Every map can be pooled as a whole.
            draw.push(Op::GlobalPool { input: INPUT.into() });
        }
        let Draw { mut network, size, .. } = draw;
        // Most networks answer with their last node. In the others, nodes behind the answer are for nothing.
        if rng.random_bool(0.15) {
            network.output = choose(&mut rng, &network.nodes).name;
        }
        let share = choose(&mut rng, &[0.0, 0.5, 1.0]);
        let names = network.nodes.iter().map(|node| node.name.clone());
        let keep = names.filter(|_| rng.random_bool(share)).collect();
        // Not drawn, so that a seed has the network that it had without this.
        let (one_buffer, strange) = (seed % 8 == 3, seed % 8 == 6);
        let keep = if strange { network.nodes.iter().map(|node| node.name.clone()).collect() } else { keep };
        Self { network, size, keep, any_variant: rng.random_bool(0.4), one_buffer, strange, seed }
    }
}

fn choose<T: Clone>(rng: &mut impl Rng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())].clone()
}

/// A network that grows by one node after another.
struct Draw<'a, R> {
    rng: &'a mut R,
    network: Network,
    size: InputSize,
    /// The names and shapes of all values so far.
    values: Vec<(String, ValueShape)>,
}

impl<'a, R: Rng> Draw<'a, R> {
    fn new(rng: &'a mut R) -> Self {
        let side = |rng: &mut R| match choose(rng, &[0, 0, 1, 1, 2]) {
            0 => rng.random_range(1..=3),
            1 => rng.random_range(2..=9),
            _ => rng.random_range(5..=21),
        };
        let frames = if rng.random_bool(0.2) { rng.random_range(1..=5) } else { 1 };
        let size = InputSize::video(choose(rng, &[1, 1, 2, 3]), frames, side(rng), side(rng));
        let channels = rng.random_range(1..=5);
        let rounding = choose(rng, &[Rounding::Ceil, Rounding::Floor]);
        let network = Network {
            name: "random".into(),
            input: Input { channels },
            rounding,
            norm_eps: 1e-5,
            nodes: Vec::new(),
            output: String::new(),
            stages: Vec::new(),
            picture: None,
        };
        let values = vec![(INPUT.into(), ValueShape::map(Split { high: channels, low: 0 }, size, rounding))];
        Self { rng, network, size, values }
    }

    /// Adds a node, if the network is still right and small with it.
    fn push(&mut self, op: Op) -> bool {
        let name = format!("n{}", self.network.nodes.len());
        self.network.nodes.push(Node { name: name.clone(), op });
        let previous = std::mem::replace(&mut self.network.output, name.clone());
        let grown = Graph::new(&self.network).and_then(|graph| Ok((graph.shapes(self.size)?, graph.macs(self.size)?)));
        if let Ok((shapes, macs)) = grown
            && let (Some(&shape), Some(&macs)) = (shapes.last(), macs.last())
            && shape.elements() <= MOST_ELEMENTS
            && macs <= MOST_MACS
        {
            self.values.push((name, shape));
            return true;
        }
        self.network.nodes.pop();
        self.network.output = previous;
        false
    }

    /// A value, more often a late one.
    fn pick(&mut self, wanted: impl Fn(&ValueShape) -> bool) -> Option<(String, ValueShape)> {
        let fitting: Vec<_> = self.values.iter().filter(|(_, shape)| wanted(shape)).cloned().collect();
        match fitting.last() {
            Some(last) if self.rng.random_bool(0.6) => Some(last.clone()),
            Some(_) => Some(choose(self.rng, &fitting)),
            None => None,
        }
    }

    fn map(&mut self) -> Option<(String, ValueShape)> {
        self.pick(|shape| matches!(shape, ValueShape::Map { .. }))
    }

    fn vector(&mut self) -> Option<String> {
        self.pick(|shape| matches!(shape, ValueShape::Vector { .. })).map(|(name, _)| name)
    }

    fn activation(&mut self) -> Activation {
        choose(self.rng, &Activation::all().collect::<Vec<_>>())
    }

    /// The start of a ResNet: a plain convolution whose map is large, and a pool.
    fn stem(&mut self) {
        let conv = Conv {
            kernel: choose(self.rng, &[[3, 3], [7, 7], [1, 1]]),
            stride: choose(self.rng, &[1, 2]),
            downsample: choose(self.rng, &[Downsample::AveragePool, Downsample::StridedConv]),
            ..Conv::new(INPUT, self.rng.random_range(6..=12))
        };
        let conv = Conv { padding: conv.kernel.map(|side| side / 2), bias: self.rng.random(), ..conv };
        if self.push(Op::Conv(conv)) {
            let pool = Pool::new("n0", PoolKind::Max, Axes::Image([3, 3]), Axes::Image([2, 2]));
            let padding = Axes::Image([Ends::from(self.rng.random_range(0..=1)); 2]);
            let pool = Pool { padding, ceil_mode: self.rng.random(), ..pool };
            self.push(Op::Pool(pool));
        }
    }

    /// Tries to add one node.
    fn node(&mut self) {
        let op = match self.rng.random_range(0..33) {
            0..12 => return self.conv(),
            12..15 => self.pool(),
            15..17 => self.norm(),
            17..20 => self.concat(),
            20 | 21 => return self.excite(),
            22..25 => self.upsample(),
            25..27 => self.add(),
            27 => self.activate(),
            28 => self.map().map(|(input, _)| Op::GlobalPool { input }),
            29 => self.attention(),
            30 => self.gate(),
            _ => self.of_vector(),
        };
        if let Some(op) = op {
            self.push(op);
        }
    }

    /// Adds a node that may have a residual: sometimes with one, if a value fits.
    fn push_with_residual(&mut self, make: impl Fn(Option<String>) -> Op) {
        if !self.push(make(None)) || !self.rng.random_bool(0.5) {
            return;
        }
        let Some((_, shape)) = self.values.pop() else { return };
        self.network.nodes.pop();
        let residual = self.pick(|other| *other == shape).map(|(name, _)| name);
        self.push(make(residual));
    }

    fn axis(&mut self) -> u32 {
        choose(self.rng, &[1, 1, 1, 1, 3, 3, 3, 3, 2, 4, 5, 7, 9])
    }

    fn conv(&mut self) {
        let Some((input, ValueShape::Map { size, high, low })) = self.map() else { return };
        let [high, low] = [high, low].map(|part| part.map_or(0, |dims| dims.c));
        let shared: Vec<u32> = (2..=4).filter(|g| high % g == 0 && low % g == 0).collect();
        let groups = if shared.is_empty() || self.rng.random_bool(0.7) { 1 } else { choose(self.rng, &shared) };
        let depthwise = self.rng.random_bool(0.2);
        let split = if depthwise {
            let multiple = self.rng.random_range(1..=2);
            [multiple * high, multiple * low]
        } else {
            // Some kernels are only for layers of many channels.
            let most = if groups == 1 { choose(self.rng, &[9, 9, 9, 48]) } else { 3 };
            [0, 1].map(|_| if self.rng.random_bool(0.2) { 0 } else { groups * self.rng.random_range(1..=most) })
        };
        let square = self.axis();
        let kernel = if self.rng.random_bool(0.75) { [square; 2] } else { [self.axis(), self.axis()] };
        let dilation = choose(self.rng, &[[1, 1], [1, 1], [1, 1], [2, 2], [1, 2], [3, 1]]);
        let same = [0, 1].map(|axis: usize| dilation[axis] * (kernel[axis] - 1) / 2);
        let padding =
            if self.rng.random_bool(0.8) { same } else { choose(self.rng, &[[0, 0], [1, 1], [2, 0], [3, 4]]) };
        let time = self.rng.random_bool(if size.t > 1 { 0.6 } else { 0.05 }).then(|| TimeAxis {
            kernel: choose(self.rng, &[1, 2, 3, 3]),
            stride: choose(self.rng, &[1, 1, 2, 3]),
            padding: choose(self.rng, &[0, 1, 1, 2]),
            dilation: choose(self.rng, &[1, 1, 2]),
        });
        let conv = Conv {
            split: Some(split),
            kernel,
            stride: choose(self.rng, &[1, 1, 1, 2]),
            padding,
            dilation,
            time,
            groups: if depthwise { 1 } else { groups },
            depthwise,
            bias: self.rng.random(),
            norm: self.rng.random(),
            activation: self.activation(),
            downsample: choose(self.rng, &[Downsample::AveragePool, Downsample::AveragePool, Downsample::StridedConv]),
            high_to_low: self.rng.random_bool(0.9),
            low_to_high: self.rng.random_bool(0.9),
            ..Conv::new(input, split[0] + split[1])
        };
        self.push_with_residual(|residual| Op::Conv(Conv { residual, ..conv.clone() }));
    }

    fn pool(&mut self) -> Option<Op> {
        let (input, shape) = self.map()?;
        let kind = choose(self.rng, &[PoolKind::Max, PoolKind::Average]);
        let ValueShape::Map { size, .. } = shape else { return None };
        // Frames are pooled only where there are some.
        let pooled = [size.t > 1 && self.rng.random_bool(0.5), true, true];
        let kernel = pooled.map(|pooled| if pooled { choose(self.rng, &[1, 2, 2, 3, 3, 3, 4, 5, 8]) } else { 1 });
        let stride = pooled.map(|pooled| if pooled { choose(self.rng, &[1, 2, 2, 2, 3]) } else { 1 });
        let square = self.rng.random_bool(0.7);
        let [kernel, stride] = [kernel, stride].map(|[t, h, w]| [t, h, if square { h } else { w }]);
        let half = kernel.map(|kernel| Ends::from(kernel / 2));
        let padding = match self.rng.random_range(0..4) {
            0 => [Ends::default(); 3],
            1 | 2 => half,
            _ => [0, 1, 2].map(|axis: usize| Ends {
                before: self.rng.random_range(0..kernel[axis]),
                behind: self.rng.random_range(0..kernel[axis] + stride[axis] - 1),
            }),
        };
        Some(Op::Pool(Pool {
            padding: Axes::Video(padding),
            ceil_mode: self.rng.random(),
            count_include_pad: kind == PoolKind::Average && self.rng.random(),
            ..Pool::new(input, kind, Axes::Video(kernel), Axes::Video(stride))
        }))
    }

    fn norm(&mut self) -> Option<Op> {
        let (input, _) = self.map()?;
        Some(Op::Norm { input, affine: self.rng.random_bool(0.75), activation: self.activation() })
    }

    fn activate(&mut self) -> Option<Op> {
        let (input, _) = self.pick(|_| true)?;
        Some(Op::Activation { input, activation: self.activation() })
    }

    /// To twice the size, to fractions of it, to a size that has nothing to do with it, or to that of another map.
    fn upsample(&mut self) -> Option<Op> {
        let (input, ValueShape::Map { size, .. }) = self.map()? else { return None };
        let mode = choose(self.rng, &[UpsampleMode::Nearest, UpsampleMode::Bilinear]);
        let align_corners = mode == UpsampleMode::Bilinear && self.rng.random();
        let in_time = size.t > 1 && self.rng.random_bool(0.5);
        let to = match self.rng.random_range(0..5) {
            0 | 1 => {
                let factor = |rng: &mut R| choose(rng, &[2.0, 2.0, 2.0, 1.5, 3.0, 1.0, 0.5, 2.0 / 3.0, 1.25]);
                let [t, h] = [factor(self.rng), factor(self.rng)];
                let w = if self.rng.random_bool(0.6) { h } else { factor(self.rng) };
                UpsampleTo::Factor(if in_time { Axes::Video([t, h, w]) } else { Axes::Image([h, w]) })
            }
            2 => {
                let [t, h, w] = [5, 19, 19].map(|most| self.rng.random_range(1..=most));
                UpsampleTo::Size(if in_time { Axes::Video([t, h, w]) } else { Axes::Image([h, w]) })
            }
            _ => UpsampleTo::Like(self.pick(|shape| matches!(shape, ValueShape::Map { .. }))?.0),
        };
        Some(Op::Upsample(Upsample { input, mode, align_corners, to }))
    }

    /// Of maps of one shape, the same one more than once among them.
    fn add(&mut self) -> Option<Op> {
        let (first, shape) = self.map()?;
        let mut inputs = vec![first];
        for _ in 0..self.rng.random_range(1..=4) {
            inputs.push(self.pick(|other| *other == shape)?.0);
        }
        Some(Op::Add { inputs, activation: self.activation() })
    }

    /// Of maps of one size: a map twice, or with one frequency alone, among them. Or of vectors.
    fn concat(&mut self) -> Option<Op> {
        let of_vectors = self.rng.random_bool(0.2);
        let (first, shape) = self.pick(|shape| matches!(shape, ValueShape::Vector { .. }) == of_vectors)?;
        let same = |other: &ValueShape| match (*other, shape) {
            (ValueShape::Map { size: other, .. }, ValueShape::Map { size, .. }) => other == size,
            (ValueShape::Vector { .. }, ValueShape::Vector { .. }) => true,
            _ => false,
        };
        let mut inputs = vec![first];
        for _ in 0..self.rng.random_range(0..=3) {
            inputs.extend(self.pick(same).map(|(name, _)| name));
        }
        Some(Op::Concat { inputs })
    }

    fn excite(&mut self) {
        let Some((input, _)) = self.map() else { return };
        let (reduced, activation) = (self.rng.random_range(1..=6), self.activation());
        self.push_with_residual(|residual| Op::Excite(Excite { input: input.clone(), reduced, residual, activation }));
    }

    /// Keys of any size with the channels of the queries, and values of that size. One map may be more than one of them.
    fn attention(&mut self) -> Option<Op> {
        let channels = |shape: &ValueShape| match *shape {
            ValueShape::Map { high, low, .. } => Some([high, low].map(|part| part.map_or(0, |dims| dims.c))),
            ValueShape::Vector { .. } => None,
        };
        let (queries, of_queries) = self.map()?;
        let (keys, of_keys) = self.pick(|shape| channels(shape) == channels(&of_queries))?;
        let present = |shape: &ValueShape| channels(shape).map(|channels| channels.map(|c| c > 0));
        let (values, _) = self.pick(|shape| match (*shape, of_keys) {
            (ValueShape::Map { size, .. }, ValueShape::Map { size: wanted, .. }) => {
                size == wanted && present(shape) == present(&of_queries)
            }
            _ => false,
        })?;
        let scale = choose(self.rng, &[None, None, Some(1.0), Some(-0.25)]);
        Some(Op::Attention(Attention { queries, keys, values, scale }))
    }

    /// By a vector that fits, or by one that is made for it.
    fn gate(&mut self) -> Option<Op> {
        let (input, shape) = self.map()?;
        let ValueShape::Map { high, low, .. } = shape else { return None };
        let channels = [high, low].into_iter().flatten().map(|dims| dims.c).sum();
        let fits = |other: &ValueShape| matches!(*other, ValueShape::Vector { c, .. } if c == channels);
        if let Some((by, _)) = self.pick(fits) {
            return Some(Op::Gate { input, by });
        }
        let from = self.vector()?;
        let (bias, activation) = (self.rng.random(), self.activation());
        let made = self.push(Op::Linear { input: from, outputs: channels, bias, activation });
        made.then(|| Op::Gate { input, by: self.network.output.clone() })
    }

    fn of_vector(&mut self) -> Option<Op> {
        let input = self.vector()?;
        Some(match self.rng.random_bool(0.6) {
            true => {
                let (outputs, bias) = (self.rng.random_range(1..=12), self.rng.random());
                Op::Linear { input, outputs, bias, activation: self.activation() }
            }
            false => Op::Softmax { input },
        })
    }
}
