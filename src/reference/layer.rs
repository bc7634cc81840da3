//! The reference: the octave convolution on the CPU, in f64, written to be read.
//!
//! It makes every map that the paper has: pool, convolve four times, replicate, add. For speed, threads share the
//! channels, and loops skip the padding; nothing else.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::tensor::Tensor;
#[cfg(feature = "verify")]
use super::tile_magnitude;
use crate::dims::{Dims, InputSize};
use crate::error::Error;
use crate::layer::{Frequency, Path, Rounding, Sampling, Shapes, Spec};
use crate::layer::{Weights, check_slice};
use crate::memory::with_room;
#[cfg(feature = "verify")]
use crate::winograd::Transform;

/// Borrowed inputs of one layer, each contiguous in NCTHW, with the shapes of [`Shapes`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs<'a> {
    /// X_H.
    pub x_h: Option<&'a [f32]>,
    /// X_L.
    pub x_l: Option<&'a [f32]>,
    /// pool(X_H), if it was computed elsewhere. It is then read wherever X_H is pooled.
    pub x_p: Option<&'a [f32]>,
    /// Added to Y_H before the activation. It has the shape of Y_H.
    pub residual_h: Option<&'a [f32]>,
    /// Added to Y_L before the activation. It has the shape of Y_L.
    pub residual_l: Option<&'a [f32]>,
}

/// The outputs of one layer, in f64.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Outputs {
    /// Y_H.
    pub y_h: Option<Tensor>,
    /// Y_L.
    pub y_l: Option<Tensor>,
    /// pool(Y_H).
    pub y_p: Option<Tensor>,
}

/// Computes a layer in f64. Batch norm is folded into the weights.
///
/// # Errors
///
/// Those of [`Spec::shapes`] and [`Weights::validate`]; [`Error::Presence`] or [`Error::Length`] for inputs that do not
/// fit; [`Error::Limit`] for outputs of more than 2^32 - 1 elements.
pub fn octave_conv(spec: &Spec, size: InputSize, weights: &Weights, inputs: &Inputs) -> Result<Outputs, Error> {
    Layer::new(spec, size, weights, Value::Signed)?.outputs(inputs)
}

/// Computes for every output the sum of |w * x| over its terms, plus |bias| and |residual|. Rounding errors are
/// proportional to it.
///
/// # Errors
///
/// Those of [`octave_conv`].
pub fn magnitude(spec: &Spec, size: InputSize, weights: &Weights, inputs: &Inputs) -> Result<Outputs, Error> {
    Layer::new(spec, size, weights, Value::Absolute)?.outputs(inputs)
}

/// Computes W of `src/winograd.rs` for every output, plus |bias| and |residual|. The rounding errors of a Winograd
/// convolution are proportional to it.
#[cfg(feature = "verify")]
pub(crate) fn magnitude_of_tiles(
    spec: &Spec,
    size: InputSize,
    weights: &Weights,
    inputs: &Inputs,
    transform: &'static Transform,
) -> Result<Outputs, Error> {
    Layer::new(spec, size, weights, Value::AbsoluteOfTiles(transform))?.outputs(inputs)
}

/// The inputs of one layer in f64.
#[derive(Clone, Copy, Default)]
pub(crate) struct Maps<'a> {
    pub(crate) x_h: Option<&'a Tensor>,
    pub(crate) x_l: Option<&'a Tensor>,
    pub(crate) x_p: Option<&'a Tensor>,
    pub(crate) residual_h: Option<&'a Tensor>,
    pub(crate) residual_l: Option<&'a Tensor>,
}

/// Y_H and Y_L of a layer in a network. The caller guarantees the shapes of the inputs.
#[cfg(feature = "network")]
pub(crate) fn octave_conv_f64(
    spec: &Spec,
    size: InputSize,
    weights: &Weights,
    maps: &Maps,
) -> Result<[Option<Tensor>; 2], Error> {
    Ok(Layer::new(spec, size, weights, Value::Signed)?.run(maps))
}

/// What [`magnitude`] gives, or [`magnitude_of_tiles`] if there is a transform, for inputs of which none is negative.
#[cfg(all(feature = "network", feature = "verify"))]
pub(crate) fn magnitude_f64(
    spec: &Spec,
    size: InputSize,
    weights: &Weights,
    maps: &Maps,
    transform: Option<&'static Transform>,
) -> Result<[Option<Tensor>; 2], Error> {
    let value = transform.map_or(Value::Absolute, Value::AbsoluteOfTiles);
    Ok(Layer::new(spec, size, weights, value)?.run(maps))
}

