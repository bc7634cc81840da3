//! Turns a node of a description into a node of the graph: finds values by name, and validates.

use std::collections::HashMap;

use super::node::{GraphNode, Scale, Task, To, refuse};
use super::value::{Kind, ValueId};
use crate::error::Error;
use crate::layer::{Fraction, MAX_AXIS, Resample, Spec, Split, Window};
use crate::network::description::{
    Attention, Axes, Conv, Ends, Network, Node, Op, Pool, PoolKind, Upsample, UpsampleMode, UpsampleTo,
};

pub(super) fn resolve(
    network: &Network,
    node: &Node,
    ids: &HashMap<&str, ValueId>,
    kinds: &[Kind],
) -> Result<GraphNode, Error> {
    let id = |name: &str| {
        ids.get(name).copied().ok_or_else(|| refuse(format!("it reads {name}, which no node in front of it makes")))
    };
    let map = |name: &str| match kinds[id(name)?] {
        Kind::Map(split) => Ok(split),
        Kind::Vector(_) => Err(refuse(format!("it reads {name}, which is a vector: must be a map"))),
    };
    let vector = |name: &str| match kinds[id(name)?] {
        Kind::Vector(c) => Ok(c),
        Kind::Map(_) => Err(refuse(format!("it reads {name}, which is a map: must be a vector"))),
    };
    let residual = |name: &Option<String>, split: Split| -> Result<Option<ValueId>, Error> {
        let Some(name) = name else { return Ok(None) };
        let found = map(name)?;
        if found != split {
            return Err(refuse(format!(
                "its residual {name} has {} high and {} low channels: must have {} and {}",
                found.high, found.low, split.high, split.low
            )));
        }
        Ok(Some(id(name)?))
    };
    let (inputs, residual, task, kind) = match &node.op {
        Op::Conv(conv) => {
            let input = map(&conv.input)?;
            let spec = conv_spec(network, conv, input)?;
            let split = spec.output();
            let residual = residual(&conv.residual, split)?;
            (vec![id(&conv.input)?], residual, Task::Conv { spec, norm: conv.norm }, Kind::Map(split))
        }
        Op::Pool(pool) => {
            let kind = Kind::Map(map(&pool.input)?);
            (vec![id(&pool.input)?], None, Task::Pool { kind: pool.kind, window: window(pool)? }, kind)
        }
        Op::Norm { input, affine, activation } => {
            activation.check()?;
            let kind = Kind::Map(map(input)?);
            (vec![id(input)?], None, Task::Norm { affine: *affine, activation: *activation }, kind)
        }
        Op::Upsample(upsample) => {
            let kind = Kind::Map(map(&upsample.input)?);
            let like = |name: &str| map(name).and_then(|_| id(name));
            (vec![id(&upsample.input)?], None, upsampling(upsample, like)?, kind)
        }
        Op::Activation { input, activation } => {
            activation.check()?;
            (vec![id(input)?], None, Task::Activation { activation: *activation }, kinds[id(input)?])
        }
        Op::Add { inputs, activation } => {
            activation.check()?;
            let [first, second, ..] = inputs.as_slice() else {
                return Err(refuse(format!("inputs has {} names: must name at least two maps", inputs.len())));
            };
            let split = map(first)?;
            for name in std::iter::once(second).chain(&inputs[2..]) {
                let found = map(name)?;
                if found != split {
                    return Err(refuse(format!(
                        "its input {name} has {} high and {} low channels: must have {} and {}, as {first} has",
                        found.high, found.low, split.high, split.low
                    )));
                }
            }
            let inputs = inputs.iter().map(|name| id(name)).collect::<Result<Vec<_>, _>>()?;
            (inputs, None, Task::Add { activation: *activation }, Kind::Map(split))
        }
        Op::Concat { inputs } => {
            let Some(first) = inputs.first() else {
                return Err(refuse("inputs is empty: must name at least one map or vector"));
            };
            let ids = inputs.iter().map(|name| id(name)).collect::<Result<Vec<_>, _>>()?;
            // A vector's elements are all counted as high.
            let is_map = matches!(kinds[id(first)?], Kind::Map(_));
            let split = |name: &String| match is_map {
                true => map(name),
                false => Ok(Split { high: vector(name)?, low: 0 }),
            };
            let splits = inputs.iter().map(split).collect::<Result<Vec<_>, _>>()?;
            let sum = |part: fn(&Split) -> u32| splits.iter().map(part).try_fold(0, u32::checked_add);
            let split = sum(|s| s.high).zip(sum(|s| s.low)).filter(|(high, low)| high.checked_add(*low).is_some());
            let Some((high, low)) = split else {
                return Err(refuse(format!("its inputs have more than {} channels together", u32::MAX)));
            };
            let kind = if is_map { Kind::Map(Split { high, low }) } else { Kind::Vector(high) };
            (ids, None, Task::Concat, kind)
        }
        Op::Excite(excite) => {
            let split = map(&excite.input)?;
            if excite.reduced == 0 {
                return Err(Error::argument("reduced", 0, "must be at least 1"));
            }
            excite.activation.check()?;
            let task = Task::Excite { reduced: excite.reduced, activation: excite.activation };
            (vec![id(&excite.input)?], residual(&excite.residual, split)?, task, Kind::Map(split))
        }
        Op::Attention(Attention { queries, keys, values, scale }) => {
            let (of_queries, of_keys, of_values) = (map(queries)?, map(keys)?, map(values)?);
            if of_keys != of_queries {
                return Err(refuse(format!(
                    "its keys {keys} have {} high and {} low channels: must have {} and {}, as {queries} has",
                    of_keys.high, of_keys.low, of_queries.high, of_queries.low
                )));
            }
            let has = |split: Split| [split.high > 0, split.low > 0];
            if has(of_values) != has(of_queries) {
                return Err(refuse(format!(
                    "its values {values} have {} high and {} low channels: must have some where {queries} has some",
                    of_values.high, of_values.low
                )));
            }
            if let Some(scale) = scale.filter(|scale| !scale.is_finite()) {
                return Err(Error::argument("scale", scale, "must be a number that f32 can hold"));
            }
            let task = Task::Attention { scale: Scale(*scale) };
            (vec![id(queries)?, id(keys)?, id(values)?], None, task, Kind::Map(of_values))
        }
        Op::Gate { input, by } => {
            let split = map(input)?;
            let (found, wanted) = (vector(by)?, split.channels());
            if found != wanted {
                return Err(refuse(format!(
                    "its vector {by} has {found} elements: must have {wanted}, as {input} has channels"
                )));
            }
            (vec![id(input)?, id(by)?], None, Task::Gate, Kind::Map(split))
        }
        Op::GlobalPool { input } => (vec![id(input)?], None, Task::GlobalPool, Kind::Vector(map(input)?.channels())),
        Op::Linear { input, outputs, bias, activation } => {
            vector(input)?;
            activation.check()?;
            if *outputs == 0 {
                return Err(Error::argument("outputs", 0, "must be at least 1"));
            }
            let task = Task::Linear { bias: *bias, activation: *activation };
            (vec![id(input)?], None, task, Kind::Vector(*outputs))
        }
        Op::Softmax { input } => (vec![id(input)?], None, Task::Softmax, Kind::Vector(vector(input)?)),
    };
    Ok(GraphNode { name: node.name.clone(), inputs, residual, task, kind })
}

