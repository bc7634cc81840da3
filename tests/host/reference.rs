//! The CPU reference against PyTorch's own operators: the files that `tests/make_fixtures.py` writes.

use std::collections::BTreeMap;
use std::fs;
use std::mem::discriminant;
use std::path::PathBuf;

use octconv::reference::{Inputs, Tensor, octave_conv};
use octconv::{Activation, BatchNorm, Dims, Downsample, InputSize, Path, Rounding, Spec, Split, TimeAxis, Weights};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

/// The fixtures are at least this many.
const CASES: usize = 86;

/// Absolute up to 1, relative beyond. The expected values are rounded to f32, which alone takes 6e-8.
const TOLERANCE: f64 = 1e-6;

#[test]
fn agrees_with_pytorch() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reference");
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort();
    assert!(files.len() >= CASES, "{} fixtures in {}", files.len(), folder.display());

    let cases: Vec<Case> = files.iter().map(Case::read).collect();
    for activation in Activation::all() {
        let same = |case: &Case| discriminant(&case.activation()) == discriminant(&activation);
        assert!(cases.iter().any(same), "no fixture has {activation:?}");
    }
    let failures: Vec<String> = cases.iter().flat_map(Case::failures).collect();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// A fixture.
struct Case {
    name: String,
    spec: Value,
    tensors: BTreeMap<String, (Vec<u32>, Vec<f32>)>,
}

impl Case {
    fn read(file: &PathBuf) -> Self {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(file).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let spec = &metadata.metadata().as_ref().unwrap_or_else(|| panic!("{name}: no metadata"))["spec"];
        let spec = serde_json::from_str(spec).unwrap_or_else(|e| panic!("{name}: {e}"));
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = tensors.iter().map(|(tensor, view)| {
            assert_eq!(view.dtype(), Dtype::F32, "{name}: {tensor}");
            let shape = view.shape().iter().map(|&d| d as u32).collect();
            let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            (tensor.to_string(), (shape, data))
        });
        Self { spec, tensors: tensors.collect(), name }
    }

