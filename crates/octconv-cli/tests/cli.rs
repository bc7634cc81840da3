//! The command line as its users run it: files in, files and lines out.

use std::collections::BTreeMap;
use std::env::{self, consts};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Absolute up to 1, relative beyond. Expected and found values were each rounded to f32.
const TOLERANCE: f32 = 1e-6;

/// What wgpu finds no adapter for.
const NO_ADAPTER: (&str, &str) = ("WGPU_BACKEND", "noop");

/// Names, shapes and values.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

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
    // All but one whose two batch norms differ in their eps, and one with a batch norm on one output alone.
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
    // The mean has been rounded to f32 on its way.
    assert_close(&folder.outputs(), &fixture.outputs(), 4.0 * TOLERANCE, "pooled input");
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

    // Its own outputs in f16 are legal inputs of another layer.
    let (shape, values) = folder.outputs().remove("y_h").unwrap();
    let channels = shape[1];
    let identity = Folder::new(&json!({"in_channels": channels, "out_channels": channels}), &Tensors::new());
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

    for subcommand in ["info", "verify"] {
        let outcome = Outcome::of(octconv().arg(subcommand).env(NO_ADAPTER.0, NO_ADAPTER.1));
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
        ("{\n\"in_channels\": 3,\n}".into(), "spec.json: "),
        ("[3, 8]".into(), "spec.json: "),
        ("\u{0}".into(), "spec.json: "),
        (with("colour", json!("red")), "spec.json: unknown field `colour`"),
        (without("in_channels"), "spec.json: in_channels is missing"),
        (with("kernel", json!("3x3")), "spec.json: kernel is \"3x3\": must be [h, w]"),
        (with("alpha_in", json!(2)), "spec.json: alpha_in is 2: must be a number from 0 to 1"),
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
    let most = json!({"in_channels": 1, "out_channels": 1, "padding": [1 << 20, 1 << 20]});
    for flags in [&[][..], &["--reference"]] {
        let folder = Folder::new(&most, &pixel);
        folder.apply(flags, &[]).assert_refused("an output of 1x1x2097153x2097153 has more than");
        folder.assert_no_output();
    }

    let folder = Folder::new(&spec, &fixture.inputs());
    fs::write(folder.spec(), b"\xff\xfe").unwrap();
    folder.apply(&[], &[]).assert_refused("spec.json: stream did not contain valid UTF-8");
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

    // Twice the size of x_l is not this x_h's.
    let folder = Folder::new(&fixture.cli_spec().unwrap(), &given);
    folder.apply(&["--size", "5x7"], &[]).assert_refused("x_h is [");
    folder.assert_no_output();

    // All at once.
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
    let plain = json!({"in_channels": 2, "out_channels": 2});
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

    // A failure leaves what was there; a success replaces it.
    fs::write(folder.output(), "before").unwrap();
    let bytes = fs::read(folder.input()).unwrap();
    fs::write(folder.input(), "").unwrap();
    into(&folder.output()).assert_refused("in.safetensors: ");
    assert_eq!(fs::read(folder.output()).unwrap(), b"before");
    fs::write(folder.input(), bytes).unwrap();
    assert_eq!(into(&folder.output()).code, 0);
    assert!(folder.outputs().contains_key("y_h"));
    assert_eq!(fs::read_dir(folder.folder.path()).unwrap().count(), 3);
}