fn window(pool: &Pool) -> Result<Window, Error> {
    let padding = pool.padding.with_time(Ends::default());
    let window = Window {
        kernel: pool.kernel.with_time(1),
        stride: pool.stride.with_time(1),
        padding: padding.map(|ends| ends.before),
        behind: padding.map(|ends| ends.behind),
        ceil: pool.ceil_mode,
        counts_padding: pool.count_include_pad,
    };
    for axis in 0..3 {
        let (kernel, stride) = (window.kernel[axis], window.stride[axis]);
        if kernel == 0 || kernel > 1024 {
            return Err(Error::argument("kernel", kernel, "must be 1 to 1024"));
        }
        if stride == 0 || stride > 1024 {
            return Err(Error::argument("stride", stride, "must be 1 to 1024"));
        }
        if window.padding[axis] >= kernel {
            let allowed = format!("must be less than the kernel's {kernel} before the map");
            return Err(Error::argument("padding", window.padding[axis], allowed));
        }
        // With more, the last pool window has nothing but padding, whatever the size.
        let most = kernel + stride - 2;
        if window.behind[axis] > most {
            let allowed = format!("must be at most kernel + stride - 2, which is {most}, behind the map");
            return Err(Error::argument("padding", window.behind[axis], allowed));
        }
    }
    if pool.count_include_pad && pool.kind == PoolKind::Max {
        return Err(Error::argument("count_include_pad", true, "must be left out of a max pool"));
    }
    Ok(window)
}

/// `like` gives the id of the map of a name.
fn upsampling(upsample: &Upsample, like: impl Fn(&str) -> Result<ValueId, Error>) -> Result<Task, Error> {
    let bilinear = upsample.mode == UpsampleMode::Bilinear;
    if upsample.align_corners && !bilinear {
        return Err(Error::argument("align_corners", true, "must be left out unless mode is bilinear"));
    }
    let (factor, to) = match &upsample.to {
        UpsampleTo::Factor(factor) => {
            let [t, h, w] = factor.with_time(1.0).map(Fraction::of_factor);
            (Some([t?, h?, w?]), To::Factor)
        }
        UpsampleTo::Size(size) => {
            let [t, h, w] = size.with_time(1);
            if let Some(axis) = [t, h, w].into_iter().find(|axis| !(1..=MAX_AXIS).contains(axis)) {
                return Err(Error::argument("size", axis, format!("must be 1 to {MAX_AXIS}")));
            }
            (None, To::Size { t: matches!(size, Axes::Video(_)).then_some(t), h, w })
        }
        UpsampleTo::Like(name) => (None, To::Like(like(name)?)),
    };
    Ok(Task::Upsample { resample: Resample { bilinear, align_corners: upsample.align_corners, factor }, to })
}

fn conv_spec(network: &Network, conv: &Conv, input: Split) -> Result<Spec, Error> {
    conv.builder(input, network.rounding, conv.residual.is_some())?.build()
}