    fn uint(&self, pointer: &str) -> u32 {
        let value = self.spec.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("{}: {pointer} in {}", self.name, self.spec)) as u32
    }

    fn pair(&self, key: &str) -> [u32; 2] {
        [self.uint(&format!("/{key}/0")), self.uint(&format!("/{key}/1"))]
    }

    fn flag(&self, key: &str) -> bool {
        self.spec[key].as_bool().unwrap_or_else(|| panic!("{}: {key} in {}", self.name, self.spec))
    }

    fn float(&self, key: &str) -> f32 {
        self.spec[key].as_f64().unwrap_or_else(|| panic!("{}: {key} in {}", self.name, self.spec)) as f32
    }

    fn build(&self) -> (Spec, InputSize) {
        let input = Split { high: self.uint("/in_high"), low: self.uint("/in_low") };
        let output = Split { high: self.uint("/out_high"), low: self.uint("/out_low") };
        let builder = Spec::builder(input.channels(), output.channels())
            .split(input, output)
            .kernel(self.pair("kernel"))
            .stride(self.uint("/stride"))
            .padding(self.pair("padding"))
            .dilation(self.pair("dilation"))
            .time(TimeAxis {
                kernel: self.uint("/time/kernel"),
                stride: self.uint("/time/stride"),
                padding: self.uint("/time/padding"),
                dilation: self.uint("/time/dilation"),
            })
            .high_to_low(self.flag("high_to_low"))
            .low_to_high(self.flag("low_to_high"))
            .downsample(match self.spec["downsample"].as_str() {
                Some("average_pool") => Downsample::AveragePool,
                Some("strided_conv") => Downsample::StridedConv,
                other => panic!("{}: downsample {other:?}", self.name),
            })
            .rounding(match self.spec["rounding"].as_str() {
                Some("ceil") => Rounding::Ceil,
                Some("floor") => Rounding::Floor,
                other => panic!("{}: rounding {other:?}", self.name),
            })
            .bias(self.flag("bias"))
            .activation(self.activation())
            .residual(self.flag("residual_h"), self.flag("residual_l"));
        let builder = match self.spec["groups"].as_str() {
            Some("depthwise") => builder.depthwise(),
            _ => builder.groups(self.uint("/groups")),
        };
        let spec = builder.build().unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let [n, t, h, w] = ["n", "t", "h", "w"].map(|axis| self.uint(&format!("/size/{axis}")));
        (spec, InputSize { n, t, h, w })
    }

    fn activation(&self) -> Activation {
        let mut activation = self.spec["activation"].clone();
        if !self.spec["slope"].is_null() {
            activation = json!({activation.as_str().unwrap(): {"slope": self.spec["slope"]}});
        }
        serde_json::from_value(activation).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    fn data(&self, tensor: &str) -> Option<&[f32]> {
        self.tensors.get(tensor).map(|(_, data)| data.as_slice())
    }

    fn norm(&self, band: &str) -> Option<BatchNorm<'_>> {
        let get = |tensor: &str| self.data(&format!("{tensor}_{band}"));
        Some(BatchNorm {
            gamma: get("gamma")?,
            beta: get("beta")?,
            mean: get("mean")?,
            var: get("var")?,
            eps: self.float(&format!("eps_{band}")),
        })
    }

    /// Every disagreement of the crate with the file, each with the case's name.
    fn failures(&self) -> Vec<String> {
        let (spec, size) = self.build();
        let mut failures = Vec::new();
        let mut expect = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                failures.push(format!("{}: {what} is {ours}, PyTorch's is {theirs}", self.name));
            }
        };

        // Shapes and costs.
        let shapes = match spec.shapes(size) {
            Ok(shapes) => shapes,
            Err(e) => return vec![format!("{}: {e}", self.name)],
        };
        let maps = [
            ("x_h", shapes.x_h),
            ("x_l", shapes.x_l),
            ("y_h", shapes.y_h),
            ("y_l", shapes.y_l),
            ("y_p", shapes.y_p),
            ("residual_h", shapes.y_h.filter(|_| self.flag("residual_h"))),
            ("residual_l", shapes.y_l.filter(|_| self.flag("residual_l"))),
        ];
        for (tensor, dims) in maps {
            let theirs = self.tensors.get(tensor).map(|(shape, _)| dims_of(shape));
            expect(&format!("the shape of {tensor}"), format!("{dims:?}"), format!("{theirs:?}"));
        }
        for path in Path::ALL {
            let [n, c, t, h, w] = spec.weight_shape(path);
            let ours = spec.has(path).then_some(Dims { n, c, t, h, w });
            let theirs = self.tensors.get(path.weight_name()).map(|(shape, _)| dims_of(shape));
            expect(&format!("the shape of {}", path.weight_name()), format!("{ours:?}"), format!("{theirs:?}"));
        }
        let cost = spec.cost(size).unwrap();
        expect("macs", cost.macs.to_string(), self.spec["macs"].to_string());
        expect("params", cost.params.to_string(), self.spec["params"].to_string());

        // Outputs.
        let weights = Weights {
            w_hh: self.data("w_hh"),
            w_hl: self.data("w_hl"),
            w_lh: self.data("w_lh"),
            w_ll: self.data("w_ll"),
            bias_h: self.data("bias_h"),
            bias_l: self.data("bias_l"),
            norm_h: self.norm("h"),
            norm_l: self.norm("l"),
        };
        // X_H or X_L must not be given if no path reads it, because an exchange is switched off.
        let inputs = Inputs {
            x_h: self.data("x_h").filter(|_| spec.reads(octconv::Frequency::High)),
            x_l: self.data("x_l").filter(|_| spec.reads(octconv::Frequency::Low)),
            x_p: None,
            residual_h: self.data("residual_h"),
            residual_l: self.data("residual_l"),
        };
        let outputs = match octave_conv(&spec, size, &weights, &inputs) {
            Ok(outputs) => outputs,
            Err(e) => return vec![format!("{}: {e}", self.name)],
        };
        for (tensor, ours) in [("y_h", &outputs.y_h), ("y_l", &outputs.y_l), ("y_p", &outputs.y_p)] {
            match (ours, self.tensors.get(tensor)) {
                (None, None) => {}
                (Some(_), None) => failures.push(format!("{}: {tensor} is unexpected", self.name)),
                (None, Some(_)) => failures.push(format!("{}: {tensor} is missing", self.name)),
                (Some(ours), Some((shape, theirs))) => failures
                    .extend(disagreement(ours, dims_of(shape), theirs).map(|d| format!("{}: {tensor} {d}", self.name))),
            }
        }
        failures
    }
}

/// The shape of a tensor in a file, NCHW or NCTHW.
fn dims_of(shape: &[u32]) -> Dims {
    match *shape {
        [n, c, h, w] => Dims { n, c, t: 1, h, w },
        [n, c, t, h, w] => Dims { n, c, t, h, w },
        _ => panic!("shape {shape:?}"),
    }
}

/// The element of a tensor that is furthest off, if that is too far.
fn disagreement(ours: &Tensor, shape: Dims, theirs: &[f32]) -> Option<String> {
    if ours.dims != shape || ours.data.len() != theirs.len() {
        return Some(format!("is {} with {} elements, PyTorch's is {shape}", ours.dims, ours.data.len()));
    }
    let error = |i: usize| {
        let error = (ours.data[i] - f64::from(theirs[i])).abs() / f64::from(theirs[i].abs()).max(1.0);
        if error.is_nan() { f64::INFINITY } else { error }
    };
    let worst = (0..theirs.len()).max_by(|&a, &b| error(a).total_cmp(&error(b)))?;
    let off = (0..theirs.len()).filter(|&i| error(i) > TOLERANCE).count();
    (off > 0).then(|| {
        let Dims { c, t, h, w, .. } = shape;
        let mut rest = worst;
        let [x, y, frame, channel] = [w, h, t, c].map(|size| {
            let at = rest % size as usize;
            rest /= size as usize;
            at
        });
        format!(
            "has {off} of {} elements off; the worst, at sample {rest}, channel {channel}, frame {frame}, row {y}, \
             column {x}, is {} where PyTorch's is {} (error {:.1e})",
            theirs.len(),
            ours.data[worst],
            theirs[worst],
            error(worst)
        )
    })
}
