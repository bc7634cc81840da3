//! Tuned choices as data: they are read back whole or not at all, and planners follow those that fit.

use octconv::{
    Choices, DeviceFacts, DeviceIdentity, Dtype, InputSize, Options, Plan, Precision, Spec, Tuned, Tuning, wgpu,
};
use proptest::prelude::*;

fn device(name: &str, driver_info: &str) -> DeviceIdentity {
    let info = wgpu::AdapterInfo::new(wgpu::DeviceType::DiscreteGpu, wgpu::Backend::Vulkan);
    let (name, driver_info) = (name.into(), driver_info.into());
    DeviceIdentity::of(&wgpu::AdapterInfo { name, vendor: 0x1002, device: 1, driver_info, ..info }).unwrap()
}

fn spec(channels: u32, kernel: u32) -> Spec {
    Spec::builder(channels, channels).alpha(0.5, 0.5).kernel([kernel; 2]).same_padding().build().unwrap()
}

const SIZE: InputSize = InputSize { n: 1, t: 1, h: 16, w: 12 };

fn candidates(spec: &Spec) -> Vec<Plan> {
    Plan::candidates(spec, SIZE, &Options::default(), &DeviceFacts::default())
}

/// Tuned choices for one layer on one device: the candidate with the worst estimate that is not unfused.
fn of_one_layer(device: &DeviceIdentity, spec: &Spec) -> (Tuned, Plan) {
    let fused = |plan: &Plan| plan.variant().strategy != octconv::Strategy::Unfused;
    let plan = candidates(spec).into_iter().rfind(fused).unwrap();
    let mut tuned = Tuned::default();
    tuned.insert(device, &plan);
    (tuned, plan)
}