#[test]
fn costs_are_counted() {
    let spec = json!({
        "in_channels": 64, "out_channels": 64, "alpha_in": 0.5, "alpha_out": 0.5, "kernel": [3, 3], "padding": "same"
    });
    let folder = Folder::new(&spec, &Tensors::new());
    let spec = folder.spec();
    let spec = spec.to_str().unwrap();
    let cost = |flags: &[&str]| json_of(&[&["cost", spec, "--json"], flags].concat());

    let at_56 = cost(&["--size", "56x56"]);
    let (weights, pixels) = (64 * 64 * 9_u64, 56 * 56);
    // 1 - 3/4 * alpha * (2 - alpha) of the multiply-adds, 1 - 3/4 * alpha of the activations.
    let (macs, activations) = (weights * pixels, 2 * 64 * pixels);
    let plain = &at_56["plain"];
    assert_eq!((&plain["macs"], &plain["params"]), (&json!(macs), &json!(weights)));
    assert_eq!(
        (&plain["activations"], &plain["min_bytes"]),
        (&json!(activations), &json!(4 * (activations + weights)))
    );
    let octave = &at_56["octave"];
    assert_eq!((&octave["macs"], &octave["params"]), (&json!(macs * 7 / 16), &json!(weights)));
    assert_eq!(octave["activations"], json!(activations * 5 / 8));
    assert_eq!(octave["min_bytes"], json!(4 * (activations * 5 / 8 + weights)));
    assert_eq!((&at_56["ratios"]["macs"], &at_56["ratios"]["activations"]), (&json!(0.4375), &json!(0.625)));

    let more = cost(&["--size", "56x56", "--batch", "2", "--frames", "3", "--dtype", "f16", "--bias", "--residual"]);
    assert_eq!(more["octave"]["macs"], json!(6 * macs * 7 / 16));
    assert_eq!(more["octave"]["params"], json!(weights + 64));
    assert_eq!(more["octave"]["min_bytes"], json!(2 * (6 * activations * 15 / 16 + weights + 64)));

    let table = Outcome::of(octconv().args(["cost", spec, "--size", "56x56"]));
    assert_eq!(table.code, 0);
    assert!(table.stdout.contains("50,577,408"), "{}", table.stdout);
    for (size, wanted) in [("0x5", "h is 0: must be 1 to"), ("9999999x5", "h is 9999999: must be 1 to")] {
        Outcome::of(octconv().args(["cost", spec, "--size", size])).assert_refused(wanted);
    }
    let huge = ["--size", "1048576x1048576", "--batch", "1048576", "--frames", "1048576"];
    Outcome::of(octconv().args(["cost", spec]).args(huge)).assert_refused("exceed 64 bits");
    assert_eq!(Outcome::of(octconv().args(["cost", spec, "--size", "56x"])).code, 2);
}

#[test]
fn verify_reports_what_ran() {
    let report = json_of(&["verify", "--cases", "3", "--seed", "5", "--json"]);
    assert_eq!((&report["cases"], &report["seed"], &report["failures"]), (&json!(3), &json!(5), &json!([])));
    let ran: u64 = report["variants"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(ran, 3);
    let worst = report["worst"]["fraction_of_bound"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&worst), "{worst}");
    assert!((5..8).contains(&report["worst"]["seed"].as_u64().unwrap()));

    let lines = Outcome::of(octconv().args(["verify", "--cases", "1", "--default-device"]));
    assert_eq!((lines.code, lines.stderr.as_str()), (0, ""));
    assert!(lines.stdout.ends_with("all agree with the reference\n"), "{}", lines.stdout);

    let lines = Outcome::of(octconv().args(["verify", "--cases", "2", "--as-gpu"]));
    assert_eq!((lines.code, lines.stderr.as_str()), (0, ""));
    assert!(lines.stdout.lines().next().unwrap().ends_with(", with what GPUs run"), "{}", lines.stdout);
}

#[test]
fn info_lists_adapters_and_choices() {
    let report = json_of(&["info", "--json"]);
    for adapter in report["adapters"].as_array().unwrap() {
        assert!(adapter["name"].is_string() && adapter["limits"]["max_buffer_size"].as_u64().unwrap() > 0);
        let layers = adapter["layers"].as_array().unwrap();
        assert!(layers.len() >= 7);
        for layer in layers {
            assert!(layer["variant"].is_string() != layer["refused"].is_string(), "{layer}");
        }
    }
    let lines = Outcome::of(octconv().arg("info"));
    assert_eq!((lines.code, lines.stderr.as_str()), (0, ""));
    assert!(lines.stdout.contains("max_storage_buffer_binding_size"), "{}", lines.stdout);
}

