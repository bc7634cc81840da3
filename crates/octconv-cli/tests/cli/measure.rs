//! `octconv cost`, `verify`, `info`, `roofline` and `bench --layers`: what is counted, compared and timed.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::files::{Folder, Tensors};
use crate::run::{NO_ADAPTER, Outcome, json_of, octconv};

#[test]
fn costs_are_counted() {
    let input = json!({"channels": 64, "alpha": 0.5});
    let spec = json!({"input": input, "channels": 64, "alpha": 0.5, "kernel": [3, 3], "padding": "same"});
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
fn a_network_without_a_plan_gets_no_weights() {
    // Weights of 4 TiB.
    let conv = json!({"name": "conv", "op": "conv", "input": "input", "channels": 1 << 20});
    let network = json!({"name": "n", "input": {"channels": 1 << 20}, "nodes": [conv], "output": "conv"});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("net.json");
    fs::write(&file, network.to_string()).unwrap();
    Outcome::of(octconv().arg("bench").arg(&file).args(["--size", "1"])).assert_refused("error: node conv: ");
    let few = ["bench", "cifar-resnet20", "--max-bytes", "1K"];
    Outcome::with(&few).assert_refused("random weights of cifar-resnet20 take ");
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
    assert!(report["kernels"].as_u64().unwrap() > 0);

    let lines = Outcome::of(octconv().args(["verify", "--cases", "1", "--default-device"]));
    assert_eq!((lines.code, lines.stderr.as_str()), (0, ""));
    assert!(lines.stdout.ends_with("all agree with the reference\n"), "{}", lines.stdout);

    let lines = Outcome::of(octconv().args(["verify", "--cases", "2", "--as-gpu"]));
    assert_eq!((lines.code, lines.stderr.as_str()), (0, ""));
    assert!(lines.stdout.lines().next().unwrap().ends_with(", with what GPUs run"), "{}", lines.stdout);
}

#[test]
fn verify_compares_networks() {
    let report = json_of(&["verify", "--networks", "2", "--seed", "3", "--json"]);
    assert_eq!((&report["networks"], &report["seed"], &report["failures"]), (&json!(2), &json!(3), &json!([])));
    assert!(report["dispatches"].as_u64() >= Some(2), "{report}");
    assert!((0.0..=1.0).contains(&report["worst_fraction_of_bound"].as_f64().unwrap()), "{report}");
    let lines = Outcome::of(octconv().args(["verify", "--networks", "1", "--as-gpu"]));
    assert_eq!((lines.code, lines.stderr.as_str()), (0, ""));
    assert!(lines.stdout.starts_with("adapter: "), "{}", lines.stdout);
    assert!(lines.stdout.ends_with("all agree with the reference\n"), "{}", lines.stdout);
    assert_eq!(Outcome::of(octconv().args(["verify", "--networks", "1", "--cases", "1"])).code, 2);
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
    let folder = tempfile::tempdir().unwrap();
    let measured =
        Outcome::of(octconv().args(["roofline", "--json", "-"]).env("OCTCONV_CACHE", folder.path())).succeeded();
    let roofline: Value = serde_json::from_str(&measured).unwrap();
    let kept = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(kept.into_iter().all(|name| name.to_str().unwrap().starts_with("rates-")));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let positive = |value: &Value| assert!(value.as_f64().is_some_and(|v| v > 0.0 && v.is_finite()), "{roofline}");
    let arithmetic = roofline["arithmetic"].as_array().unwrap();
    assert_eq!((&arithmetic[0]["factors"], &arithmetic[0]["matrix"]), (&json!("f32"), &Value::Null));
    arithmetic.iter().for_each(|arithmetic| positive(&arithmetic["gflops"]));
    for number in [&roofline["read"]["gb_per_s"], &roofline["copy"]["gb_per_s"], &roofline["launch_us"]] {
        positive(number);
    }
    let fabric = &roofline["fabric"];
    for number in [&fabric["cache"]["gb_per_s"], &fabric["latency_ns"], &fabric["threads"]] {
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
    let layer = |name: &str, k: u32| {
        let (size, input) = (json!({"h": 8, "w": 8}), json!({"channels": 8, "alpha": 0.5}));
        json!({"name": name, "size": size, "input": input, "channels": 8, "alpha": 0.5, "kernel": [k, k], "padding": "same"})
    };
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
    let folder = Folder::new(&json!({"input": {"channels": 2}, "channels": 2}), &Tensors::new());
    let spec = folder.spec();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = octconv();
    command.arg("cost").arg(spec).args(["--size", "8x8"]).stdout(writer);
    let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn a_soak_repeats_the_same_rounds() {
    let report = Outcome::with(&["verify", "--soak", "1s", "--seed", "3", "--json"]).json();
    let rounds = report["rounds"].as_array().unwrap();
    // Some drivers keep memory of every kernel that they compile.
    let of_driver = |problem: &Value| problem.as_str().unwrap().starts_with("bytes of resident memory grew");
    let problems = report["problems"].as_array().unwrap();
    assert!(rounds.len() >= 6 && problems.iter().all(of_driver), "{report}");
    for (i, round) in rounds.iter().enumerate() {
        for count in ["runs", "kernels", "objects"] {
            assert!(
                round[count].as_u64().unwrap() > 0 && round[count] == rounds[0][count],
                "{count} of round {i}: {report}"
            );
        }
        assert!(cfg!(not(target_os = "linux")) || round["memory_bytes"].as_u64().unwrap() > 1 << 20, "{report}");
    }
}