/// Checks that the outputs are small enough to allocate.
fn check_outputs(shapes: &Shapes) -> Result<(), Error> {
    for (name, y) in [("Y_H", shapes.y_h), ("Y_L", shapes.y_l)] {
        let needs = y.map_or(0, Dims::elements);
        let allowed = u64::from(u32::MAX);
        if needs > allowed {
            let limit = "the number of elements that 32-bit indices reach";
            return Err(Error::Limit { what: format!("output {name}"), needs, limit, allowed });
        }
    }
    // Each output is made of the sums of two paths.
    let elements: u64 = [shapes.y_h, shapes.y_l].into_iter().flatten().map(Dims::elements).sum();
    with_room::<f64>(3 * elements, "the reference, with maps").map(drop)
}

/// Checks every input slice against the shapes of `spec`.
fn check_inputs(spec: &Spec, shapes: &Shapes, inputs: &Inputs) -> Result<(), Error> {
    let none = Dims { n: 0, c: 0, t: 0, h: 0, w: 0 };
    // X_H may be absent if pool(X_H) is given and no path reads X_H at full resolution.
    let pooled = inputs.x_p.is_some();
    let full = Path::ALL
        .into_iter()
        .any(|path| spec.has(path) && path.input() == Frequency::High && (!pooled || spec.sampling(path).level == 0));
    let x_h = full || (inputs.x_h.is_some() && spec.reads(Frequency::High));
    for (name, slice, wanted, shape) in [
        ("x_h", inputs.x_h, x_h, shapes.x_h),
        ("x_l", inputs.x_l, spec.reads(Frequency::Low), shapes.x_l),
        ("x_p", inputs.x_p, pooled && spec.pools_input(), shapes.x_p),
        ("residual_h", inputs.residual_h, spec.has_residual(Frequency::High), shapes.y_h),
        ("residual_l", inputs.residual_l, spec.has_residual(Frequency::Low), shapes.y_l),
    ] {
        check_slice(name, slice, wanted, shape.unwrap_or(none))?;
    }
    Ok(())
}

/// What to compute for a layer.
#[derive(Clone, Copy)]
enum Value {
    /// Its outputs.
    Signed,
    /// The same with absolute values of all inputs, weights and biases, and without activation.
    Absolute,
    /// As `Absolute`, with absolute values of everything in the transform too.
    #[cfg(feature = "verify")]
    AbsoluteOfTiles(&'static Transform),
}

struct Layer<'a> {
    spec: &'a Spec,
    shapes: Shapes,
    weights: &'a Weights<'a>,
    value: Value,
}

impl<'a> Layer<'a> {
    fn new(spec: &'a Spec, size: InputSize, weights: &'a Weights, value: Value) -> Result<Self, Error> {
        let shapes = spec.shapes(size)?;
        weights.validate(spec)?;
        check_outputs(&shapes)?;
        Ok(Self { spec, shapes, weights, value })
    }

    fn value(&self, v: f64) -> f64 {
        if matches!(self.value, Value::Signed) { v } else { v.abs() }
    }

    fn outputs(&self, inputs: &Inputs) -> Result<Outputs, Error> {
        check_inputs(self.spec, &self.shapes, inputs)?;
        let tensor = |dims: Option<Dims>, data: Option<&[f32]>| {
            let mut tensor = Tensor::new(dims?, data?);
            tensor.data.iter_mut().for_each(|v| *v = self.value(*v));
            Some(tensor)
        };
        let [y_h, y_l] = self.run(&Maps {
            x_h: tensor(self.shapes.x_h, inputs.x_h).as_ref(),
            x_l: tensor(self.shapes.x_l, inputs.x_l).as_ref(),
            x_p: tensor(self.shapes.x_p, inputs.x_p).as_ref(),
            residual_h: tensor(self.shapes.y_h, inputs.residual_h).as_ref(),
            residual_l: tensor(self.shapes.y_l, inputs.residual_l).as_ref(),
        });
        let y_p = self.shapes.y_p.and(y_h.as_ref()).map(|y_h| average_pool(y_h, self.spec.rounding()));
        Ok(Outputs { y_h, y_l, y_p })
    }

    fn run(&self, maps: &Maps) -> [Option<Tensor>; 2] {
        let high = [Path::HH, Path::LH].map(|path| self.path(path, maps));
        let low = [Path::HL, Path::LL].map(|path| self.path(path, maps));
        let y_h = self.shapes.y_h.map(|dims| self.finish(Frequency::High, dims, &high, maps.residual_h));
        let y_l = self.shapes.y_l.map(|dims| self.finish(Frequency::Low, dims, &low, maps.residual_l));
        [y_h, y_l]
    }