#[test]
fn the_roofline_is_measured() {
    let roofline = json_of(&["roofline", "--json", "-"]);
    let positive = |value: &Value| assert!(value.as_f64().is_some_and(|v| v > 0.0 && v.is_finite()), "{roofline}");
    let arithmetic = roofline["arithmetic"].as_array().unwrap();
    assert_eq!((&arithmetic[0]["factors"], &arithmetic[0]["matrix"]), (&json!("f32"), &Value::Null));
    arithmetic.iter().for_each(|arithmetic| positive(&arithmetic["gflops"]));
    for number in [&roofline["read"]["gb_per_s"], &roofline["copy"]["gb_per_s"], &roofline["launch_us"]] {
        positive(number);
    }
    let adapter = &json_of(&["info", "--json"])["adapters"][0];
    assert!(roofline["device"].as_str().unwrap().contains(adapter["name"].as_str().unwrap()), "{roofline}");
    let halves = arithmetic.iter().any(|a| a["factors"] == "f16" && a["matrix"].is_null());
    assert_eq!(halves, adapter["features"]["shader_f16"] == true);
}

#[test]
fn rooflines_are_refused_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    Outcome::of(octconv().arg("roofline").env(NO_ADAPTER.0, NO_ADAPTER.1)).assert_refused("no GPU adapter");
    let nowhere = folder.path().join("nowhere/roofline.json");
    Outcome::of(octconv().args(["roofline", "--json"]).arg(&nowhere)).assert_refused("nowhere");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Two small layers to be timed, one after the other.
fn layers(folder: &TempDir) -> PathBuf {
    let layer = |name: &str, k: u32| json!({"name": name, "n": 1, "cin": 8, "cout": 8, "k": k, "stride": 1, "alpha_in": 0.5, "alpha_out": 0.5, "h": 8, "w": 8});
    let path = folder.path().join("layers.json");
    fs::write(&path, json!([layer("one by one", 1), layer("three <by> three", 3)]).to_string()).unwrap();
    path
}

#[test]
fn layers_are_timed_bounded_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("plot.svg");
    let bench = |flags: &[&str]| {
        let mut command = octconv();
        command.args(["bench", "--rounds", "2", "--json", "-", "--layers"]).arg(layers(&folder)).args(flags);
        let outcome = Outcome::of(&mut command);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let rows = bench(&["--plot", plot.to_str().unwrap()]);
    assert_eq!(rows.len(), 2);
    for row in &rows {
        let number = |name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{name} in {row}"));
        let percent = 100.0 * number("bound_ms") / number("ms");
        assert!(percent > 0.0 && (number("roofline_percent") / percent - 1.0).abs() < 1e-9, "{row}");
        assert!(["arithmetic", "memory", "launch"].contains(&row["bound"].as_str().unwrap()), "{row}");
        assert!(number("plain_ms") > 0.0);
    }
    let svg = fs::read_to_string(&plot).unwrap();
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
    let device = &json_of(&["info", "--json"])["adapters"][0]["name"];
    for text in ["one by one", "three &lt;by&gt; three", "milliseconds", device.as_str().unwrap()] {
        assert!(svg.contains(text), "{text} is not in {svg}");
    }

    let without = bench(&["--no-roofline"]);
    assert!(without.iter().all(|row| row["bound"].is_null() && row["roofline_percent"].is_null()), "{without:?}");
}

