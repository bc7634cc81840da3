//! Weights of other frameworks: converted, and used as they are.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::files::{self, Tensors};
use crate::run::{Outcome, json_of, refused};

/// A file that octconv-import is tested with.
fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../octconv-import/tests/fixtures").join(name);
    path.to_str().unwrap().into()
}

fn tensors(path: impl AsRef<Path>) -> Tensors {
    files::read(&fs::read(path).unwrap())
}

/// A folder for what is written.
struct Out(TempDir);

impl Out {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("out.safetensors")
    }

    fn convert(&self, input: &str, flags: &[&str]) -> Outcome {
        let input = fixture(input);
        let path = self.path();
        Outcome::with(&[&["convert", &input, path.to_str().unwrap()], flags].concat())
    }
}

#[test]
fn files_become_safetensors() {
    for (input, expected, told) in [
        ("pytorch/plain.pth", "pytorch/plain", "PyTorch (ZIP): 2 tensors, 6 values\n"),
        (
            "pytorch/in_model_state_dict.pth",
            "pytorch/plain",
            "PyTorch (ZIP), in model_state_dict: 2 tensors, 6 values\n",
        ),
        (
            "pytorch/beside_numbers.pth",
            "pytorch/plain",
            "PyTorch (ZIP): 2 tensors, 6 values\nleft out: epoch (a number), best (the class or function \
             torch.nn.modules.linear.Identity)\n",
        ),
        ("pytorch/legacy_views.pth", "pytorch/legacy_views", "PyTorch (legacy): 9 tensors, 83 values\n"),
        ("mxnet/v2.params", "mxnet/v2", "MXNet (.params): 2 tensors, 7 values\n"),
        ("numpy/types.npz", "numpy/types", "NumPy (.npz): 16 tensors, 48 values\n"),
        ("mxnet/v2.safetensors", "mxnet/v2", "safetensors: 2 tensors, 7 values\n"),
    ] {
        let out = Out::new();
        assert_eq!(out.convert(input, &[]).succeeded(), told, "{input}");
        assert_eq!(tensors(out.path()), tensors(fixture(&format!("{expected}.safetensors"))), "{input}");
    }
    // Prefixes that all names have.
    let out = Out::new();
    out.convert("pytorch/colours.pth", &[]).succeeded();
    assert_eq!(tensors(out.path()).keys().collect::<Vec<_>>(), ["fc.weight"]);
}

#[test]
fn networks_get_their_own_names() {
    let network = fixture("networks/plain.json");
    let own = tensors(fixture("networks/plain.safetensors"));
    let out = Out::new();
    let told = out.convert("networks/plain.gluon.params", &["--network", &network]).succeeded();
    assert_eq!(told, "MXNet (.params): 124 tensors of small, 1,446 values\n");
    assert_eq!(tensors(out.path()), own);
    // Symbol's networks add 1e-4 to variances, this one 1e-5.
    out.convert("networks/plain.symbol.params", &["--network", &network]).succeeded();
    for (name, (_, values)) in tensors(out.path()) {
        let shift = if name.ends_with(".var") { 9e-5 } else { 0.0 };
        for (found, own) in values.iter().zip(&own[&name].1) {
            assert!((f64::from(*found) - f64::from(*own) - shift).abs() < 2e-7, "{name}: {found} {own}");
        }
    }
    // A command may say what a file's network adds.
    out.convert("networks/plain.symbol.params", &["--network", &network, "--eps", "1e-3"]).succeeded();
    let var = &tensors(out.path())["conv1.norm_h.var"].1[0];
    assert!((f64::from(*var) - f64::from(own["conv1.norm_h.var"].1[0]) - 99e-5).abs() < 2e-7, "{var}");
    let refusal = out.convert("networks/plain.symbol.params", &["--network", &network, "--eps", "2"]);
    refusal.assert_refused("eps is 2: must be in [0, 1)");
}

#[test]
fn names_are_changed_and_left_out() {
    let out = Out::new();
    let flags = ["--ignore", "bias$", "--rename", r"^fc\.(.*)$=classifier.$1", "--rename", "weight=w=kernel"];
    out.convert("pytorch/plain.pth", &flags).succeeded();
    assert_eq!(tensors(out.path()).keys().collect::<Vec<_>>(), ["classifier.weight"]);
    out.convert("pytorch/plain.pth", &["--rename", r"fc\.=x/"]).succeeded();
    assert_eq!(tensors(out.path()).keys().collect::<Vec<_>>(), ["x/bias", "x/weight"]);
    out.convert("pytorch/plain.pth", &["--rename", "bias|weight=x"])
        .assert_refused("plain.pth: --rename gives fc.bias and fc.weight the same name, fc.x");
    out.convert("pytorch/plain.pth", &["--ignore", "."]).assert_refused("plain.pth: --ignore leaves no tensor");
    for flags in [["--ignore", "("], ["--rename", "no"], ["--rename", "(=x"], ["--eps", "0.1"], ["--eps", "x"]] {
        assert_eq!(out.convert("pytorch/plain.pth", &flags).code, 2, "{flags:?}");
    }
    out.convert("pytorch/plain.pth", &["--alpha", "0.5"]).assert_refused("--classes need --network");
    // In front of the network's names.
    let network = fixture("networks/plain.json");
    let flags =
        ["--network", &network, "--rename", "^classifer=fc", "--rename", "^L2_B=L3_B", "--rename", "^L3_B=L2_B"];
    out.convert("networks/plain.gluon.params", &flags).succeeded();
    assert_eq!(tensors(out.path()), tensors(fixture("networks/plain.safetensors")));
}

