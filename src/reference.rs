//! What is right: the octave convolution on the CPU, in f64, written to be read.
//!
//! Every map is materialised as the paper writes it: pool, convolve four times, replicate, add. Threads share the
//! output channels; nothing else is done for speed.

use rayon::prelude::*;

use crate::error::Error;
use crate::spec::{Dims, Frequency, InputSize, Path, Rounding, Sampling, Spec};
use crate::weights::{Weights, check_slice};

/// Borrowed inputs of one layer, each contiguous in NCTHW.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs<'a> {
    /// X_H.
    pub x_h: Option<&'a [f32]>,
    /// X_L.
    pub x_l: Option<&'a [f32]>,
    /// pool(X_H) as somebody else computed it. Where given, it stands for every pooling of X_H.
    pub x_p: Option<&'a [f32]>,
    /// Added to Y_H before the activation.
    pub residual_h: Option<&'a [f32]>,
    /// Added to Y_L before the activation.
    pub residual_l: Option<&'a [f32]>,
}

/// The outputs of one layer, in f64.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// Y_H.
    pub y_h: Option<Tensor>,
    /// Y_L.
    pub y_l: Option<Tensor>,
    /// pool(Y_H).
    pub y_p: Option<Tensor>,
}

/// A contiguous NCTHW tensor in f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its shape.
    pub dims: Dims,
    /// Its elements.
    pub data: Vec<f64>,
}

impl Tensor {
    fn new(dims: Dims, data: &[f32]) -> Self {
        Self { dims, data: data.iter().map(|&v| f64::from(v)).collect() }
    }

    /// The elements in f32.
    pub fn to_f32(&self) -> Vec<f32> {
        self.data.iter().map(|&v| v as f32).collect()
    }

    /// The plane of frame `t` of channel `c` of sample `n`.
    fn plane(&self, n: usize, c: usize, t: usize) -> &[f64] {
        let Dims { c: channels, t: frames, h, w, .. } = self.dims;
        let size = h as usize * w as usize;
        let index = (n * channels as usize + c) * frames as usize + t;
        &self.data[index * size..(index + 1) * size]
    }
}

/// Computes a layer. Padding, splits and roundings are as `spec` says; batch norm is folded as on the GPU.
pub fn octave_conv(spec: &Spec, size: InputSize, weights: &Weights, inputs: &Inputs) -> Result<Outputs, Error> {
    let shapes = spec.shapes(size)?;
    weights.validate(spec)?;
    validate_inputs(spec, size, inputs)?;
    Ok(Layer { spec, shapes, weights, absolute: false }.run(inputs))
}

/// For every output the sum of |w * x| over its terms, with |bias| and |residual|: what rounding errors scale with.
pub fn magnitude(spec: &Spec, size: InputSize, weights: &Weights, inputs: &Inputs) -> Result<Outputs, Error> {
    let shapes = spec.shapes(size)?;
    weights.validate(spec)?;
    validate_inputs(spec, size, inputs)?;
    Ok(Layer { spec, shapes, weights, absolute: true }.run(inputs))
}

/// Checks every input slice against the shapes of `spec` at `size`, and that the outputs are of a size to allocate.
fn validate_inputs(spec: &Spec, size: InputSize, inputs: &Inputs) -> Result<(), Error> {
    let shapes = spec.shapes(size)?;
    for (name, y) in [("Y_H", shapes.y_h), ("Y_L", shapes.y_l)] {
        let needs = y.map_or(0, Dims::elements);
        let allowed = u64::from(u32::MAX);
        if needs > allowed {
            let limit = "the number of elements that 32-bit indices reach";
            return Err(Error::Limit { what: format!("output {name}"), needs, limit, allowed });
        }
    }
    let none = Dims { n: 0, c: 0, t: 0, h: 0, w: 0 };
    // A pooled map may stand in for X_H where nothing reads X_H at full resolution.
    let pooled = inputs.x_p.is_some();
    let pools = [Path::HH, Path::HL].into_iter().any(|path| spec.has(path) && spec.sampling(path).level > 0);
    let full = Path::ALL
        .into_iter()
        .any(|path| spec.has(path) && path.input() == Frequency::High && (!pooled || spec.sampling(path).level == 0));
    let x_h = full || (inputs.x_h.is_some() && spec.reads(Frequency::High));
    for (name, slice, wanted, shape) in [
        ("x_h", inputs.x_h, x_h, shapes.x_h),
        ("x_l", inputs.x_l, spec.reads(Frequency::Low), shapes.x_l),
        ("x_p", inputs.x_p, pooled && pools, shapes.x_p),
        ("residual_h", inputs.residual_h, spec.has_residual(Frequency::High), shapes.y_h),
        ("residual_l", inputs.residual_l, spec.has_residual(Frequency::Low), shapes.y_l),
    ] {
        check_slice(name, slice, wanted, shape.unwrap_or(none))?;
    }
    Ok(())
}