#[test]
fn plots_are_refused_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = layers(&folder);
    for target in [folder.path().join("nowhere/plot.svg"), folder.path().to_owned()] {
        for of in [vec!["--layers", file.to_str().unwrap()], vec!["cifar-resnet20"]] {
            let outcome = Outcome::of(octconv().arg("bench").args(of).arg("--plot").arg(&target));
            outcome.assert_refused(target.to_str().unwrap());
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = Folder::new(&json!({"in_channels": 2, "out_channels": 2}), &Tensors::new());
    let spec = folder.spec();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = octconv();
    command.arg("cost").arg(spec).args(["--size", "8x8"]).stdout(writer);
    let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

/// The program, under the runner that cargo has for this target, if any: it may be what brings the device.
fn octconv() -> Command {
    let mut command = bare_octconv();
    // Nothing out of the user's cache, and nothing into it.
    command.env("OCTCONV_CACHE", "");
    if env::var_os("XDG_RUNTIME_DIR").is_none() {
        // Without it Mesa's device selection complains of its own on standard error, whatever the program does.
        command.env("XDG_RUNTIME_DIR", env::temp_dir());
    }
    command
}

fn bare_octconv() -> Command {
    let program = env!("CARGO_BIN_EXE_octconv");
    let (target, os) = (format!("CARGO_TARGET_{}_", consts::ARCH.to_uppercase()), consts::OS.to_uppercase());
    let is_runner = |name: &str| name.starts_with(&target) && name.contains(&os) && name.ends_with("_RUNNER");
    let runner = env::vars().find(|(name, _)| is_runner(name)).map(|(_, runner)| runner);
    match runner.as_deref().map(|runner| runner.split_whitespace().collect::<Vec<_>>()).as_deref() {
        Some([runner, arguments @ ..]) => {
            let mut command = Command::new(runner);
            command.args(arguments).arg(program);
            command
        }
        _ => Command::new(program),
    }
}

/// What a run of the program came to.
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code().expect("ended by a signal"), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Its one line on standard error.
    fn error(&self) -> &str {
        let line = self.stderr.strip_suffix('\n').unwrap_or(&self.stderr);
        assert!(!line.is_empty() && !line.contains('\n'), "not one line: {:?}", self.stderr);
        line
    }

    fn assert_refused(&self, wanted: &str) {
        let line = self.error();
        assert!(line.starts_with("error: ") && line.contains(wanted), "{line}\nshould have: {wanted}");
        assert_eq!((self.code, self.stdout.as_str()), (1, ""));
    }
}

fn json_of(arguments: &[&str]) -> Value {
    let outcome = Outcome::of(octconv().args(arguments));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{arguments:?}");
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", outcome.stdout))
}

/// A folder with spec.json and in.safetensors.
struct Folder {
    folder: TempDir,
}

impl Folder {
    fn new(spec: &Value, tensors: &Tensors) -> Self {
        let folder = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(folder.spec(), spec.to_string()).unwrap();
        fs::write(folder.input(), serialize(tensors, Dtype::F32)).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spec(&self) -> PathBuf {
        self.path("spec.json")
    }

    fn input(&self) -> PathBuf {
        self.path("in.safetensors")
    }

    fn output(&self) -> PathBuf {
        self.path("out.safetensors")
    }

    fn command(&self, flags: &[&str], more: &[&str]) -> Command {
        let mut command = octconv();
        command.arg("apply").args([self.spec(), self.input(), self.output()]).args(flags).args(more);
        command
    }

    fn apply(&self, flags: &[&str], more: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(flags, more))
    }

    fn outputs(&self) -> Tensors {
        read(&fs::read(self.output()).unwrap())
    }

    fn assert_no_output(&self) {
        let names = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let others: Vec<_> = names.filter(|name| name != "spec.json" && name != "in.safetensors").collect();
        assert!(others.is_empty(), "{others:?} left behind");
    }
}

/// A layer out of the reference's fixtures.
struct Fixture {
    name: String,
    spec: Value,
    tensors: Tensors,
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reference");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).map(|path| Fixture::read(&path)).collect()
}

fn fixture(name: &str) -> Fixture {
    Fixture::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/reference/{name}.safetensors")))
}

impl Fixture {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let spec = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["spec"]).unwrap();
        Self { name: path.file_stem().unwrap().to_string_lossy().into_owned(), spec, tensors: read(&bytes) }
    }

    /// The specification as the command line spells it, where it can.
    fn cli_spec(&self) -> Option<Value> {
        let field = |name: &str| self.spec[name].clone();
        let count = |name: &str| self.spec[name].as_u64().unwrap();
        let eps = [field("eps_h"), field("eps_l")];
        let [eps, other] = eps;
        if eps != other {
            return None;
        }
        let mut spec = json!({
            "in_channels": count("in_high") + count("in_low"),
            "low_in_channels": count("in_low"),
            "out_channels": count("out_high") + count("out_low"),
            "low_out_channels": count("out_low"),
            "kernel": field("kernel"),
            "stride": field("stride"),
            "padding": field("padding"),
            "dilation": field("dilation"),
            "high_to_low": field("high_to_low"),
            "low_to_high": field("low_to_high"),
            "downsample": if field("downsample") == "average_pool" { "average" } else { "strided" },
            "rounding": field("rounding"),
            "activation": field("activation"),
        });
        for (name, value) in [("slope", field("slope")), ("eps", eps)] {
            if !value.is_null() {
                spec[name] = value;
            }
        }
        match field("groups") {
            Value::String(_) => spec["depthwise"] = json!(true),
            groups => (spec["groups"], spec["depthwise"]) = (groups, json!(false)),
        }
        let time = field("time");
        if time != json!({"kernel": 1, "stride": 1, "padding": 0, "dilation": 1}) {
            for name in ["kernel", "padding", "dilation"] {
                spec[name].as_array_mut().unwrap().insert(0, time[name].clone());
            }
            spec["stride"] = json!([time["stride"], spec["stride"]]);
        }
        Some(spec)
    }

    fn part(&self, of_outputs: bool) -> Tensors {
        let tensors = self.tensors.clone().into_iter();
        tensors.filter(|(name, _)| name.starts_with("y_") == of_outputs).collect()
    }

    fn inputs(&self) -> Tensors {
        self.part(false)
    }

    fn outputs(&self) -> Tensors {
        self.part(true)
    }
}

