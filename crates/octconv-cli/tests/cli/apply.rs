//! `octconv apply`: files in, files out, and each mistake told in one line.

use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use crate::files::{Folder, Tensors, assert_close, fixture, fixtures, serialize};
use crate::run::{NO_ADAPTER, Outcome, json_of, octconv};

/// Absolute up to 1, relative beyond. Expected and found values are both rounded to f32.
const TOLERANCE: f32 = 1e-6;

#[test]
fn reference_gives_what_pytorch_gives() {
    let mut compared = 0;
    for fixture in fixtures() {
        let Some(spec) = fixture.cli_spec() else { continue };
        let folder = Folder::new(&spec, &fixture.inputs());
        let pooled = fixture.tensors.contains_key("y_p");
        let size = format!("--size={}x{}", fixture.spec["size"]["h"], fixture.spec["size"]["w"]);
        let outcome = folder.apply(&["--reference", &size], if pooled { &["--pooled-output"] } else { &[] });
        assert_eq!(outcome.error(), "ran on the CPU reference", "{}", fixture.name);
        assert_eq!(outcome.code, 0);
        assert_close(&folder.outputs(), &fixture.outputs(), TOLERANCE, &fixture.name);
        compared += 1;
    }
    // Two are left out: one whose two batch norms differ in their eps, and one with a batch norm on only one output.
    assert_eq!(compared, fixtures().len() - 2);
}

#[test]
fn outputs_have_the_rank_of_the_inputs() {
    let fixture = fixture("bias");
    let mut inputs = fixture.inputs();
    for (name, (shape, _)) in &mut inputs {
        if name.starts_with("x_") || name.starts_with("w_") {
            shape.insert(2, 1);
        }
    }
    let folder = Folder::new(&fixture.cli_spec().unwrap(), &inputs);
    assert_eq!(folder.apply(&["--reference"], &[]).code, 0);
    let mut expected = fixture.outputs();
    expected.remove("y_p");
    expected.values_mut().for_each(|(shape, _)| shape.insert(2, 1));
    assert_close(&folder.outputs(), &expected, TOLERANCE, "bias, as clips");
}

#[test]
fn a_pooled_input_stands_in_for_x_h() {
    let fixture = fixture("ceil_6x10_stride2");
    let mut inputs = fixture.inputs();
    let (shape, x_h) = inputs.remove("x_h").unwrap();
    let [planes, h, w] = [shape[0] * shape[1], shape[2], shape[3]];
    let at = |plane: usize, y: usize, x: usize| x_h[(plane * h + y) * w + x];
    let mut pooled = Vec::new();
    for (plane, y, x) in (0..planes * h / 2 * w / 2).map(|i| (i / (h / 2 * w / 2), i / (w / 2) % (h / 2), i % (w / 2)))
    {
        let (y, x) = (2 * y, 2 * x);
        pooled.push((at(plane, y, x) + at(plane, y, x + 1) + at(plane, y + 1, x) + at(plane, y + 1, x + 1)) / 4.0);
    }
    inputs.insert("x_p".into(), (vec![shape[0], shape[1], h / 2, w / 2], pooled));
    let folder = Folder::new(&fixture.cli_spec().unwrap(), &inputs);
    let outcome = folder.apply(&["--reference"], &["--pooled-output"]);
    assert_eq!((outcome.code, outcome.error()), (0, "ran on the CPU reference"));
    // The pooled input is rounded to f32.
    assert_close(&folder.outputs(), &fixture.outputs(), 4.0 * TOLERANCE, "pooled input");
}

#[test]
fn what_overflows_is_told() {
    let spec = json!({"input": {"channels": 1}, "channels": 1});
    let file = |x: f32| {
        Tensors::from([
            ("x_h".into(), (vec![1, 1, 1, 2], vec![1.0, x])),
            ("w_hh".into(), (vec![1, 1, 1, 1], vec![100.0])),
        ])
    };
    let folder = Folder::new(&spec, &file(1000.0));
    let outcome = folder.apply(&["--reference", "--dtype", "f16"], &[]);
    let message = "error: outputs overflow f16: infinite or NaN are 1 of y_h, though all inputs and weights are finite";
    assert_eq!((outcome.code, outcome.stderr.lines().last()), (1, Some(message)));
    assert_eq!(folder.apply(&["--reference"], &[]).code, 0);
    // What is not finite to begin with may stay so.
    assert_eq!(Folder::new(&spec, &file(f32::INFINITY)).apply(&["--reference"], &[]).code, 0);
    assert_eq!(folder.apply(&["--reference", "--fast", "--exact"], &[]).code, 2);
}

