//! Turns nodes into dispatches.

use super::place::Placement;
use super::roles::{Doubled, Role};
use super::step::{Params, Part, Place, PlannedStep, Span};
use crate::device::check_size;
use crate::dims::{Dims, InputSize};
use crate::error::Error;
use crate::kernels::job::{Operand, Slice, TensorId};
use crate::kernels::packing::Packing;
use crate::kernels::{
    Step, Types, attention, excite, global_pool, linear, pool, resample, scale, softmax, window_pool,
};
use crate::layer::{Activation, Frequency, Spec};
use crate::network::description::PoolKind;
use crate::network::graph::{GraphNode, Kind, Scale, Task, ValueId, ValueShape};
use crate::plan::{Choices, Options, Tuning, Variant};
use crate::precision::Dtype;

/// A convolution of a network, with everything that decides its plan.
#[derive(Clone, Debug)]
pub(super) struct PlannedLayer {
    /// The index of the node whose value it makes.
    pub(super) node: usize,
    /// The index of the node whose weights it has.
    #[cfg(feature = "verify")]
    pub(super) weights_of: usize,
    pub(super) spec: Spec,
    pub(super) size: InputSize,
    pub(super) options: Options,
    pub(super) variant: Variant,
    pub(super) tuning: Tuning,
}

