//! Too little host memory is an error, and does not end the process.

use std::env;
use std::process::Command;

use octconv::network::{Checkpoint, Graph, HostTensor, Network};
use octconv::{Error, InputSize, reference};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

/// Tells the test that it runs in a process of its own, whose memory may be limited.
const CHILD: &str = "OCTCONV_TEST_WITH_LITTLE_MEMORY";
/// What that process may take.
const MOST: u64 = 1 << 30;
/// Elements of a tensor of which there is room for one, and not for two.
const MANY: usize = 150 << 20;

#[test]
fn too_little_memory_is_an_error() {
    if env::var_os(CHILD).is_some() {
        return with_little_memory();
    }
    // What runs may be the loader that a runner of cargo starts. So the program is what the loader was given.
    let mut child = Command::new(env::args_os().next().unwrap());
    child.args(["--exact", "memory::too_little_memory_is_an_error", "--nocapture"]).env(CHILD, "1");
    let output = child.output().unwrap();
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|printed| String::from_utf8_lossy(printed));
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}{stderr}");
}

fn with_little_memory() {
    setrlimit(Resource::As, Rlimit { current: Some(MOST), ..getrlimit(Resource::As) }).unwrap();
    files();
    fits();
    answers();
}

#[track_caller]
fn refused<T>(outcome: Result<T, Error>, wanted: &str) {
    match outcome {
        Err(error) => assert_eq!(error.to_string(), format!("{wanted} failed: out of memory")),
        Ok(_) => panic!("there is room for {wanted}"),
    }
}

/// A tensor of zeros, which are not written anywhere.
fn zeros(shape: &[usize]) -> HostTensor {
    HostTensor { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] }
}

fn files() {
    let checkpoint = Checkpoint { tensors: [("a".into(), zeros(&[MANY]))].into() };
    refused(checkpoint.to_safetensors(), "writing a of 629145600 bytes");
    drop(checkpoint);
    // There is room for the bytes of each tensor, and not for the whole file.
    let part = || zeros(&[MANY * 3 / 10]);
    let checkpoint = Checkpoint { tensors: ["a", "b"].map(|name| (name.into(), part())).into() };
    refused(checkpoint.to_safetensors(), "writing a safetensors file of 377487360 bytes");
    drop(checkpoint);
    let halves = MANY * 6 / 5;
    let data = vec![0; halves * 2];
    let file = serialize([("a", TensorView::new(Dtype::F16, vec![halves], &data).unwrap())], None);
    drop(data);
    refused(Checkpoint::from_safetensors(&file.unwrap()), "reading a of 754974720 bytes");
}

fn graph(json: &str) -> Graph {
    let network: Network = serde_json::from_str(json).unwrap();
    Graph::new(&network).unwrap()
}

fn fits() {
    // The convolution has two groups. In the file each channel is one.
    let grouped = graph(
        r#"{"name": "x", "input": {"channels": 1048576}, "output": "conv", "nodes": [
            {"name": "conv", "op": "conv", "input": "input", "channels": 1048576, "groups": 2}]}"#,
    );
    let checkpoint = Checkpoint { tensors: [("conv.w_hh".into(), zeros(&[1 << 20, 1, 1, 1]))].into() };
    refused(checkpoint.fit(&grouped), "making conv.w_hh of 2199023255552 bytes");
    let octave = graph(
        r#"{"name": "x", "input": {"channels": 16384}, "output": "conv", "nodes": [
            {"name": "conv", "op": "conv", "input": "input", "channels": 9216, "alpha": 0.5}]}"#,
    );
    let checkpoint = Checkpoint { tensors: [("conv.conv.weights".into(), zeros(&[9216, 16384, 1, 1]))].into() };
    refused(checkpoint.fit(&octave), "making conv.w_hl of 301989888 bytes");
}

fn answers() {
    let run = |nodes: &str, wanted: &str| {
        let graph =
            graph(&format!(r#"{{"name": "x", "input": {{"channels": 200}}, "output": "y", "nodes": [{nodes}]}}"#));
        let checkpoint = Checkpoint::try_random(&graph, 1).unwrap();
        let size = InputSize::image(1, 8, 8);
        let answer = reference::network::run(&graph, &checkpoint, size, &[1.0; 200 * 64], &mut |_, _| {});
        refused(answer, &format!("node y: the reference, with values of {wanted} bytes"));
    };
    let upsample = |name: &str, size: &str| {
        format!(r#"{{"name": "{name}", "op": "upsample", "input": "input", "mode": "nearest", "size": {size}}}"#)
    };
    run(&upsample("y", "[3000, 3000]"), "14400000000");
    let pool = r#"{"name": "y", "op": "pool", "kind": "max", "input": "input", "kernel": [1024, 1024], "stride": [1, 1],
        "padding": [1023, 1023]}"#;
    run(pool, "1700737600");
    // A few queries more, and many channels of values.
    let attention = [
        &upsample("queries", "[128, 128]"),
        r#"{"name": "values", "op": "conv", "input": "input", "channels": 4096}"#,
        r#"{"name": "y", "op": "attention", "queries": "queries", "keys": "input", "values": "values"}"#,
    ];
    run(&attention.join(","), "1073741824");
}
