//! What holds for every plan.

use octconv::network::{Checkpoint, Graph, Network, NetworkOptions, NetworkPlan, ValueShape, random_input};
use octconv::reference::network as reference;
use octconv::{DeviceFacts, DeviceIdentity, Dims, Dtype, Error, InputSize, Options, Plan, Spec, Tuned, wgpu};

/// An error says something.
pub(crate) fn refused(error: &Error) {
    assert!(!error.to_string().is_empty(), "{error:?}");
}

/// All plans of a layer, the planner's choice first.
pub(crate) fn plans(spec: &Spec, size: InputSize, options: &Options, facts: &DeviceFacts) -> Vec<Plan> {
    let candidates = Plan::candidates(spec, size, options, facts);
    match (Plan::new(spec, size, &Options { variant: None, ..*options }, facts), candidates.first()) {
        (Ok(chosen), Some(first)) => assert!(chosen == *first, "{} and {}", chosen.variant(), first.variant()),
        (Err(error), None) => refused(&error),
        (chosen, first) => panic!("{chosen:?} and {first:?}"),
    }
    candidates.iter().for_each(|candidate| plan(candidate, facts));
    candidates
}

/// One plan: it keeps within the device's limits.
pub(crate) fn plan(plan: &Plan, facts: &DeviceFacts) {
    let (limits, options) = (&facts.limits, plan.options());
    grids(plan.workgroups(), plan.dispatches(), limits);
    assert_eq!(plan.kernels().len(), plan.dispatches());
    let tensors = plan.tensors();
    assert!(tensors.iter().any(|tensor| tensor.written));
    for tensor in &tensors {
        fits(tensor.dims, options.precision.activations, limits);
    }
    assert!(options.scratch_limit.is_none_or(|most| plan.scratch_bytes() <= most));
    let estimate = plan.estimate(facts);
    assert!(estimate.is_finite() && estimate > 0.0, "{estimate}");
    let variant = plan.variant();
    assert!(variant.tile.is_some());
    assert_eq!(variant.to_string().parse(), Ok(variant));
}

fn grids(grids: Vec<[u32; 2]>, dispatches: usize, limits: &wgpu::Limits) {
    assert_eq!(grids.len(), dispatches);
    let most = limits.max_compute_workgroups_per_dimension;
    assert!(grids.iter().flatten().all(|axis| (1..=most).contains(axis)), "{grids:?}");
}

/// A tensor is not empty, can be bound, and can be indexed with 32 bits.
fn fits(dims: Dims, dtype: Dtype, limits: &wgpu::Limits) {
    let elements = dims.elements();
    assert!((1..=u64::from(u32::MAX / 2)).contains(&elements), "{dims}");
    let binding = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
    assert!(elements * dtype.bytes() <= binding, "{dims}");
}

/// A plan is made again if its variant is forced, and if it was tuned.
pub(crate) fn is_made_again(plan: &Plan, facts: &DeviceFacts) {
    let (spec, size, options) = (plan.spec(), plan.size(), plan.options());
    let forced = Plan::new(spec, size, &Options { variant: Some(plan.variant()), ..*options }, facts).unwrap();
    let device = device();
    let mut tuned = Tuned::default();
    tuned.insert(&device, plan);
    assert_eq!(Tuned::from_bytes(&tuned.to_bytes()).as_ref(), Some(&tuned));
    let choices = tuned.choices(&device).unwrap();
    let chosen = choices.plan(spec, size, options, facts).unwrap();
    assert!(chosen.is_tuned());
    for other in [forced, chosen] {
        assert_eq!((other.variant(), other.workgroups()), (plan.variant(), plan.workgroups()));
        assert_eq!(other.sources(), plan.sources());
    }
}

/// The name of a device that targets tune for.
pub(crate) fn device() -> DeviceIdentity {
    let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Vulkan);
    DeviceIdentity::of(&wgpu::AdapterInfo { name: "a".into(), ..info }).expect("it has a name")
}

/// A network and its plan, or why there is none.
pub(crate) fn network(
    network: &Network,
    size: InputSize,
    options: &NetworkOptions,
    facts: &DeviceFacts,
) -> Result<NetworkPlan, Error> {
    let graph = Graph::new(network)?;
    is_written(network);
    let shapes = graph.shapes(size)?;
    let nodes = graph.len();
    assert_eq!([graph.macs(size)?.len(), graph.min_bytes(size, 4, 4)?.len(), shapes.len() - 1], [nodes; 3]);
    if is_small(&graph, &shapes, size)? {
        answers(&graph, &shapes, size);
    }
    let plan = NetworkPlan::new(&graph, size, options, facts)?;
    grids(plan.workgroups(), plan.dispatches(), &facts.limits);
    assert!(plan.live_bytes() <= plan.activation_bytes());
    assert_eq!(plan.stages().iter().map(|stage| stage.steps.len()).sum::<usize>(), plan.dispatches());
    for layer in plan.layers() {
        let id = 1 + network.nodes.iter().position(|node| node.name == layer.node).unwrap();
        let made = layer.spec.shapes(layer.size)?;
        assert!(matches!(shapes[id], ValueShape::Map { high, low, .. } if (high, low) == (made.y_h, made.y_l)));
        for dims in [made.x_h, made.x_l, made.y_h, made.y_l].into_iter().flatten() {
            fits(dims, options.precision.activations, &facts.limits);
        }
    }
    Ok(plan)
}

/// A description is read as it was written.
fn is_written(network: &Network) {
    let numbers = network.picture.iter().flat_map(|picture| picture.mean.iter().chain(&picture.std));
    // JSON has no infinities.
    if numbers.into_iter().all(|number| number.is_finite()) {
        let text = serde_json::to_string(network).unwrap();
        assert_eq!(serde_json::from_str::<Network>(&text).unwrap(), *network, "{text}");
    }
}

/// Whether the reference computes a network soon.
fn is_small(graph: &Graph, shapes: &[ValueShape], size: InputSize) -> Result<bool, Error> {
    const MOST: u64 = 20_000;
    let cost = graph.cost(size)?;
    let elements = shapes.iter().map(ValueShape::elements).fold(0, u64::saturating_add);
    Ok(elements <= MOST && cost.params <= MOST && cost.macs <= 4 * MOST)
}

/// A small network has random weights, and the reference computes its answer.
fn answers(graph: &Graph, shapes: &[ValueShape], size: InputSize) {
    let checkpoint = Checkpoint::random(graph, 1);
    assert_eq!(checkpoint.clone().fit(graph).as_ref(), Ok(&checkpoint));
    let input = random_input(shapes[0].elements() as usize, 1);
    let answer = reference::run(graph, &checkpoint, size, &input, &mut |_, _| {}).unwrap().to_f32();
    assert_eq!(answer.len() as u64, graph.output_shape(shapes).elements());
}
