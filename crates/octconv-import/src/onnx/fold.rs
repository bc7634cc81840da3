//! Computes what depends on constants alone: sizes of maps, and weights that are cut, turned or scaled before they are
//! used.

use std::fmt::Debug;

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, Slice, concatenate};

use super::constant::{Constant, MOST_AXES, MOST_ELEMENTS, Source, counted, shape};
use super::node::FileNode;
use super::proto::data_type;
use super::read::{TRAINING, elements};

/// Why an operation on constants cannot be computed.
type Reason = String;

/// What the node makes of constants. `None` if it is no operation that is known here.
pub(super) fn evaluate(node: &FileNode, inputs: &[Option<&Constant>], opset: i64) -> Option<Result<Constant, Reason>> {
    let known = [
        "Identity",
        "Cast",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Flatten",
        "Transpose",
        "Concat",
        "Slice",
        "Gather",
        "Add",
        "Sum",
        "Sub",
        "Mul",
        "Div",
        "Sqrt",
        "Neg",
        "Floor",
        "Ceil",
        "Exp",
        "Pow",
        "Reciprocal",
        "Min",
        "Max",
        "Mod",
        "Shape",
        "Size",
        "ConstantOfShape",
        "Expand",
        "Range",
        "ReduceProd",
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "Abs",
        "Log",
        "Relu",
        "Sigmoid",
        "Tanh",
        "Equal",
        "Where",
        "Dropout",
    ];
    known.contains(&node.operator.as_str()).then(|| compute(node, inputs, opset))
}

/// How many elements the steps of a node write that broadcast constants or repeat them, if the shapes say so. The result
/// of any other node has about as many as its inputs.
pub(super) fn written(node: &FileNode, inputs: &[Option<&Constant>]) -> Result<usize, Reason> {
    let shapes: Vec<&[usize]> = inputs.iter().flatten().map(|constant| constant.shape()).collect();
    let ints = |i: usize| inputs.get(i).copied().flatten().and_then(Constant::ints);
    let common = || {
        let first = shapes.first().map_or(Vec::new(), |first| first.to_vec());
        shapes.iter().try_fold(first, |all, shape| common_shape(&all, shape))
    };
    let (sizes, steps) = match node.operator.as_str() {
        "Min" | "Max" | "Sum" => (common()?, shapes.len().saturating_sub(1).max(1)),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "Equal" | "Where" => (common()?, 1),
        "Expand" => match (shapes.first(), ints(1)) {
            (Some(from), Some(to)) => (common_shape(from, &shape(&to)?)?, 1),
            _ => return Ok(0),
        },
        "ConstantOfShape" => match ints(0) {
            Some(sizes) => (shape(&sizes)?, 1),
            None => return Ok(0),
        },
        "Gather" => match shapes.as_slice() {
            [x, indices] => (gathered(x, axis(node.int("axis").unwrap_or(0), x.len())?, indices), 1),
            _ => return Ok(0),
        },
        "Range" => match [ints(0), ints(1), ints(2)] {
            [Some(start), Some(limit), Some(delta)] => return range(&start, &limit, &delta).map(|(count, ..)| count),
            _ => return Ok(0),
        },
        _ => return Ok(0),
    };
    bounded(&sizes)?;
    Ok(elements(&sizes).saturating_mul(steps))
}

/// How many numbers a `Range` has at most, its first and its last, and its step.
fn range(start: &[i64], limit: &[i64], delta: &[i64]) -> Result<(usize, [i64; 3]), Reason> {
    let [start, limit, delta] = [start, limit, delta].map(|v| v.first().copied().unwrap_or(0));
    let count = limit.checked_sub(start).and_then(|length| length.checked_div(delta)).unwrap_or(i64::MAX);
    if count >= MOST_ELEMENTS as i64 {
        return Err(format!("its range is from {start} to {limit} in steps of {delta}"));
    }
    Ok((count.max(0) as usize + 1, [start, limit, delta]))
}

/// The sizes of what `Gather` makes.
fn gathered(from: &[usize], at: usize, indices: &[usize]) -> Vec<usize> {
    [&from[..at], indices, &from[at + 1..]].concat()
}

