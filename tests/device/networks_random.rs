//! Random networks on a device against the reference, node by node and as a whole. `octconv verify --networks` runs more.

use octconv::Dtype;
use octconv::verify::NetworkCase;

use crate::common::context_as;

/// Networks of more nodes take longer to compile.
const MOST_NODES: usize = 6;

fn check(gpu: bool, seeds: impl Iterator<Item = u64>) {
    let context = context_as(gpu, Dtype::F32);
    for seed in seeds {
        let case = NetworkCase::random(seed);
        if case.network.nodes.len() > MOST_NODES {
            continue;
        }
        let outcome = case.run(context).unwrap_or_else(|error| panic!("seed {seed}: {error}: {case:?}"));
        assert!(outcome.failure.is_none(), "seed {seed}: {outcome:?}: {case:?}");
        if context.engine().pipelines() > 300 {
            context.engine().forget_pipelines();
        }
    }
}

#[test]
fn agree_with_the_reference() {
    check(false, 0..24);
}

#[test]
fn agree_as_on_a_gpu() {
    check(true, 24..48);
}