    /// One of the four convolutions, at the resolution of its output.
    fn path(&self, path: Path, maps: &Maps) -> Option<Tensor> {
        if !self.spec.has(path) {
            return None;
        }
        let rounding = self.spec.rounding();
        let Sampling { level, step, upsample } = self.spec.sampling(path);
        let (mut source, pooled) = match path.input() {
            Frequency::High if level > 0 && maps.x_p.is_some() => (Cow::Borrowed(maps.x_p?), 1),
            Frequency::High => (Cow::Borrowed(maps.x_h?), 0),
            Frequency::Low => (Cow::Borrowed(maps.x_l?), 0),
        };
        for _ in pooled..level {
            source = Cow::Owned(average_pool(&source, rounding));
        }
        let convolved = self.conv(path, &source, step);
        match (upsample, self.shapes.y_h) {
            (true, Some(y_h)) => Some(replicate(&convolved, y_h)),
            _ => Some(convolved),
        }
    }

    /// A plain convolution with zero padding. Multiplies the weights by batch norm's factor.
    fn conv(&self, path: Path, source: &Tensor, step: u32) -> Tensor {
        let spec = self.spec;
        let [c_out, c_in, kt, kh, kw] = spec.weight_shape(path).map(|d| d as usize);
        let Dims { n, t: t_in, h: h_in, w: w_in, .. } = source.dims;
        let out = |size: u32, k: usize, stride: u32, pad: u32, dilation: u32| {
            (size + 2 * pad - dilation * (k as u32 - 1) - 1) / stride + 1
        };
        let (time, pad, dilation) = (spec.time(), spec.padding(), spec.dilation());
        let t = out(t_in, kt, time.stride, time.padding, time.dilation);
        let h = out(h_in, kh, step, pad[0], dilation[0]);
        let w = out(w_in, kw, step, pad[1], dilation[1]);
        let dims = Dims { n, c: c_out as u32, t, h, w };

        let weights = self.weights.path(path).unwrap_or_default();
        let affine = self.weights.affine(spec, path.output());
        #[cfg(feature = "verify")]
        if let Value::AbsoluteOfTiles(transform) = self.value {
            let kernels = weights.iter().enumerate().map(|(i, &w)| f64::from(w) * affine[i / (9 * c_in)].0);
            return tile_magnitude::magnitude(transform, source, &kernels.collect::<Vec<_>>(), c_out as u32, pad);
        }
        let per_group = c_out / spec.path_groups(path) as usize;
        let mut data = vec![0.0; dims.elements() as usize];
        let (h, w) = (h as usize, w as usize);
        // One task per channel of a sample.
        data.par_chunks_mut(t as usize * h * w).enumerate().for_each(|(index, volume)| {
            let (sample, oc) = (index / c_out, index % c_out);
            let group = oc / per_group;
            for (zt, zh, zw) in taps(kt, kh, kw) {
                // The outputs whose tap is not in the padding, and where the first of them reads.
                let (frames, t_first) = inside(t as usize, time.stride, zt, time.dilation, time.padding, t_in);
                let (rows, h_first) = inside(h, step, zh, dilation[0], pad[0], h_in);
                let (columns, w_first) = inside(w, step, zw, dilation[1], pad[1], w_in);
                let window = Window { rows, columns, h_first, w_first, step: step as usize, w, w_in: w_in as usize };
                for ic in 0..c_in {
                    let weight = weights[(((oc * c_in + ic) * kt + zt) * kh + zh) * kw + zw];
                    let weight = self.value(f64::from(weight) * affine[oc].0);
                    let mut frame = 0;
                    while frame < frames.len() {
                        let plane = source.plane(sample, group * c_in + ic, t_first + frame * time.stride as usize);
                        let out = (frames.start + frame) * h * w;
                        add_plane(&mut volume[out..out + h * w], weight, plane, &window);
                        frame += 1;
                    }
                }
            }
        });
        Tensor { dims, data }
    }