fn compute(node: &FileNode, inputs: &[Option<&Constant>], opset: i64) -> Result<Constant, Reason> {
    let input = |i: usize| inputs.get(i).copied().flatten().ok_or_else(|| format!("its input {i} is missing"));
    let given = |i: usize| inputs.get(i).copied().flatten();
    let ints = |i: usize| input(i)?.ints().ok_or_else(|| format!("its input {i} must be whole numbers"));
    // Axes are an attribute, and an input since some version.
    let axes = |i: usize| -> Result<Option<Vec<i64>>, Reason> {
        match (node.ints("axes"), given(i)) {
            (Some(axes), _) => Ok(Some(axes.to_vec())),
            (None, Some(_)) => ints(i).map(Some),
            (None, None) => Ok(None),
        }
    };
    let x = input(0)?;
    match node.operator.as_str() {
        "Dropout" if given(2).is_some_and(|training| training.scalar() != Some(0.0)) => Err(TRAINING.into()),
        "Identity" | "Dropout" => Ok(x.clone()),
        "Cast" => cast(x, node.int("to").unwrap_or(0)),
        "Reshape" => reshape(x, &ints(1)?, node.int("allowzero") == Some(1)),
        "Squeeze" => squeeze(x, axes(1)?.as_deref()),
        "Unsqueeze" => unsqueeze(x, &axes(1)?.ok_or("its axes are missing")?),
        "Flatten" => {
            let at = flatten_axis(node, x.shape().len())?;
            let (rows, columns) = x.shape().split_at(at);
            let sizes = [rows.iter().product(), columns.iter().product()];
            each(x, |a| reshaped(a, &sizes), |a| reshaped(a, &sizes))
        }
        "Transpose" => {
            let rank = x.shape().len();
            let order: Vec<usize> = match node.ints("perm") {
                Some(perm) => perm.iter().map(|&p| axis(p, rank)).collect::<Result<_, _>>()?,
                None => (0..rank).rev().collect(),
            };
            let mut sorted = order.clone();
            sorted.sort_unstable();
            if !sorted.into_iter().eq(0..rank) {
                return Err(format!("its perm is {}", shown(&order)));
            }
            each(
                x,
                |a| Ok(a.permuted_axes(order.clone()).to_owned()),
                |a| Ok(a.permuted_axes(order.clone()).to_owned()),
            )
        }
        "Concat" => concat(node, inputs),
        "Slice" => slice(node, inputs, opset),
        "Gather" => {
            let at = axis(node.int("axis").unwrap_or(0), x.shape().len())?;
            gather(x, at, input(1)?)
        }
        "Shape" => {
            let sizes: Vec<i64> = x.shape().iter().map(|&d| d as i64).collect();
            Ok(part_of_shape(node, &sizes))
        }
        "Size" => Ok(Constant::Int(ArrayD::from_elem(IxDyn(&[]), x.shape().iter().product::<usize>() as i64))),
        "ConstantOfShape" => {
            let sizes = shape(&ints(0)?)?;
            bounded(&sizes)?;
            if node.tensor("value").is_some_and(|value| value.dims.iter().any(|&size| size != 1)) {
                return Err("its value must be one number".into());
            }
            let mut nowhere = |_: &str, _, _| Err("it lies in another file".into());
            let mut source = Source::new(&mut nowhere, size_of::<i64>() as u64);
            match node.tensor("value").map(|tensor| Constant::read(tensor, &mut source)).transpose()? {
                None => Ok(Constant::Float(ArrayD::zeros(IxDyn(&sizes)))),
                Some(Constant::Float(v)) => {
                    Ok(Constant::Float(ArrayD::from_elem(IxDyn(&sizes), v.first().copied().unwrap_or(0.0))))
                }
                Some(Constant::Int(v)) => {
                    Ok(Constant::Int(ArrayD::from_elem(IxDyn(&sizes), v.first().copied().unwrap_or(0))))
                }
            }
        }
        "Expand" => {
            let sizes = common_shape(x.shape(), &shape(&ints(1)?)?)?;
            bounded(&sizes)?;
            each(x, |a| broadcast(&a, &sizes), |a| broadcast(&a, &sizes))
        }
        "Range" => {
            let (count, [start, limit, delta]) = range(&ints(0)?, &ints(1)?, &ints(2)?)?;
            let values = (0..count as i64).filter_map(|i| start.checked_add(i.checked_mul(delta)?));
            let inside = |&v: &i64| if delta > 0 { v < limit } else { v > limit };
            Ok(Constant::Int(values.filter(inside).collect::<ndarray::Array1<i64>>().into_dyn()))
        }
        "ReduceProd" | "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" => reduce(node, x, axes(1)?),
        "Where" => {
            let (chosen, other) = (input(1)?, input(2)?);
            let sizes = common_shape(&common_shape(x.shape(), chosen.shape())?, other.shape())?;
            bounded(&sizes)?;
            let condition = x.ints().ok_or("its condition must be a truth value")?;
            let condition =
                broadcast(&ArrayViewD::from_shape(IxDyn(x.shape()), &condition).map_err(|e| e.to_string())?, &sizes)?;
            match (chosen, other) {
                (Constant::Int(a), Constant::Int(b)) => {
                    let (a, b) = (broadcast(&a.view(), &sizes)?, broadcast(&b.view(), &sizes)?);
                    let mut result = a;
                    ndarray::Zip::from(&mut result).and(&b).and(&condition).for_each(|r, &b, &c| {
                        if c == 0 {
                            *r = b
                        }
                    });
                    Ok(Constant::Int(result))
                }
                _ => Err("it chooses between numbers with fractions".into()),
            }
        }
        "Sqrt" | "Neg" | "Floor" | "Ceil" | "Exp" | "Reciprocal" | "Abs" | "Log" | "Relu" | "Sigmoid" | "Tanh" => {
            Ok(unary(&node.operator, x))
        }
        operator @ ("Min" | "Max" | "Sum") => {
            (1..inputs.len()).try_fold(x.clone(), |all, i| binary(operator, &all, input(i)?))
        }
        "Mod" if node.int("fmod").unwrap_or(0) != 0 => binary("Remainder", x, input(1)?),
        operator => binary(operator, x, input(1)?),
    }
}