/// Turns nodes into dispatches, one node after another.
pub(super) struct Lowering<'a> {
    pub(super) placement: Placement<'a>,
    pub(super) choices: &'a Choices,
    pub(super) steps: Vec<PlannedStep>,
    pub(super) layers: Vec<PlannedLayer>,
    /// Bytes of the largest value. The scratch of a layer must not exceed it, or scratch would decide how much memory
    /// the network needs.
    pub(super) largest: u64,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(placement: Placement<'a>, choices: &'a Choices) -> Self {
        let largest = placement.tensors.iter().copied().max().unwrap_or(0);
        Self { placement, choices, steps: Vec::new(), layers: Vec::new(), largest }
    }

    pub(super) fn push(&mut self, node: usize, step: Step, params: Option<Params>, tensors: Vec<(TensorId, Span)>) {
        self.steps.push(PlannedStep { node, step, params, params_of: node, tensors });
    }

    pub(super) fn node(&mut self, index: usize) -> Result<(), Error> {
        let node = &self.placement.graph.nodes[index];
        match self.placement.roles[index].clone() {
            Role::Itself => {}
            Role::Hidden => return Ok(()),
            Role::Layer(layer) => return self.doubled(index, &layer),
        }
        let (input, output) = (self.placement.places[node.inputs[0]], self.placement.places[index + 1]);
        self.placement.check_sizes(output, "a map")?;
        let both = |input: Place| [(input.high, output.high), (input.low, output.low)];
        let mut pooled = false;
        match &node.task {
            Task::Conv { spec, .. } => pooled = self.conv(index, node, spec, input, output)?,
            Task::Pool { kind, window } => {
                for (x, y) in both(input).into_iter().filter_map(|(x, y)| x.zip(y)) {
                    let average = *kind == PoolKind::Average;
                    let (x, x_tensor, y_tensor) = (operand(TensorId::XH, x), x.span, y.span);
                    let to = operand(TensorId::YH, y);
                    let step = {
                        let job = window_pool::Job { average, window: *window, slice: y.slice, band: None };
                        window_pool::step(self.placement.facts, self.types(), &job, x, to)?
                    };
                    self.push(index, step, None, vec![(TensorId::XH, x_tensor), (TensorId::YH, y_tensor)]);
                }
            }
            Task::Upsample { resample, .. } => {
                for (x, y) in both(input).into_iter().filter_map(|(x, y)| x.zip(y)) {
                    let job = resample::Job { resample: *resample, x: x.slice, y: y.slice };
                    let (from, to) = (operand(TensorId::XH, x), operand(TensorId::YH, y));
                    let step = resample::step(self.placement.facts, self.types(), &job, from, to)?;
                    self.push(index, step, None, vec![(TensorId::XH, x.span), (TensorId::YH, y.span)]);
                }
            }
            Task::Activation { activation } => {
                self.activate(index, *activation, input, output)?;
                pooled = true;
            }
            Task::Add { activation } => {
                self.add(index, node, *activation, output)?;
                pooled = true;
            }
            Task::Norm { activation, .. } => {
                let frequencies = [Frequency::High, Frequency::Low];
                for part in [output.high, output.low].into_iter().flatten() {
                    let elements = 2 * u64::from(part.dims.c);
                    check_size("the factors and shifts", elements, 4 * elements, self.placement.facts)?;
                }
                for ((x, y), frequency) in both(input).into_iter().zip(frequencies) {
                    let Some((x, y)) = x.zip(y) else { continue };
                    let means = output.pooled.filter(|_| frequency == Frequency::High);
                    let pooled = means.map(|means| means.dims);
                    let (form, activation) = (scale::Form::Channel, *activation);
                    let step = self.scale(&scale::Job { form, activation, pooled, ..copies(x, y) })?;
                    let mut tensors = vec![(TensorId::XH, x.span), (TensorId::YH, y.span)];
                    tensors.extend(means.map(|means| (TensorId::YP, means.span)));
                    self.push(index, step, Some(Params::Norm(frequency)), tensors);
                }
                pooled = true;
            }
            Task::Concat => {
                let mut first = [0, 0, 0];
                for &id in &node.inputs {
                    let from = self.placement.places[id];
                    let [high, low] = both(from);
                    for (i, (x, y)) in [high, low, (from.vector, output.vector)].into_iter().enumerate() {
                        let Some((x, y)) = x.zip(y) else { continue };
                        let slice = Slice { first: y.slice.first + first[i], of: y.slice.of };
                        let y = Part { dims: x.dims, slice, ..y };
                        first[i] += x.dims.c;
                        if (x.span, x.slice) != (y.span, y.slice) {
                            let types = if from.vector.is_some() { self.types_of_vectors() } else { self.types() };
                            let step = scale::step(self.placement.facts, types, &copies(x, y))?;
                            let tensors = vec![(TensorId::XH, x.span), (TensorId::YH, y.span)];
                            self.push(index, step, None, tensors);
                        }
                    }
                }
            }
            Task::Excite { reduced, activation } => {
                // Two inputs, a residual and two outputs are more buffers than some devices can bind.
                pooled =
                    node.residual.is_none() || self.placement.facts.limits.max_storage_buffers_per_shader_stage >= 5;
                let output = Place { pooled: output.pooled.filter(|_| pooled), ..output };
                self.excite(index, node, *reduced, *activation, input, output)?;
            }
            Task::Attention { scale } => self.attention(index, node, *scale, output)?,
            Task::Gate => {
                let factors = self.placement.places[node.inputs[1]].vector;
                if let Some(factors) = factors {
                    self.scale_by(index, factors, Place::default(), Activation::None, input, output)?;
                }
                pooled = true;
            }
            Task::GlobalPool => {
                if let Some(vector) = output.vector {
                    self.means(index, input, vector)?;
                }
            }
            Task::Linear { activation, .. } => {
                if let (Some(x), Some(y)) = (input.vector, output.vector) {
                    let weights = self.placement.options.precision.weights;
                    let bytes = linear::packed_bytes(y.dims.c, x.dims.c, weights);
                    let elements = linear::padded(u64::from(y.dims.c)).saturating_mul(u64::from(x.dims.c));
                    check_size("the matrix", elements, bytes, self.placement.facts)?;
                    let (outputs, inputs, activation) = (y.dims.c, x.dims.c, *activation);
                    let job = linear::Job { weights, n: y.dims.n, outputs, inputs, activation };
                    let step = linear::step(self.placement.facts, &job)?;
                    let tensors = vec![(TensorId::XH, x.span), (TensorId::YH, y.span)];
                    self.push(index, step, Some(Params::Linear(weights)), tensors);
                }
            }
            Task::Softmax => {
                if let (Some(x), Some(y)) = (input.vector, output.vector) {
                    let step = softmax::step(self.placement.facts, y.dims.n, y.dims.c)?;
                    self.push(index, step, None, vec![(TensorId::XH, x.span), (TensorId::YH, y.span)]);
                }
            }
        }
        if !pooled {
            self.pool(index, output)?;
        }
        Ok(())
    }

    /// Pools the high frequency of a value, if its pooled map is kept.
    pub(super) fn pool(&mut self, index: usize, output: Place) -> Result<(), Error> {
        let Some((x, y)) = output.high.zip(output.pooled) else { return Ok(()) };
        let (from, to) = (operand(TensorId::XH, x), operand(TensorId::YH, y));
        let step = pool::step(self.placement.facts, self.types(), from, to)?;
        self.push(index, step, None, vec![(TensorId::XH, x.span), (TensorId::YH, y.span)]);
        Ok(())
    }

    /// Plans a convolution. Returns whether it also writes the pooled output.
    fn conv(&mut self, index: usize, node: &GraphNode, spec: &Spec, x: Place, y: Place) -> Result<bool, Error> {
        let ValueShape::Map { size, .. } = self.placement.shapes[node.inputs[0]] else { return Ok(false) };
        let residual = node.residual.map(|id| self.placement.places[id]).unwrap_or_default();
        let x = Place { pooled: x.pooled.filter(|_| self.placement.pooled.read[index]), ..x };
        self.layer(index, index, spec, size, [x, residual, y], Params::Conv)?;
        Ok(y.pooled.is_some())
    }

    /// Plans a convolution together with the upsampling next to it.
    fn doubled(&mut self, index: usize, layer: &Doubled) -> Result<(), Error> {
        let Doubled { conv, spec, size, high, low, residual, columns } = layer;
        let place = |id: &Option<ValueId>| id.map(|id| self.placement.places[id]).unwrap_or_default();
        let x = Place { high: place(high).high, low: self.placement.places[*low].high, ..Place::default() };
        let (residual, y) = (place(residual), self.placement.places[index + 1]);
        self.placement.check_sizes(y, "a map")?;
        let params = |packing| Params::Doubled(packing, spec.clone(), columns.clone());
        // Two inputs, weights and two outputs are more buffers than some devices can bind.
        let buffers = self.placement.facts.limits.max_storage_buffers_per_shader_stage;
        let apart = y.pooled.is_some() && (x.high.is_some() || residual.high.is_some()) && buffers < 5;
        let written = Place { pooled: y.pooled.filter(|_| !apart), ..y };
        self.layer(index, *conv, spec, *size, [x, residual, written], params)?;
        if apart { self.pool(index, y) } else { Ok(()) }
    }

    /// Plans a layer that makes the value of node `index` with the weights of node `weights_of`.
    fn layer(
        &mut self,
        index: usize,
        weights_of: usize,
        spec: &Spec,
        size: InputSize,
        [x, residual, y]: [Place; 3],
        params: impl Fn(Packing) -> Params,
    ) -> Result<(), Error> {
        let slice = |part: Option<Part>| part.filter(|part| !part.is_whole()).map(|part| part.slice);
        let options = Options {
            pooled_input: x.pooled.is_some(),
            pooled_output: y.pooled.is_some(),
            high_slice: slice(y.high),
            low_slice: slice(y.low),
            scratch_limit: Some(self.largest),
            ..self.placement.options.layer()
        };
        let plan = self.choices.plan(spec, size, &options, self.placement.facts)?;
        let (variant, tuning) = (plan.variant(), plan.tuning());
        let spec = spec.clone();
        self.layers.push(PlannedLayer {
            node: index,
            #[cfg(feature = "verify")]
            weights_of,
            spec,
            size,
            options,
            variant,
            tuning,
        });
        let scratch: Vec<Part> = plan.scratch.iter().map(|&dims| self.placement.own(dims)).collect();
        let tensor = |id: TensorId| {
            let part = match id {
                TensorId::XH => x.high,
                TensorId::XL => x.low,
                TensorId::XP => x.pooled,
                TensorId::ResidualH => residual.high,
                TensorId::ResidualL => residual.low,
                TensorId::YH => y.high,
                TensorId::YL => y.low,
                TensorId::YP => y.pooled,
                TensorId::Scratch(i) => scratch.get(i).copied(),
                TensorId::Weights | TensorId::Texture => None,
            };
            part.map(|part| (id, part.span))
        };
        for step in plan.steps {
            let tensors = step.tensors.iter().filter_map(|&id| tensor(id)).collect();
            let params = step.packing.clone().map(&params);
            self.steps.push(PlannedStep { node: index, step, params, params_of: weights_of, tensors });
        }
        Ok(())
    }

    fn types(&self) -> Types {
        self.placement.options.types(self.placement.facts)
    }

    /// Vectors are always f32.
    fn types_of_vectors(&self) -> Types {
        Types { activations: Dtype::F32, ..self.types() }
    }

    fn scale(&self, job: &scale::Job) -> Result<Step, Error> {
        scale::step(self.placement.facts, self.types(), job)
    }

    /// Activates a map, and pools its high frequency if its pooled map is kept; or activates a vector.
    fn activate(&mut self, index: usize, activation: Activation, x: Place, y: Place) -> Result<(), Error> {
        for (x, y, means) in [(x.high, y.high, y.pooled), (x.low, y.low, None)] {
            let Some((x, y)) = x.zip(y) else { continue };
            let job = scale::Job { activation, pooled: means.map(|means| means.dims), ..copies(x, y) };
            let mut tensors = vec![(TensorId::XH, x.span), (TensorId::YH, y.span)];
            tensors.extend(means.map(|means| (TensorId::YP, means.span)));
            self.push(index, self.scale(&job)?, None, tensors);
        }
        if let Some((x, y)) = x.vector.zip(y.vector) {
            // All vectors as one row, because a thread makes elements of one channel.
            let Dims { n, c, .. } = x.dims;
            let row = |part: Part| Part { dims: Dims { n: 1, c: 1, t: 1, h: n, w: c }, slice: Slice::whole(1), ..part };
            let job = scale::Job { activation, ..copies(row(x), row(y)) };
            let step = scale::step(self.placement.facts, self.types_of_vectors(), &job)?;
            self.push(index, step, None, vec![(TensorId::XH, x.span), (TensorId::YH, y.span)]);
        }
        Ok(())
    }

    /// Adds up maps, one after another. Only the last sum is rounded to the type of maps, and activated.
    fn add(&mut self, index: usize, node: &GraphNode, activation: Activation, y: Place) -> Result<(), Error> {
        let [high, low] = self.inputs(node);
        for (terms, y, means) in [(high, y.high, y.pooled), (low, y.low, None)] {
            let Some((y, (&first, others))) = y.zip(terms.split_first()) else { continue };
            let mut sum = first;
            for (i, &term) in others.iter().enumerate() {
                let is_last = i + 1 == others.len();
                let to = if is_last { y } else { self.partial_sums(y.dims)? };
                let means = means.filter(|_| is_last);
                let step = self.scale(&scale::Job {
                    residual: true,
                    activation: if is_last { activation } else { Activation::None },
                    pooled: means.map(|means| means.dims),
                    from_sums: i > 0,
                    to_sums: !is_last,
                    ..copies(sum, to)
                })?;
                let mut tensors =
                    vec![(TensorId::XH, sum.span), (TensorId::ResidualH, term.span), (TensorId::YH, to.span)];
                tensors.extend(means.map(|means| (TensorId::YP, means.span)));
                self.push(index, step, None, tensors);
                sum = to;
            }
        }
        Ok(())
    }

    /// The high frequencies of a node's inputs, and the low ones.
    fn inputs(&self, node: &GraphNode) -> [Vec<Part>; 2] {
        let places = || node.inputs.iter().map(|&id| self.placement.places[id]);
        [places().filter_map(|place| place.high).collect(), places().filter_map(|place| place.low).collect()]
    }

    /// A new tensor for partial sums of a map, in f32.
    fn partial_sums(&mut self, dims: Dims) -> Result<Part, Error> {
        let bytes = dims.elements().saturating_mul(4);
        check_size(format_args!("sums of {dims}"), dims.elements(), bytes, self.placement.facts)?;
        Ok(Part { span: self.placement.tensor(bytes), dims, slice: Slice::whole(dims.c) })
    }

    /// The means of a map's high channels, then of its low channels.
    fn means(&mut self, index: usize, x: Place, vector: Part) -> Result<(), Error> {
        let mut first = 0;
        for part in [x.high, x.low].into_iter().flatten() {
            let slice = Slice { first, of: vector.dims.c };
            let step = global_pool::step(
                self.placement.facts,
                self.placement.options.precision.activations,
                part.dims,
                slice,
            )?;
            self.push(index, step, None, vec![(TensorId::XH, part.span), (TensorId::YH, vector.span)]);
            first += part.dims.c;
        }
        Ok(())
    }

    fn attention(&mut self, index: usize, node: &GraphNode, scale: Scale, y: Place) -> Result<(), Error> {
        let [high, low] = self.inputs(node);
        for (inputs, y) in [(high, y.high), (low, y.low)] {
            let ([queries, keys, values], Some(y)) = (inputs.as_slice(), y) else { continue };
            let job = attention::Job {
                queries: queries.dims,
                keys: keys.dims,
                values: values.dims,
                scale: scale.of(keys.dims.c) as f32,
                slice: y.slice,
            };
            let step = attention::step(self.placement.facts, self.types(), &job)?;
            let inputs = [(TensorId::XH, queries), (TensorId::XL, keys), (TensorId::XP, values)];
            let tensors = inputs.into_iter().chain([(TensorId::YH, &y)]).map(|(id, part)| (id, part.span)).collect();
            self.push(index, step, None, tensors);
        }
        Ok(())
    }

    fn excite(
        &mut self,
        index: usize,
        node: &GraphNode,
        reduced: u32,
        activation: Activation,
        x: Place,
        y: Place,
    ) -> Result<(), Error> {
        let Kind::Map(split) = node.kind else { return Ok(()) };
        let n = [x.high, x.low].into_iter().flatten().map(|part| part.dims.n).max().unwrap_or(1);
        let dims = Dims { n, c: split.channels(), t: 1, h: 1, w: 1 };
        let mut vector = || Part {
            span: self.placement.tensor(dims.elements().saturating_mul(4)),
            dims,
            slice: Slice::whole(dims.c),
        };
        let (means, factors) = (vector(), vector());
        self.placement.check_vector(dims)?;
        let elements = excite::packed_elements(dims.c, reduced);
        check_size("the matrices", elements, elements.saturating_mul(4), self.placement.facts)?;
        self.means(index, x, means)?;
        let step = excite::step(self.placement.facts, n, dims.c, reduced)?;
        let tensors = vec![(TensorId::XH, means.span), (TensorId::YH, factors.span)];
        self.push(index, step, Some(Params::Excite), tensors);

        let residual = node.residual.map(|id| self.placement.places[id]).unwrap_or_default();
        self.scale_by(index, factors, residual, activation, x, y)
    }

    /// Each channel of a map times an element of a vector, plus a residual; then the activation.
    fn scale_by(
        &mut self,
        index: usize,
        factors: Part,
        residual: Place,
        activation: Activation,
        x: Place,
        y: Place,
    ) -> Result<(), Error> {
        let mut first = 0;
        for (x, y, means, residual) in [(x.high, y.high, y.pooled, residual.high), (x.low, y.low, None, residual.low)] {
            let Some((x, y)) = x.zip(y) else { continue };
            let step = self.scale(&scale::Job {
                form: scale::Form::Sample,
                factors: Slice { first, of: factors.dims.c },
                residual: residual.is_some(),
                activation,
                pooled: means.map(|means| means.dims),
                ..copies(x, y)
            })?;
            let mut tensors = vec![(TensorId::XH, x.span), (TensorId::XP, factors.span), (TensorId::YH, y.span)];
            tensors.extend(residual.map(|residual| (TensorId::ResidualH, residual.span)));
            tensors.extend(means.map(|means| (TensorId::YP, means.span)));
            self.push(index, step, None, tensors);
            first += x.dims.c;
        }
        Ok(())
    }
}

/// A job that copies. Other jobs are made by changing its fields.
fn copies(x: Part, y: Part) -> scale::Job {
    let (form, activation) = (scale::Form::Copy, Activation::None);
    let factors = Slice::whole(0);
    scale::Job {
        dims: x.dims,
        x: x.slice,
        y: y.slice,
        form,
        factors,
        residual: false,
        activation,
        pooled: None,
        from_sums: false,
        to_sums: false,
    }
}

pub(super) fn operand(id: TensorId, part: Part) -> Operand {
    Operand { id, dims: part.dims }
}