fn read(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let tensors = file.iter().map(|(name, view)| {
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|&v| f32::from_le_bytes(v)).collect(),
            Dtype::F16 => data.as_chunks().0.iter().map(|&v| half::f16::from_le_bytes(v).to_f32()).collect(),
            dtype => panic!("{name} is {dtype}"),
        };
        (name.to_string(), (view.shape().to_vec(), values))
    });
    tensors.collect()
}

fn serialize(tensors: &Tensors, dtype: Dtype) -> Vec<u8> {
    let bytes = |&v: &f32| match dtype {
        Dtype::F16 => half::f16::from_f32(v).to_le_bytes().to_vec(),
        _ => v.to_le_bytes().to_vec(),
    };
    let data: BTreeMap<&String, Vec<u8>> =
        tensors.iter().map(|(name, (_, values))| (name, values.iter().flat_map(bytes).collect())).collect();
    let view = |(name, (shape, _)): (&String, &(Vec<usize>, Vec<f32>))| {
        (name.clone(), TensorView::new(dtype, shape.clone(), &data[name]).unwrap())
    };
    safetensors::serialize(tensors.iter().map(view), None).unwrap()
}

fn assert_close(found: &Tensors, expected: &Tensors, tolerance: f32, what: &str) {
    let shapes = |tensors: &Tensors| -> Vec<(String, Vec<usize>)> {
        tensors.iter().map(|(name, (shape, _))| (name.clone(), shape.clone())).collect()
    };
    assert_eq!(shapes(found), shapes(expected), "{what}");
    for (name, (_, values)) in found {
        for (i, (a, b)) in values.iter().zip(&expected[name].1).enumerate() {
            assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{what}: {name} is {a} at {i}, must be {b}");
        }
    }
}