/// What a node makes of all elements along some axes, or along all.
fn reduce(node: &FileNode, x: &Constant, axes: Option<Vec<i64>>) -> Result<Constant, Reason> {
    let rank = x.shape().len();
    let given = axes.unwrap_or_default();
    if given.is_empty() && node.int("noop_with_empty_axes") == Some(1) {
        return Ok(x.clone());
    }
    let mut axes: Vec<usize> = given.iter().map(|&a| axis(a, rank)).collect::<Result<_, _>>()?;
    axes.sort_unstable();
    axes.dedup();
    if axes.is_empty() {
        axes = (0..rank).collect();
    }
    let count = axes.iter().map(|&axis| x.shape()[axis]).product::<usize>();
    if elements(x.shape()) == 0 {
        return Err(format!("it reduces {:?}, which has no elements", x.shape()));
    }
    let kept = node.int("keepdims") != Some(0);
    let sizes = x.shape().iter().enumerate().map(|(i, &d)| if axes.contains(&i) { 1 } else { d });
    let sizes: Vec<usize> = sizes.enumerate().filter(|(i, _)| kept || !axes.contains(i)).map(|(_, d)| d).collect();
    let operator = node.operator.as_str();
    match x {
        Constant::Float(array) => {
            let combine = |a: f64, b: f64| match operator {
                "ReduceProd" => a * b,
                "ReduceMax" => a.max(b),
                "ReduceMin" => a.min(b),
                _ => a + b,
            };
            let all = folded(array.mapv(f64::from), &axes, |a, b| Some(combine(a, b))).ok_or("it has no result")?;
            let divisor = if operator == "ReduceMean" { count as f64 } else { 1.0 };
            reshaped(all.mapv(|v| (v / divisor) as f32).view(), &sizes).map(Constant::Float)
        }
        Constant::Int(array) => {
            let combine = |a: i64, b: i64| match operator {
                "ReduceProd" => a.checked_mul(b),
                "ReduceMax" => Some(a.max(b)),
                "ReduceMin" => Some(a.min(b)),
                "ReduceSum" => a.checked_add(b),
                _ => None,
            };
            let all = folded(array.clone(), &axes, combine).ok_or("its result is no whole number, or too large")?;
            reshaped(all.view(), &sizes).map(Constant::Int)
        }
    }
}

/// The elements along these axes, combined: each axis has one element then. `None` if two cannot be combined, or if there
/// are none.
fn folded<T: Copy>(mut array: ArrayD<T>, axes: &[usize], combine: impl Fn(T, T) -> Option<T>) -> Option<ArrayD<T>> {
    // An axis may be long all the same.
    if array.is_empty() {
        return None;
    }
    for &axis in axes {
        let mut lanes = array.axis_iter(Axis(axis));
        let mut all = lanes.next()?.to_owned();
        for lane in lanes {
            for (a, &b) in all.iter_mut().zip(&lane) {
                *a = combine(*a, b)?;
            }
        }
        array = all.insert_axis(Axis(axis));
    }
    Some(array)
}