fn arbitrary() -> impl Strategy<Value = Tuned> {
    let entry =
        ("[ -~]{0,12}", "[\\PC\t\n]{0,12}", 1u32..5, prop::sample::select(vec![1, 3, 5]), any::<prop::sample::Index>());
    prop::collection::vec(entry, 0..6).prop_map(|entries| {
        let mut tuned = Tuned::default();
        for (name, driver, channels, kernel, which) in entries {
            let plans = candidates(&spec(8 * channels, kernel));
            tuned.insert(&device(&name, &driver), which.get(&plans));
        }
        tuned
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(tuned in arbitrary()) {
        prop_assert_eq!(Tuned::from_bytes(&tuned.to_bytes()), Some(tuned));
    }

    #[test]
    fn damage_is_a_miss(tuned in arbitrary(), at in any::<prop::sample::Index>(), bits in 1u8.., junk in any::<Vec<u8>>()) {
        let bytes = tuned.to_bytes();
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= bits;
        prop_assert_eq!(Tuned::from_bytes(&changed), None);
        prop_assert_eq!(Tuned::from_bytes(&bytes[..at.index(bytes.len())]), None);
        prop_assert_eq!(Tuned::from_bytes(&[bytes.as_slice(), b"\n"].concat()), None);
        prop_assert_eq!(Tuned::from_bytes(&junk), None);
    }
}

#[test]
fn another_version_is_a_miss() {
    let (tuned, _) = of_one_layer(&device("a", "1"), &spec(16, 3));
    let bytes = tuned.to_bytes();
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let at = bytes.windows(version.len()).position(|part| part == version).expect("the version is in the first line");
    let older = [&bytes[..at], b"0.0.1", &bytes[at + version.len()..]].concat();
    assert_eq!(Tuned::from_bytes(&older), None);
    assert_eq!(Tuned::from_bytes(&bytes), Some(tuned));
}

#[test]
fn a_layer_is_planned_as_it_was_tuned_and_no_other() {
    let (here, layer) = (device("a", "1"), spec(16, 3));
    let (tuned, plan) = of_one_layer(&here, &layer);
    for other in [device("b", "1"), device("a", "2")] {
        assert_eq!(tuned.choices(&other), None);
    }
    let choices = tuned.choices(&here).unwrap();
    let facts = DeviceFacts::default();
    let options = Options::default();
    let chosen = choices.plan(&layer, SIZE, &options, &facts).unwrap();
    assert_eq!((chosen.variant(), chosen.is_tuned()), (plan.variant(), true));
    assert_eq!((chosen.options(), chosen.sources()), (plan.options(), plan.sources()));
    let first = Plan::new(&layer, SIZE, &options, &facts).unwrap();
    assert_ne!(first.variant(), plan.variant());

    let forced = Options { variant: Some(first.variant()), ..options };
    let untuned = [
        choices.plan(&layer, SIZE, &forced, &facts),
        choices.plan(&layer, InputSize { h: 17, ..SIZE }, &options, &facts),
        choices.plan(
            &layer,
            SIZE,
            &Options { precision: Precision { weights: Dtype::F16, ..options.precision }, ..options },
            &facts,
        ),
        choices.plan(&layer, SIZE, &Options { pooled_input: true, ..options }, &facts),
        choices.plan(&spec(24, 3), SIZE, &options, &facts),
        Choices::default().plan(&layer, SIZE, &options, &facts),
    ];
    assert!(untuned.into_iter().all(|plan| !plan.unwrap().is_tuned()));
}

#[test]
fn what_a_device_does_not_allow_is_a_miss() {
    let here = device("a", "1");
    // In one dispatch it binds eight tensors and the weights.
    let spec =
        Spec::builder(16, 16).alpha(0.5, 0.5).kernel([3, 3]).same_padding().residual(true, true).build().unwrap();
    let options = Options { pooled_input: true, pooled_output: true, ..Options::default() };
    let mut large = DeviceFacts::default();
    large.limits.max_storage_buffers_per_shader_stage = 9;
    let fused = Plan::candidates(&spec, SIZE, &options, &large);
    let fused = fused.iter().find(|plan| plan.variant().strategy == octconv::Strategy::Fused).unwrap();
    let mut tuned = Tuned::default();
    tuned.insert(&here, fused);
    let choices = tuned.choices(&here).unwrap();
    assert!(choices.plan(&spec, SIZE, &options, &large).unwrap().is_tuned());
    assert!(!choices.plan(&spec, SIZE, &options, &DeviceFacts::default()).unwrap().is_tuned());
}

#[test]
fn what_is_merged_is_the_later_and_all_the_rest() {
    let (here, there, layer) = (device("a", "1"), device("b", "1"), spec(16, 3));
    let (mut tuned, _) = of_one_layer(&here, &layer);
    let (elsewhere, _) = of_one_layer(&there, &layer);
    tuned.merge(elsewhere);
    assert_eq!((tuned.len(), tuned.choices(&there).map(Choices::len)), (2, Some(1)));
    let mut later = Tuned::default();
    let plan = &candidates(&layer)[1];
    later.insert(&here, plan);
    tuned.merge(later);
    assert_eq!(tuned.len(), 2);
    let chosen = tuned.choices(&here).unwrap().plan(&layer, SIZE, &Options::default(), &DeviceFacts::default());
    assert_eq!(chosen.unwrap().variant(), plan.variant());
}

#[cfg(feature = "network")]
#[test]
fn networks_are_planned_as_they_were_tuned() {
    use octconv::network::{Graph, NetworkOptions, NetworkPlan, zoo};
    let here = device("a", "1");
    let network = zoo::build("cifar-resnet20", &zoo::Settings { alpha: 0.5, ..Default::default() }).unwrap();
    let graph = Graph::new(&network).unwrap();
    let (size, facts) = (InputSize::image(2, 32, 32), DeviceFacts::default());
    let options = NetworkOptions::default();
    let untuned = NetworkPlan::new(&graph, size, &options, &facts).unwrap();
    assert!(untuned.layers().all(|layer| layer.tuning == Tuning::UnknownDevice));

    // The second best candidate of every layer.
    let mut tuned = Tuned::default();
    let mut wanted = Vec::new();
    for layer in untuned.layers() {
        let plans = Plan::candidates(layer.spec, layer.size, &layer.options, &facts);
        assert_eq!(plans[0].variant(), layer.variant, "{}", layer.node);
        tuned.insert(&here, &plans[1]);
        wanted.push((layer.node, plans[1].variant(), Tuning::Used));
    }
    // A network repeats its blocks, so there are fewer choices than layers.
    assert!(tuned.len() < wanted.len());
    let plan = NetworkPlan::with_choices(&graph, size, &options, &facts, tuned.choices(&here).unwrap()).unwrap();
    let found: Vec<_> = plan.layers().map(|layer| (layer.node, layer.variant, layer.tuning)).collect();
    assert_eq!(found, wanted);
    assert_ne!(plan.sources(), untuned.sources());
}