#[test]
fn device_and_reference_agree() {
    let has_f16 = json_of(&["info", "--json"])["adapters"][0]["features"]["shader_f16"] == true;
    for name in ["residual_norm_relu", "clip_stride2", "ends_100_to_50_stride2"] {
        let fixture = fixture(name);
        let folder = Folder::new(&fixture.cli_spec().unwrap(), &fixture.inputs());
        let mut runs = vec![(vec!["--variant", "fused/direct"], 1e-4), (vec!["--variant", "unfused/direct"], 1e-4)];
        if has_f16 {
            runs.push((vec!["--dtype", "f16"], 2e-2));
            runs.push((vec!["--dtype", "f16", "--sums", "f16", "--variant", "fused/direct-f16"], 4e-2));
        }
        for (flags, tolerance) in runs {
            let outcome = folder.apply(&flags, &["--pooled-output"]);
            assert_eq!(outcome.code, 0, "{name} {flags:?}: {}", outcome.stderr);
            assert!(
                outcome.error().starts_with("ran on ") && !outcome.error().contains("reference"),
                "{}",
                outcome.stderr
            );
            if let ["--variant", variant] = *flags {
                assert!(outcome.error().contains(&format!(": {variant}/")), "{}", outcome.stderr);
            }
            assert_close(&folder.outputs(), &fixture.outputs(), tolerance, &format!("{name} {flags:?}"));
        }
    }
}