/// Sizes [start, end) of a shape, as the attributes of `Shape` have it.
pub(super) fn part_of_shape(node: &FileNode, sizes: &[i64]) -> Constant {
    let rank = sizes.len() as i64;
    let at = |given: Option<i64>, otherwise: i64| {
        let v = given.unwrap_or(otherwise);
        (if v < 0 { v + rank } else { v }).clamp(0, rank) as usize
    };
    let (start, end) = (at(node.int("start"), 0), at(node.int("end"), rank));
    let part = sizes.get(start..end).unwrap_or_default();
    Constant::Int(ndarray::Array1::from(part.to_vec()).into_dyn())
}

/// A list in an error: its first numbers. A list may be as long as a constant.
pub(super) fn shown<T: Debug>(list: &[T]) -> String {
    const MOST: usize = 16;
    match list.get(..MOST) {
        Some(first) if list.len() > MOST => format!("{first:?} and {} more", list.len() - MOST),
        _ => format!("{list:?}"),
    }
}

/// An axis, counted from the end if it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Reason> {
    let counted = if axis < 0 { i64::try_from(rank).ok().and_then(|rank| axis.checked_add(rank)) } else { Some(axis) };
    let found = counted.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < rank);
    found.ok_or_else(|| format!("its axis is {axis}, of {rank}"))
}

/// The first axis of the columns that `Flatten` makes of a tensor of so many axes, behind which there may be none.
pub(super) fn flatten_axis(node: &FileNode, rank: usize) -> Result<usize, Reason> {
    let at = node.int("axis").unwrap_or(1);
    axis(at, if at < 0 { rank } else { rank + 1 })
}

fn bounded(sizes: &[usize]) -> Result<(), Reason> {
    match counted(sizes) {
        _ if sizes.len() > MOST_AXES => {
            Err(format!("it makes a constant of {} axes: must be at most {MOST_AXES}", sizes.len()))
        }
        Some(count) if count <= MOST_ELEMENTS => Ok(()),
        _ => Err(format!("it makes a constant of shape {sizes:?}, more than {MOST_ELEMENTS} elements")),
    }
}