struct Layer<'a> {
    spec: &'a Spec,
    shapes: crate::spec::Shapes,
    weights: &'a Weights<'a>,
    /// Takes the absolute value of everything, and no activation.
    absolute: bool,
}

impl Layer<'_> {
    fn value(&self, v: f64) -> f64 {
        if self.absolute { v.abs() } else { v }
    }

    fn run(&self, inputs: &Inputs) -> Outputs {
        let tensor = |dims: Option<Dims>, data: Option<&[f32]>| {
            let mut tensor = Tensor::new(dims?, data?);
            tensor.data.iter_mut().for_each(|v| *v = self.value(*v));
            Some(tensor)
        };
        let x_h = tensor(self.shapes.x_h, inputs.x_h);
        let x_l = tensor(self.shapes.x_l, inputs.x_l);
        let x_p = tensor(self.shapes.x_p, inputs.x_p);
        let residual_h = tensor(self.shapes.y_h, inputs.residual_h);
        let residual_l = tensor(self.shapes.y_l, inputs.residual_l);

        let high = [Path::HH, Path::LH].map(|path| self.path(path, &x_h, &x_l, &x_p));
        let low = [Path::HL, Path::LL].map(|path| self.path(path, &x_h, &x_l, &x_p));
        let y_h = self.shapes.y_h.map(|dims| self.finish(Frequency::High, dims, &high, &residual_h));
        let y_l = self.shapes.y_l.map(|dims| self.finish(Frequency::Low, dims, &low, &residual_l));
        let y_p = self.shapes.y_p.and(y_h.as_ref()).map(|y_h| average_pool(y_h, self.spec.rounding()));
        Outputs { y_h, y_l, y_p }
    }

    /// One of the four convolutions, at the resolution of its output.
    fn path(&self, path: Path, x_h: &Option<Tensor>, x_l: &Option<Tensor>, x_p: &Option<Tensor>) -> Option<Tensor> {
        if !self.spec.has(path) {
            return None;
        }
        let rounding = self.spec.rounding();
        let Sampling { level, step, upsample } = self.spec.sampling(path);
        let (mut source, mut pooled) = match path.input() {
            Frequency::High if level > 0 && x_p.is_some() => (x_p.clone()?, 1),
            Frequency::High => (x_h.clone()?, 0),
            Frequency::Low => (x_l.clone()?, 0),
        };
        while pooled < level {
            source = average_pool(&source, rounding);
            pooled += 1;
        }
        let convolved = self.conv(path, &source, step);
        match (upsample, self.shapes.y_h) {
            (true, Some(y_h)) => Some(replicate(&convolved, y_h)),
            _ => Some(convolved),
        }
    }

    /// A plain convolution with zero padding; batch norm's factor is already in the weights.
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
        let per_group = c_out / spec.path_groups(path) as usize;
        let mut data = vec![0.0; dims.elements() as usize];
        // One task a channel of a sample.
        data.par_chunks_mut((t * h * w) as usize).enumerate().for_each(|(index, volume)| {
            let (sample, oc) = (index / c_out, index % c_out);
            let group = oc / per_group;
            for ic in 0..c_in {
                for (zt, zh, zw) in taps(kt, kh, kw) {
                    let weight = weights[(((oc * c_in + ic) * kt + zt) * kh + zh) * kw + zw];
                    let weight = self.value(f64::from(weight) * affine[oc].0);
                    for ot in 0..t {
                        let Some(it) = tap(ot, time.stride, zt, time.dilation, time.padding, t_in) else { continue };
                        let plane = source.plane(sample, group * c_in + ic, it);
                        for oh in 0..h {
                            let Some(ih) = tap(oh, step, zh, dilation[0], pad[0], h_in) else { continue };
                            let row = &plane[ih * w_in as usize..][..w_in as usize];
                            let out = &mut volume[((ot * h + oh) * w) as usize..][..w as usize];
                            for (ow, y) in out.iter_mut().enumerate() {
                                if let Some(iw) = tap(ow as u32, step, zw, dilation[1], pad[1], w_in) {
                                    *y += weight * row[iw];
                                }
                            }
                        }
                    }
                }
            }
        });
        Tensor { dims, data }
    }

    /// Adds the paths into an output, then shift, residual and activation.
    fn finish(
        &self,
        frequency: Frequency,
        dims: Dims,
        paths: &[Option<Tensor>; 2],
        residual: &Option<Tensor>,
    ) -> Tensor {
        let affine = self.weights.affine(self.spec, frequency);
        let volume = (dims.t * dims.h * dims.w) as usize;
        let activation = self.spec.activation();
        let data = (0..dims.elements() as usize)
            .map(|i| {
                let shift = self.value(affine[i / volume % dims.c as usize].1);
                let sum = paths.iter().chain([residual]).flatten().map(|path| path.data[i]).sum::<f64>() + shift;
                if self.absolute { sum } else { activation.apply(sum) }
            })
            .collect();
        Tensor { dims, data }
    }
}