    /// Adds the paths, residual and shift of an output, and applies the activation.
    fn finish(
        &self,
        frequency: Frequency,
        dims: Dims,
        paths: &[Option<Tensor>; 2],
        residual: Option<&Tensor>,
    ) -> Tensor {
        let affine = self.weights.affine(self.spec, frequency);
        let volume = ((dims.t * dims.h * dims.w) as usize).max(1);
        let activation = self.spec.activation();
        let mut data = vec![0.0; dims.elements() as usize];
        data.par_chunks_mut(volume).enumerate().for_each(|(index, volume)| {
            let shift = self.value(affine[index % dims.c as usize].1);
            let start = index * volume.len();
            for path in paths.iter().flatten().chain(residual) {
                volume.iter_mut().zip(&path.data[start..]).for_each(|(y, x)| *y += x);
            }
            for y in volume {
                let sum = *y + shift;
                *y = if matches!(self.value, Value::Signed) { activation.apply(sum) } else { sum };
            }
        });
        Tensor { dims, data }
    }
}

fn taps(kt: usize, kh: usize, kw: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..kt).flat_map(move |t| (0..kh).flat_map(move |h| (0..kw).map(move |w| (t, h, w))))
}

/// The outputs whose tap `k` reads inside of a map of `size`, and where the first of them reads.
fn inside(outputs: usize, stride: u32, k: usize, dilation: u32, padding: u32, size: u32) -> (Range<usize>, usize) {
    let (stride, shift) = (i64::from(stride), k as i64 * i64::from(dilation) - i64::from(padding));
    // From the first o with o * stride + shift >= 0 to the first with o * stride + shift >= size.
    let reaching = |at: i64| ((at - shift).max(0) + stride - 1) / stride;
    let end = reaching(i64::from(size)).min(outputs as i64);
    let start = reaching(0).min(end);
    (start as usize..end as usize, (start * stride + shift).clamp(0, i64::from(size)) as usize)
}

/// The outputs of a plane whose tap reads inside of the map, and where.
struct Window {
    rows: Range<usize>,
    columns: Range<usize>,
    /// What the first of them reads.
    h_first: usize,
    w_first: usize,
    step: usize,
    /// Columns of the output, and of the input.
    w: usize,
    w_in: usize,
}

/// y += weight * x, for one tap of a plane.
///
/// Loops over indices, because builds for debugging do not inline iterators, and tests spend most of their time here.
fn add_plane(y: &mut [f64], weight: f64, x: &[f64], window: &Window) {
    let columns = window.columns.end - window.columns.start;
    let mut row = window.rows.start;
    let mut from = window.h_first * window.w_in + window.w_first;
    while row < window.rows.end {
        let y = &mut y[row * window.w + window.columns.start..][..columns];
        // Empty if every column reads padding.
        let x = &x[from.min(x.len())..];
        let mut i = 0;
        if window.step == 1 {
            let x = &x[..columns];
            while i < columns {
                y[i] += weight * x[i];
                i += 1;
            }
        } else {
            while i < columns {
                y[i] += weight * x[i * window.step];
                i += 1;
            }
        }
        row += 1;
        from += window.step * window.w_in;
    }
}

/// The means of 2x2 positions. At an odd edge with [`Rounding::Ceil`], a mean is over the positions that exist.
pub fn average_pool(x: &Tensor, rounding: Rounding) -> Tensor {
    let dims = x.dims.pooled(rounding);
    let (h_in, w_in) = (x.dims.h as usize, x.dims.w as usize);
    each_plane(x, dims, |plane, row, column| {
        let (rows, columns) = (2 * row..(2 * row + 2).min(h_in), 2 * column..(2 * column + 2).min(w_in));
        let count = (rows.len() * columns.len()) as f64;
        rows.map(|r| plane[r * w_in..][columns.clone()].iter().sum::<f64>()).sum::<f64>() / count
    })
}

/// Replicates every element 2x2, cropped to the shape `to`. A last row or column beyond that repeats the one before it.
fn replicate(x: &Tensor, to: Dims) -> Tensor {
    let (h_in, w_in) = (x.dims.h as usize, x.dims.w as usize);
    each_plane(x, to, |plane, row, column| plane[(row / 2).min(h_in - 1) * w_in + (column / 2).min(w_in - 1)])
}

/// A map with as many planes as `x`. `value` makes each element out of the plane of `x`, and the row and column.
fn each_plane(x: &Tensor, to: Dims, value: impl Fn(&[f64], usize, usize) -> f64 + Sync) -> Tensor {
    let area = |dims: Dims| (dims.h as usize * dims.w as usize).max(1);
    let mut data = vec![0.0; to.elements() as usize];
    data.par_chunks_mut(area(to)).zip(x.data.par_chunks(area(x.dims))).for_each(|(out, plane)| {
        for (row, out) in out.chunks_exact_mut(to.w as usize).enumerate() {
            out.iter_mut().enumerate().for_each(|(column, y)| *y = value(plane, row, column));
        }
    });
    Tensor { dims: to, data }
}