#[test]
fn what_does_not_fit_is_told_by_node() {
    let out = Out::new();
    let network = fixture("networks/plain.json");
    let flags = ["--network", &network, "--rename", "^classifer=clasifer", "--rename", "^L1_B0=X"];
    let outcome = out.convert("networks/plain.gluon.params", &flags);
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    assert!(
        lines[0]
            .ends_with("plain.gluon.params: it does not fit small: 46 tensors missing, 46 surplus, 0 of another shape"),
        "{}",
        lines[0]
    );
    assert_eq!(
        lines[1],
        "fc: bias is missing: expected [10] (near: clasifer.bias); weight is missing: expected [10, 8] (near: clasifer.weight)"
    );
    assert!(lines[2].starts_with("layer1.0.conv1: norm_h.beta is missing: expected [2] (near: "), "{}", lines[2]);
    assert!(lines.len() <= 13 && lines.iter().all(|line| line.len() < 400), "{lines:#?}");
    assert!(lines.last().unwrap().contains("octconv cost NETWORK --tensors"), "{lines:#?}");
    assert!(!out.path().exists());
    // Norms in front of convolutions are not taken for norms behind them.
    let outcome = out.convert("networks/preactivation.symbol.params", &["--network", &network]);
    assert!(
        outcome.code == 1 && outcome.stderr.contains("\ntail_bn: tail_bn_beta is surplus: only pre-activation"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn what_cannot_be_converted_leaves_the_output_alone() {
    let out = Out::new();
    out.convert("pytorch/plain.pth", &[]).succeeded();
    let before = fs::read(out.path()).unwrap();
    for (input, wanted) in [
        ("refused/module.pth", "reading "),
        ("refused/module.pth", "a whole pickled module, torch.nn.modules.linear.Linear"),
        ("refused/number.pth", "The keys that are there: epoch (a number), model_stat (a dictionary of 1)"),
        ("refused/zip.zip", "a ZIP archive with neither"),
        ("nowhere", "No such file"),
    ] {
        out.convert(input, &[]).assert_refused(wanted);
    }
    let not_finite = out.0.path().join("nan.safetensors");
    let nan = Tensors::from([("a".into(), (vec![2], vec![1.0, f32::NAN]))]);
    fs::write(&not_finite, files::serialize(&nan, safetensors::Dtype::F32)).unwrap();
    let [not_finite, output] = [not_finite, out.path()].map(|path| path.to_str().unwrap().to_owned());
    refused(&["convert", &not_finite, &output], &["nan.safetensors: a has a value that is not finite in f32: NaN"]);
    refused(&["convert", &output, &output], &["out.safetensors: it is read too"]);
    let limited = out.convert("pytorch/legacy_views.pth", &["--max-bytes", "300"]);
    limited.assert_refused("legacy_views.pth: the file has ");
    let small = ["--max-bytes", "27"];
    out.convert("numpy/plain.npy", &small).assert_refused("plain.npy: the file has 152 bytes, and 27 are allowed");
    assert_eq!(fs::read(out.path()).unwrap(), before);
    let notes = out.0.path().join("notes.txt");
    fs::write(&notes, "notes").unwrap();
    refused(
        &["convert", &fixture("pytorch/plain.pth"), notes.to_str().unwrap()],
        &["it exists and is not a safetensors file"],
    );
    assert_eq!(fs::read_dir(out.0.path()).unwrap().count(), 3);
}

#[test]
fn weights_of_any_kind_are_used() {
    let out = Out::new();
    let path = |name: &str| out.0.path().join(name).to_str().unwrap().to_owned();
    let network = json!({
        "name": "mean-colour", "input": {"channels": 3}, "output": "fc",
        "nodes": [
            {"name": "gap", "op": "global_pool", "input": "input"},
            {"name": "fc", "op": "linear", "input": "gap", "outputs": 3, "bias": false},
        ],
        "picture": {"height": 4, "width": 4, "channels": 3, "resize": "crop", "mean": [0, 0, 0], "std": [1, 1, 1]},
    });
    fs::write(path("net.json"), network.to_string()).unwrap();
    image::RgbImage::from_pixel(4, 4, image::Rgb([255, 51, 0])).save(path("a.png")).unwrap();
    let (picture, network, weights) = (path("a.png"), path("net.json"), fixture("pytorch/colours.pth"));
    let classify = ["classify", &picture, "--network", &network, "--weights", &weights, "--reference", "--json"];
    let answers = &json_of(&classify)["answers"];
    let score = |i: usize| (answers[i]["class"].as_u64().unwrap(), answers[i]["score"].as_f64().unwrap());
    assert_eq!((score(0), score(2)), ((0, 1.0), (2, 0.0)));
    assert!((score(1).1 - 0.2).abs() < 1e-6);
}

#[test]
fn wanted_tensors_are_listed() {
    let text = Outcome::with(&["cost", "cifar-resnet20", "--alpha", "0.25", "--tensors"]).succeeded();
    let line =
        |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().split_once("  ").unwrap().1.trim();
    assert_eq!(
        (line("conv1.w_hl "), line("layer1.0.conv1.norm_l.var "), line("fc.bias ")),
        ("[4, 3, 3, 3]", "[4]", "[10]")
    );
    let list = json_of(&["cost", "cifar-resnet20", "--alpha", "0.25", "--tensors", "--json"]);
    let list: &Vec<Value> = list.as_array().unwrap();
    assert_eq!(list.len(), text.lines().count());
    assert!(list.contains(&json!({"name": "conv1.w_hl", "shape": [4, 3, 3, 3]})));
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/layer/spec.json");
    refused(&["cost", spec.to_str().unwrap(), "--tensors"], &["--tensors is for networks", "is none"]);
}