fn each(
    x: &Constant,
    float: impl Fn(ArrayViewD<'_, f32>) -> Result<ArrayD<f32>, Reason>,
    int: impl Fn(ArrayViewD<'_, i64>) -> Result<ArrayD<i64>, Reason>,
) -> Result<Constant, Reason> {
    match x {
        Constant::Float(array) => float(array.view()).map(Constant::Float),
        Constant::Int(array) => int(array.view()).map(Constant::Int),
    }
}

fn reshaped<T: Clone>(array: ArrayViewD<'_, T>, sizes: &[usize]) -> Result<ArrayD<T>, Reason> {
    let from = array.shape().to_vec();
    let values: Vec<T> = array.iter().cloned().collect();
    ArrayD::from_shape_vec(IxDyn(sizes), values).map_err(|_| format!("it makes {sizes:?} of {from:?}"))
}

/// The types of numbers with fractions, as ONNX numbers them: float, float16, double, bfloat16.
pub(super) const FRACTIONS: [i64; 4] = [1, 10, 11, 16];

/// ONNX's number of the type of truth values.
const BOOL: i64 = 9;

/// What a type of whole numbers makes of a number: its last bits. `None` if `to` is no such type. Numbers are kept in 63
/// bits and a sign, so what becomes uint64 must not be negative.
fn narrowed(to: i64) -> Option<fn(i64) -> i64> {
    Some(match i32::try_from(to).ok()? {
        data_type::UINT8 => |v| (v as u8).into(),
        data_type::INT8 => |v| (v as i8).into(),
        data_type::UINT16 => |v| (v as u16).into(),
        data_type::INT16 => |v| (v as i16).into(),
        data_type::UINT32 => |v| (v as u32).into(),
        data_type::INT32 => |v| (v as i32).into(),
        data_type::INT64 | data_type::UINT64 => |v| v,
        _ => return None,
    })
}

fn cast(x: &Constant, to: i64) -> Result<Constant, Reason> {
    Ok(match x {
        Constant::Int(array) if to == BOOL => Constant::Int(array.mapv(|v| (v != 0).into())),
        Constant::Float(array) if to == BOOL => Constant::Int(array.mapv(|v| (v != 0.0).into())),
        Constant::Float(_) if FRACTIONS.contains(&to) => x.clone(),
        Constant::Int(array) if FRACTIONS.contains(&to) => Constant::Float(array.mapv(|v| v as f32)),
        _ => {
            let name = || i32::try_from(to).map_or_else(|_| to.to_string(), data_type::name);
            let whole =
                narrowed(to).ok_or_else(|| format!("it makes {} of constants: no such type is known here", name()))?;
            let made = match x {
                Constant::Int(array) => array.mapv(whole),
                Constant::Float(array) => array.mapv(|v| whole(v as i64)),
            };
            match made.iter().find(|&&v| v < 0) {
                Some(v) if to == i64::from(data_type::UINT64) => {
                    return Err(format!("it makes uint64 of {v}: must be at least 0"));
                }
                _ => Constant::Int(made),
            }
        }
    })
}

/// The sizes that `Reshape` gives: 0 keeps a size, and -1 takes what is left.
pub(super) fn reshape_sizes(from: &[usize], to: &[i64], allow_zero: bool) -> Result<Vec<usize>, Reason> {
    if to.len() > MOST_AXES {
        return Err(format!("it makes {} axes: must be at most {MOST_AXES}", to.len()));
    }
    let refused = || format!("it makes {} of {from:?}", shown(to));
    let mut sizes: Vec<Option<usize>> = Vec::new();
    for (i, &d) in to.iter().enumerate() {
        sizes.push(match d {
            0 if !allow_zero => Some(*from.get(i).ok_or_else(refused)?),
            -1 => None,
            d => Some(usize::try_from(d).map_err(|_| refused())?),
        });
    }
    let all = elements(from);
    let known = sizes.iter().flatten().try_fold(1usize, |all, &d| all.checked_mul(d)).ok_or_else(refused)?;
    match sizes.iter().filter(|size| size.is_none()).count() {
        0 if known == all => {}
        1 if known > 0 && all.is_multiple_of(known) => {}
        _ => return Err(refused()),
    }
    Ok(sizes.into_iter().map(|size| size.unwrap_or_else(|| all / known)).collect())
}

fn reshape(x: &Constant, to: &[i64], allow_zero: bool) -> Result<Constant, Reason> {
    let sizes = reshape_sizes(x.shape(), to, allow_zero)?;
    if sizes.contains(&0) {
        bounded(&sizes)?;
    }
    each(x, |a| reshaped(a, &sizes), |a| reshaped(a, &sizes))
}

fn squeeze(x: &Constant, axes: Option<&[i64]>) -> Result<Constant, Reason> {
    let sizes = squeezed(x.shape(), axes)?;
    each(x, |a| reshaped(a, &sizes), |a| reshaped(a, &sizes))
}

/// The sizes without `axes`, or without all axes of size 1.
pub(super) fn squeezed(sizes: &[usize], axes: Option<&[i64]>) -> Result<Vec<usize>, Reason> {
    let dropped: Vec<usize> = match axes {
        Some(axes) => axes.iter().map(|&a| axis(a, sizes.len())).collect::<Result<_, _>>()?,
        None => (0..sizes.len()).filter(|&i| sizes[i] == 1).collect(),
    };
    if let Some(&large) = dropped.iter().find(|&&i| sizes[i] != 1) {
        return Err(format!("it drops axis {large} of {sizes:?}"));
    }
    Ok((0..sizes.len()).filter(|i| !dropped.contains(i)).map(|i| sizes[i]).collect())
}

/// The sizes with new axes of size 1.
pub(super) fn unsqueezed(sizes: &[usize], axes: &[i64]) -> Result<Vec<usize>, Reason> {
    let rank = sizes.len() + axes.len();
    if rank > MOST_AXES {
        return Err(format!("it makes {rank} axes: must be at most {MOST_AXES}"));
    }
    let added: Vec<usize> = axes.iter().map(|&a| axis(a, rank)).collect::<Result<_, _>>()?;
    let mut rest = sizes.iter();
    let all: Vec<usize> =
        (0..rank).filter_map(|i| if added.contains(&i) { Some(1) } else { rest.next().copied() }).collect();
    if all.len() == rank { Ok(all) } else { Err(format!("its axes are {}", shown(axes))) }
}

fn unsqueeze(x: &Constant, axes: &[i64]) -> Result<Constant, Reason> {
    let sizes = unsqueezed(x.shape(), axes)?;
    each(x, |a| reshaped(a, &sizes), |a| reshaped(a, &sizes))
}

fn concat(node: &FileNode, inputs: &[Option<&Constant>]) -> Result<Constant, Reason> {
    let all: Vec<&Constant> = inputs.iter().copied().collect::<Option<_>>().ok_or("an input is missing")?;
    let rank = all.first().map_or(0, |first| first.shape().len());
    let at = Axis(axis(node.int("axis").unwrap_or(1), rank)?);
    // ndarray panics then.
    if let Some(other) = all.iter().find(|x| x.shape().len() != rank) {
        return Err(format!("it concatenates {:?} and {:?}", all[0].shape(), other.shape()));
    }
    let length = all.iter().filter_map(|x| x.shape().get(at.0)).fold(0, |all: usize, &d| all.saturating_add(d));
    let mut sizes = all.first().map_or(Vec::new(), |first| first.shape().to_vec());
    sizes[at.0] = length;
    bounded(&sizes)?;
    let wrong = |error: ndarray::ShapeError| format!("its inputs do not fit together: {error}");
    if all.iter().all(|x| matches!(x, Constant::Int(_))) {
        let views: Vec<_> =
            all.iter().filter_map(|x| if let Constant::Int(a) = x { Some(a.view()) } else { None }).collect();
        return concatenate(at, &views).map(Constant::Int).map_err(wrong);
    }
    let arrays: Vec<ArrayD<f32>> = all.iter().map(|x| float_array(x)).collect();
    let views: Vec<_> = arrays.iter().map(|a| a.view()).collect();
    concatenate(at, &views).map(Constant::Float).map_err(wrong)
}

fn float_array(x: &Constant) -> ArrayD<f32> {
    match x {
        Constant::Float(array) => array.clone(),
        Constant::Int(array) => array.mapv(|v| v as f32),
    }
}

/// What a `Slice` takes of one axis: so many indices.
pub(super) struct Cut {
    pub(super) axis: usize,
    pub(super) first: usize,
    pub(super) step: i64,
    pub(super) count: usize,
}

impl Cut {
    pub(super) fn indices(&self) -> impl ExactSizeIterator<Item = usize> {
        let (first, step) = (self.first as i64, self.step);
        (0..self.count).map(move |k| (first + k as i64 * step) as usize)
    }

    /// What it takes, as ndarray has it: the part from the least index on, from its end to its start if the step is negative.
    fn part(&self) -> Slice {
        let Some(last) = self.count.checked_sub(1) else { return Slice::new(0, Some(0), 1) };
        let last = self.first as i64 + last as i64 * self.step;
        let [first, last] = [self.first as isize, last as isize];
        Slice::new(first.min(last), Some(first.max(last) + 1), self.step as isize)
    }
}

/// What a `Slice` takes of a tensor of these sizes.
pub(super) fn cuts(
    node: &FileNode,
    inputs: &[Option<&Constant>],
    sizes: &[usize],
    opset: i64,
) -> Result<Vec<Cut>, Reason> {
    let list = |name: &str, i: usize| -> Result<Option<Vec<i64>>, Reason> {
        if opset < 10 {
            return Ok(node.ints(name).map(<[i64]>::to_vec));
        }
        match inputs.get(i).copied().flatten() {
            None => Ok(None),
            Some(values) => values.ints().map(Some).ok_or_else(|| format!("its {name} must be whole numbers")),
        }
    };
    let starts = list("starts", 1)?.ok_or("its starts depend on what runs through the network")?;
    let ends = list("ends", 2)?.ok_or("its ends depend on what runs through the network")?;
    let axes = list("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = list("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("its starts, ends, axes and steps have different lengths".into());
    }
    let mut cuts: Vec<Cut> = Vec::new();
    for i in 0..starts.len() {
        let axis = axis(axes[i], sizes.len())?;
        if cuts.iter().any(|cut| cut.axis == axis) {
            return Err(format!("it cuts axis {axis} twice"));
        }
        let size = i64::try_from(sizes[axis]).map_err(|_| format!("it cuts {sizes:?}"))?;
        let counted = |v: i64| if v < 0 { v.saturating_add(size) } else { v };
        let (start, end, step) = (counted(starts[i]), counted(ends[i]), steps[i]);
        // The first index, and how far it is to the end, which is not taken.
        let (first, length) = match step {
            1.. => (start.clamp(0, size), end.clamp(0, size) - start.clamp(0, size)),
            0 => return Err("its step is 0".into()),
            _ => (start.clamp(-1, size - 1), start.clamp(-1, size - 1) - end.clamp(-1, size - 1)),
        };
        let count = length.max(0).unsigned_abs().div_ceil(step.unsigned_abs());
        cuts.push(Cut { axis, first: first.max(0) as usize, step, count: count as usize });
    }
    Ok(cuts)
}

fn slice(node: &FileNode, inputs: &[Option<&Constant>], opset: i64) -> Result<Constant, Reason> {
    let x = inputs.first().copied().flatten().ok_or("its input is missing")?;
    let cuts = cuts(node, inputs, x.shape(), opset)?;
    // A constant without elements may have axes of any length.
    cuts.iter().try_for_each(|cut| bounded(&[cut.count]))?;
    fn cut<T: Clone>(array: ArrayViewD<'_, T>, cuts: &[Cut]) -> ArrayD<T> {
        cuts.iter().fold(array, |array, cut| array.slice_axis_move(Axis(cut.axis), cut.part())).to_owned()
    }
    each(x, |a| Ok(cut(a, &cuts)), |a| Ok(cut(a, &cuts)))
}

/// The elements of a constant with these indices along an axis.
fn gather(x: &Constant, at: usize, indices: &Constant) -> Result<Constant, Reason> {
    let sizes = gathered(x.shape(), at, indices.shape());
    bounded(&sizes)?;
    let Constant::Int(indices) = indices else { return Err("its input 1 must be whole numbers".into()) };
    let chosen: Vec<usize> = indices.iter().map(|&i| axis(i, x.shape()[at])).collect::<Result<_, _>>()?;
    each(x, |a| chosen_of(a, at, &chosen, &sizes), |a| chosen_of(a, at, &chosen, &sizes))
}

/// As `select` of ndarray, which takes much memory for each index.
fn chosen_of<T: Copy>(
    array: ArrayViewD<'_, T>,
    at: usize,
    chosen: &[usize],
    sizes: &[usize],
) -> Result<ArrayD<T>, Reason> {
    let array = array.as_standard_layout();
    let all = array.as_slice().unwrap_or_default();
    let (length, each) = (array.shape()[at], elements(&array.shape()[at + 1..]));
    let mut values = Vec::with_capacity(elements(sizes));
    for part in all.chunks_exact((length * each).max(1)) {
        chosen.iter().for_each(|&i| values.extend_from_slice(&part[i * each..(i + 1) * each]));
    }
    ArrayD::from_shape_vec(IxDyn(sizes), values).map_err(|_| format!("it makes {sizes:?} of {:?}", array.shape()))
}

/// The shape of two tensors that are combined element by element.
pub(super) fn common_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Reason> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    let common = |i: usize| match (size(a, i), size(b, i)) {
        (a, b) if a == b => Some(a),
        (1, b) => Some(b),
        (a, 1) => Some(a),
        _ => None,
    };
    (0..rank).map(common).collect::<Option<_>>().ok_or_else(|| format!("it combines {a:?} and {b:?}"))
}

fn broadcast<T: Clone>(array: &ArrayViewD<'_, T>, sizes: &[usize]) -> Result<ArrayD<T>, Reason> {
    let wide = array.broadcast(IxDyn(sizes)).ok_or_else(|| format!("it makes {sizes:?} of {:?}", array.shape()))?;
    Ok(wide.to_owned())
}

fn unary(operator: &str, x: &Constant) -> Constant {
    match (operator, x) {
        ("Neg", Constant::Int(array)) => Constant::Int(array.mapv(i64::wrapping_neg)),
        ("Floor" | "Ceil", Constant::Int(_)) => x.clone(),
        _ => Constant::Float(float_array(x).mapv(|v| match operator {
            "Sqrt" => v.sqrt(),
            "Neg" => -v,
            "Floor" => v.floor(),
            "Ceil" => v.ceil(),
            "Exp" => v.exp(),
            "Abs" => v.abs(),
            "Log" => v.ln(),
            "Relu" => v.max(0.0),
            "Sigmoid" => 1.0 / (1.0 + (-v).exp()),
            "Tanh" => v.tanh(),
            _ => 1.0 / v,
        })),
    }
}

fn binary(operator: &str, a: &Constant, b: &Constant) -> Result<Constant, Reason> {
    let sizes = common_shape(a.shape(), b.shape())?;
    bounded(&sizes)?;
    if let (Constant::Int(a), Constant::Int(b)) = (a, b) {
        let mut result = broadcast(&a.view(), &sizes)?;
        let b = broadcast(&b.view(), &sizes)?;
        let combine = |a: i64, b: i64| match operator {
            "Add" | "Sum" => a.checked_add(b),
            "Sub" => a.checked_sub(b),
            "Mul" => a.checked_mul(b),
            "Div" => a.checked_div(b),
            // With the sign of the divisor.
            "Mod" => a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }),
            "Remainder" => a.checked_rem(b),
            "Min" => Some(a.min(b)),
            "Max" => Some(a.max(b)),
            "Equal" => Some((a == b).into()),
            _ => None,
        };
        for (a, &b) in result.iter_mut().zip(&b) {
            *a = combine(*a, b).ok_or_else(|| format!("it combines {a} and {b}"))?;
        }
        return Ok(Constant::Int(result));
    }
    let mut result = broadcast(&float_array(a).view(), &sizes)?;
    let b = broadcast(&float_array(b).view(), &sizes)?;
    for (a, &b) in result.iter_mut().zip(&b) {
        *a = match operator {
            "Add" | "Sum" => *a + b,
            "Sub" => *a - b,
            "Mul" => *a * b,
            "Div" => *a / b,
            "Remainder" => *a % b,
            "Pow" => a.powf(b),
            "Min" => a.min(b),
            "Max" => a.max(b),
            _ => return Err("it combines numbers with fractions".into()),
        };
    }
    Ok(Constant::Float(result))
}

