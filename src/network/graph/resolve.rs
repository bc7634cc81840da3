//! Turns a node of a description into a node of the graph: finds values by name, and validates.

use std::collections::HashMap;

use super::node::{GraphNode, Task, refuse};
use super::value::{Kind, ValueId};
use crate::error::Error;
use crate::layer::{Spec, Split, Window};
use crate::network::description::{Conv, Ends, Network, Node, Op, Pool, PoolKind};

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
        Op::Norm { input, activation } => {
            activation.check()?;
            let kind = Kind::Map(map(input)?);
            (vec![id(input)?], None, Task::Norm { activation: *activation }, kind)
        }
        Op::Concat { inputs } => {
            if inputs.is_empty() {
                return Err(refuse("inputs is empty: must name at least one map"));
            }
            let splits = inputs.iter().map(|name| map(name)).collect::<Result<Vec<_>, _>>()?;
            let sum = |part: fn(&Split) -> u32| splits.iter().map(part).try_fold(0, u32::checked_add);
            let split = sum(|s| s.high).zip(sum(|s| s.low)).filter(|(high, low)| high.checked_add(*low).is_some());
            let Some((high, low)) = split else {
                return Err(refuse(format!("its inputs have more than {} channels together", u32::MAX)));
            };
            let split = Split { high, low };
            let inputs = inputs.iter().map(|name| id(name)).collect::<Result<Vec<_>, _>>()?;
            (inputs, None, Task::Concat, Kind::Map(split))
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
        Op::GlobalPool { input } => (vec![id(input)?], None, Task::GlobalPool, Kind::Vector(map(input)?.channels())),
        Op::Linear { input, outputs, bias } => {
            vector(input)?;
            if *outputs == 0 {
                return Err(Error::argument("outputs", 0, "must be at least 1"));
            }
            (vec![id(input)?], None, Task::Linear { bias: *bias }, Kind::Vector(*outputs))
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

fn conv_spec(network: &Network, conv: &Conv, input: Split) -> Result<Spec, Error> {
    conv.builder(input, network.rounding, conv.residual.is_some())?.build()
}