fn taps(kt: usize, kh: usize, kw: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..kt).flat_map(move |t| (0..kh).flat_map(move |h| (0..kw).map(move |w| (t, h, w))))
}

/// Where tap `k` of output `o` reads, or `None` in the padding.
fn tap(o: u32, stride: u32, k: usize, dilation: u32, padding: u32, size: u32) -> Option<usize> {
    let at = i64::from(o) * i64::from(stride) + k as i64 * i64::from(dilation) - i64::from(padding);
    (0..i64::from(size)).contains(&at).then_some(at as usize)
}

/// The mean of every 2x2 block; at an odd edge with [`Rounding::Ceil`], of the elements that exist.
pub fn average_pool(x: &Tensor, rounding: Rounding) -> Tensor {
    let dims = x.dims.pooled(rounding);
    let (h_in, w_in) = (x.dims.h as usize, x.dims.w as usize);
    let (h, w) = (dims.h as usize, dims.w as usize);
    let mut data = vec![0.0; dims.elements() as usize];
    for (out, plane) in data.chunks_mut((h * w).max(1)).zip(x.data.chunks((h_in * w_in).max(1))) {
        for (i, y) in out.iter_mut().enumerate() {
            let (row, col) = (2 * (i / w), 2 * (i % w));
            let block = (row..(row + 2).min(h_in)).flat_map(|r| (col..(col + 2).min(w_in)).map(move |c| (r, c)));
            let (sum, count) = block.fold((0.0, 0.0), |(s, n), (r, c)| (s + plane[r * w_in + c], n + 1.0));
            *y = sum / count;
        }
    }
    Tensor { dims, data }
}

/// Nearest replication 2x2, cropped to `to`; a last odd row or column beyond the source takes its nearest neighbour.
fn replicate(x: &Tensor, to: Dims) -> Tensor {
    let (h_in, w_in) = (x.dims.h as usize, x.dims.w as usize);
    let (h, w) = (to.h as usize, to.w as usize);
    let mut data = vec![0.0; to.elements() as usize];
    for (out, plane) in data.chunks_mut(h * w).zip(x.data.chunks(h_in * w_in)) {
        for (i, y) in out.iter_mut().enumerate() {
            let (row, col) = ((i / w / 2).min(h_in - 1), (i % w / 2).min(w_in - 1));
            *y = plane[row * w_in + col];
        }
    }
    Tensor { dims: to, data }
}