#[cfg(test)]
mod tests {
    use super::super::proto::NodeProto;
    use super::*;

    #[test]
    fn axes_are_counted_from_the_end() {
        assert_eq!([0, 3, -1, -4].map(|at| axis(at, 4)), [Ok(0), Ok(3), Ok(3), Ok(0)]);
        for (at, rank) in [(4, 4), (-5, 4), (i64::MIN, 4), (i64::MIN, 1 << 63), (-1, usize::MAX)] {
            assert_eq!(axis(at, rank), Err(format!("its axis is {at}, of {rank}")));
        }
    }

    #[test]
    fn lists_are_shown_by_their_first_numbers() {
        assert_eq!(shown(&[1, -2]), "[1, -2]");
        assert_eq!(shown(&[7; 17]), "[7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7] and 1 more");
        assert_eq!(reshape_sizes(&[1], &[1; 65], false), Err("it makes 65 axes: must be at most 64".into()));
        assert_eq!(bounded(&[1; 65]), Err("it makes a constant of 65 axes: must be at most 64".into()));
    }

    #[test]
    fn constants_become_no_other_type() {
        let x = Constant::Int(ArrayD::from_elem(IxDyn(&[]), 1));
        assert_eq!(cast(&x, 8), Err("it makes string of constants: no such type is known here".into()));
        assert_eq!(cast(&x, 13), Ok(x.clone()));
        let negative = Constant::Float(ArrayD::from_elem(IxDyn(&[]), -2.5));
        assert_eq!(cast(&negative, 13), Err("it makes uint64 of -2: must be at least 0".into()));
        assert_eq!(cast(&x, 1 << 40), Err(format!("it makes {} of constants: no such type is known here", 1i64 << 40)));
    }