#[test]
fn results_are_f16_where_asked_for() {
    let fixture = fixture("bias");
    let folder = Folder::new(&fixture.cli_spec().unwrap(), &fixture.inputs());
    assert_eq!(folder.apply(&["--reference", "--dtype", "f16"], &["--pooled-output"]).code, 0);
    let bytes = fs::read(folder.output()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert!(file.iter().all(|(_, view)| view.dtype() == Dtype::F16));
    assert_close(&folder.outputs(), &fixture.outputs(), 1e-2, "f16");

    // Outputs in f16 are legal inputs of another layer.
    let (shape, values) = folder.outputs().remove("y_h").unwrap();
    let channels = shape[1];
    let identity = Folder::new(&json!({"input": {"channels": channels}, "channels": channels}), &Tensors::new());
    let ones = (0..channels * channels).map(|i| if i % (channels + 1) == 0 { 1.0 } else { 0.0 }).collect();
    let w_hh = ("w_hh".into(), (vec![channels, channels, 1, 1], ones));
    let inputs = Tensors::from([w_hh, ("x_h".into(), (shape, values.clone()))]);
    fs::write(identity.input(), serialize(&inputs, Dtype::F16)).unwrap();
    assert_eq!(identity.apply(&["--reference"], &[]).code, 0);
    assert_eq!(identity.outputs()["y_h"].1, values);
}

#[test]
fn without_an_adapter_the_reference_runs() {
    let fixture = fixture("bias");
    let folder = Folder::new(&fixture.cli_spec().unwrap(), &fixture.inputs());
    let run = |flags: &[&str]| Outcome::of(folder.command(flags, &[]).env(NO_ADAPTER.0, NO_ADAPTER.1));

    let outcome = run(&[]);
    assert_eq!((outcome.code, outcome.error()), (0, "ran on the CPU reference (no GPU adapter found)"));
    fs::remove_file(folder.output()).unwrap();
    let outcome = run(&["--variant", "fused/direct"]);
    outcome.assert_refused("variant fused/direct needs a GPU, and no GPU adapter found");
    folder.assert_no_output();

    for command in ["info", "verify"] {
        let outcome = Outcome::of(octconv().arg(command).env(NO_ADAPTER.0, NO_ADAPTER.1));
        outcome.assert_refused("no GPU adapter found; install a Vulkan driver");
    }
}

#[test]
fn specifications_are_refused_in_a_line() {
    let fixture = fixture("bias");
    let spec = fixture.cli_spec().unwrap();
    let with = |field: &str, value: Value| {
        let mut spec = spec.clone();
        spec[field] = value;
        spec.to_string()
    };
    let without = |field: &str| {
        let mut spec = spec.clone();
        spec.as_object_mut().unwrap().remove(field);
        spec.to_string()
    };
    for (text, wanted) in [
        (String::new(), "spec.json: EOF while parsing"),
        ("{\n\"channels\": 3,\n}".into(), "spec.json: "),
        ("[3, 8]".into(), "spec.json: "),
        ("\u{0}".into(), "spec.json: "),
        (with("colour", json!("red")), "spec.json: unknown field `colour`"),
        (without("channels"), "spec.json: channels is missing"),
        (without("input"), "spec.json: input is missing"),
        (with("kernel", json!("3x3")), "spec.json: kernel is \"3x3\": must be [h, w]"),
        (with("alpha", json!(2)), "spec.json: alpha is 2: must be a number from 0 to 1"),
        (with("stride", json!(3)), "spec.json: stride is 3: must be 1 or 2"),
        (with("groups", json!(7)), "spec.json: groups is 7: must divide"),
        (with("padding", json!([9, 9])), "in.safetensors: the outputs disagree"),
        (with("dilation", json!([99, 99])), "in.safetensors: kernel is "),
    ] {
        let folder = Folder::new(&spec, &fixture.inputs());
        fs::write(folder.spec(), &text).unwrap();
        folder.apply(&[], &[]).assert_refused(wanted);
        folder.assert_no_output();
    }
    // Small files can ask for large outputs.
    let one = || (vec![1, 1, 1, 1], vec![1.0]);
    let pixel = Tensors::from([("x_h".into(), one()), ("w_hh".into(), one())]);
    let most = json!({"input": {"channels": 1}, "channels": 1, "padding": [(1 << 19) - 1, (1 << 19) - 1]});
    for flags in [&[][..], &["--reference"]] {
        let folder = Folder::new(&most, &pixel);
        folder.apply(flags, &[]).assert_refused("an output of 1x1x1048575x1048575 has more than");
        folder.assert_no_output();
    }

    let folder = Folder::new(&spec, &fixture.inputs());
    fs::write(folder.spec(), b"\xff\xfe").unwrap();
    folder.apply(&[], &[]).assert_refused("spec.json: it is not UTF-8");
    fs::remove_file(folder.spec()).unwrap();
    folder.apply(&[], &[]).assert_refused("spec.json: ");
    folder.assert_no_output();
}

#[test]
fn tensors_are_refused_in_a_line() {
    let fixture = fixture("bias");
    let given = fixture.inputs();
    let shape = |name: &str| given[name].0.clone();
    let reshaped = |name: &str, shape: Vec<usize>| {
        let mut tensors = given.clone();
        let values = vec![0.5; shape.iter().product()];
        tensors.insert(name.into(), (shape, values));
        tensors
    };
    let without = |names: &[&str]| {
        let mut tensors = given.clone();
        tensors.retain(|name, _| !names.contains(&name.as_str()));
        tensors
    };
    let mut wide = shape("w_hh");
    wide[3] += 1;
    let low = shape("x_l");
    for (tensors, wanted) in [
        (reshaped("w_hh", wide.clone()), format!("w_hh is {wide:?}, must be {:?}", shape("w_hh"))),
        (reshaped("w_hh", vec![1]), format!("w_hh is [1], must be {:?}", shape("w_hh"))),
        (without(&["w_hl"]), format!("w_hl {:?} is missing", shape("w_hl"))),
        (without(&["bias_l"]), format!("bias_l {:?} is missing", shape("bias_l"))),
        (without(&["x_h", "x_l"]), "x_h is missing; x_l is missing".into()),
        (without(&["x_l"]), format!("x_l {low:?} is missing")),
        (reshaped("x_h", vec![2, 2]), "x_h is [2, 2], must be [n, c, h, w] or [n, c, t, h, w]".into()),
        (reshaped("x_h", vec![1, 3, 0, 6]), "h is 0: must be 1 to".into()),
        (reshaped("x_h", Vec::new()), "x_h is [], must be [n, c, h, w]".into()),
        (reshaped("w_xx", vec![1, 2]), "w_xx [1, 2] is not one of the layer's".into()),
        (reshaped("two\nlines", vec![1]), "two lines [1] is not one of the layer's".into()),
        (reshaped("x_p", vec![1, 2]), "x_p is [1, 2], must be [".into()),
        (reshaped("residual_h", vec![1, 2]), "residual_h is [1, 2], must be [".into()),
        (reshaped("gamma_h", vec![1]), "beta_h [".into()),
    ] {
        let folder = Folder::new(&fixture.cli_spec().unwrap(), &tensors);
        folder.apply(&[], &[]).assert_refused(&wanted);
        folder.assert_no_output();
    }

    // --size must agree with x_h.
    let folder = Folder::new(&fixture.cli_spec().unwrap(), &given);
    folder.apply(&["--size", "5x7"], &[]).assert_refused("x_h is [");
    folder.assert_no_output();

    // All problems are told at once.
    let mut tensors = without(&["w_hl"]);
    tensors.insert("w_hh".into(), (wide.clone(), vec![0.0; wide.iter().product()]));
    tensors.insert("more".into(), (vec![1], vec![0.0]));
    let folder = Folder::new(&fixture.cli_spec().unwrap(), &tensors);
    let outcome = folder.apply(&[], &[]);
    for wanted in ["w_hh is ", "w_hl [", "more [1]"] {
        outcome.assert_refused(wanted);
    }
}

#[test]
fn damaged_files_are_refused_in_a_line() {
    let fixture = fixture("bias");
    let folder = Folder::new(&fixture.cli_spec().unwrap(), &fixture.inputs());
    let whole = fs::read(folder.input()).unwrap();
    let damage = [0, 1, 7, 8, 9, 100, whole.len() - 1].map(|length| whole[..length].to_vec());
    let grown = [whole.as_slice(), b"\0"].concat();
    let huge = [u64::MAX.to_le_bytes().as_slice(), &whole[8..]].concat();
    let empty = [2u64.to_le_bytes().as_slice(), b"{}"].concat();
    for bytes in damage.into_iter().chain([grown, huge, empty]) {
        fs::write(folder.input(), bytes).unwrap();
        folder.apply(&[], &[]).assert_refused("in.safetensors: ");
        folder.assert_no_output();
    }
    let integers = [("x_h", vec![1, 2, 4, 4], Dtype::I32)];
    let data = vec![0; 4 * 32];
    let views = integers.map(|(name, shape, dtype)| (name, TensorView::new(dtype, shape, &data).unwrap()));
    fs::write(folder.input(), safetensors::serialize(views, None).unwrap()).unwrap();
    let plain = json!({"input": {"channels": 2}, "channels": 2});
    fs::write(folder.spec(), plain.to_string()).unwrap();
    let outcome = folder.apply(&[], &[]);
    outcome.assert_refused("w_hh [2, 2, 1, 1] is missing");
    outcome.assert_refused("x_h is I32, must be F32 or F16");
    fs::remove_file(folder.input()).unwrap();
    folder.apply(&[], &[]).assert_refused("in.safetensors: ");
    folder.assert_no_output();
}

#[test]
fn outputs_are_whole_or_not_there() {
    let fixture = fixture("bias");
    let folder = Folder::new(&fixture.cli_spec().unwrap(), &fixture.inputs());
    let into = |output: &Path| {
        Outcome::of(octconv().arg("apply").args([folder.spec(), folder.input()]).arg(output).arg("--reference"))
    };
    into(&folder.path("nowhere/out.safetensors")).assert_refused("there is no folder");
    into(folder.folder.path()).assert_refused("it is a folder");
    folder.assert_no_output();

    // A failure leaves the file that was there. A success replaces it.
    let bytes = fs::read(folder.input()).unwrap();
    fs::write(folder.output(), &bytes).unwrap();
    fs::write(folder.input(), "").unwrap();
    into(&folder.output()).assert_refused("in.safetensors: ");
    assert_eq!(fs::read(folder.output()).unwrap(), bytes);
    fs::write(folder.input(), bytes).unwrap();
    assert_eq!(into(&folder.output()).code, 0);
    assert!(folder.outputs().contains_key("y_h"));
    assert_eq!(fs::read_dir(folder.folder.path()).unwrap().count(), 3);
}