    #[test]
    fn what_is_written_is_known_before() {
        let ints = |shape: &[usize]| Constant::Int(ArrayD::from_elem(IxDyn(shape), 2));
        let (column, row, one) = (ints(&[3, 1]), ints(&[1, 4]), ints(&[]));
        let node = |operator: &str| FileNode::new(NodeProto { op_type: Some(operator.into()), ..NodeProto::default() });
        let all = [&column, &row, &one, &one].map(Some);
        let cases = [("Max", &all[..], 36), ("Sum", &all[..1], 3), ("Add", &all[..2], 12), ("Where", &all[..3], 12)];
        let more = [("Expand", &all[1..2], 0), ("Gather", &all[..2], 4), ("ConstantOfShape", &all[..1], 8)];
        for (operator, inputs, wanted) in cases.into_iter().chain(more) {
            assert_eq!(written(&node(operator), inputs), Ok(wanted), "{operator}");
        }
        let long = [ints(&[1 << 14, 1]), ints(&[1, 1 << 14])];
        let refusal = written(&node("Add"), &[Some(&long[0]), Some(&long[1])]);
        assert_eq!(refusal, Err("it makes a constant of shape [16384, 16384], more than 67108864 elements".into()));
    }

    #[test]
    fn elements_are_chosen_as_ndarray_selects_them() {
        let array = ndarray::Array::from_iter(0..24i64).into_shape_with_order(IxDyn(&[2, 3, 4])).unwrap();
        for view in [array.view(), array.view().reversed_axes()] {
            for at in 0..3 {
                let chosen = [1, 0, 1, 1];
                let wanted = view.select(Axis(at), &chosen);
                assert_eq!(chosen_of(view.view(), at, &chosen, wanted.shape()), Ok(wanted));
                for (first, step, count) in [(0, 1, 2), (1, -1, 2), (1, 7, 1), (1, -7, 1), (0, 1, 0), (1, i64::MIN, 1)]
                {
                    let cut = Cut { axis: at, first, step, count };
                    let wanted = view.select(Axis(at), &cut.indices().collect::<Vec<_>>());
                    assert_eq!(view.slice_axis(Axis(at), cut.part()), wanted);
                }
            }
        }
        assert_eq!(chosen_of(ArrayD::<i64>::zeros(IxDyn(&[0, 2])).view(), 1, &[0; 3], &[0, 3]).unwrap().len(), 0);
    }
}
