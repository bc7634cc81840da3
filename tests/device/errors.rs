//! Everything that plans and devices refuse, and in which words: each message names the argument, its value, and what
//! would have been accepted.

use octconv::{BatchNorm, DeviceFacts, Downsample, Error, Precision, TensorBinding, Tensors, Variant, Weights, wgpu};
use octconv::{
    Dtype, Engine, EngineOptions, InputSize, Options, PackedWeights, Plan, Slice, Spec, SpecBuilder, Split, Strategy,
};

/// The message of a refusal.
#[track_caller]
fn refusal<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("nothing was refused"),
        Err(error) => error.to_string(),
    }
}

fn split(input: (u32, u32), output: (u32, u32)) -> SpecBuilder {
    let [input, output] = [input, output].map(|(high, low)| Split { high, low });
    Spec::builder(input.channels(), output.channels()).split(input, output)
}

/// 3x3 on both frequencies.
fn k3() -> SpecBuilder {
    split((4, 2), (4, 2)).kernel([3, 3]).same_padding()
}

const SIZE: InputSize = InputSize { n: 1, t: 1, h: 8, w: 6 };

fn plan_on(facts: &DeviceFacts, spec: SpecBuilder, size: InputSize, options: Options) -> Result<Plan, Error> {
    Plan::new(&spec.build().unwrap(), size, &options, facts)
}

fn plan(spec: SpecBuilder, options: Options) -> Result<Plan, Error> {
    plan_on(&DeviceFacts::default(), spec, SIZE, options)
}

mod names {
    use super::*;

    #[test]
    fn of_types() {
        assert_eq!("f32".parse(), Ok(Dtype::F32));
        assert_eq!("f16".parse(), Ok(Dtype::F16));
        assert_eq!(refusal("bf16".parse::<Dtype>()), "dtype is bf16: must be f32 or f16");
    }

    #[test]
    fn of_variants() {
        for variant in Variant::all() {
            assert_eq!(variant.to_string().parse(), Ok(variant));
        }
        let message = refusal("fused".parse::<Variant>());
        let names = Variant::all().map(|variant| variant.to_string()).collect::<Vec<_>>().join(", ");
        assert_eq!(message, format!("variant is fused: must be one of {names}"));
        assert!(names.starts_with("fused/direct, fused/direct-f16, fused/pointwise, "), "{names}");
    }

    #[test]
    fn of_tensors() {
        let (device, _) = noop();
        let buffer = buffer(&device, 4);
        let mut tensors = Tensors::default();
        for name in ["x_h", "x_l", "x_p", "residual_h", "residual_l", "y_h", "y_l", "y_p"] {
            assert_eq!(tensors.set(name, (&buffer).into()), Ok(()));
        }
        let message = "tensor is z: must be one of x_h, x_l, x_p, residual_h, residual_l, y_h, y_l, y_p";
        assert_eq!(refusal(tensors.set("z", (&buffer).into())), message);
    }
}

mod options {
    use super::*;

    #[test]
    fn f16_activations_without_the_feature() {
        let options =
            Options { precision: Precision { activations: Dtype::F16, ..Precision::default() }, ..Options::default() };
        let message = "f16 activations needs the device feature SHADER_F16, which this device was created without";
        assert_eq!(refusal(plan(k3(), options)), message);
        let facts = DeviceFacts { features: wgpu::Features::SHADER_F16, ..DeviceFacts::default() };
        assert!(plan_on(&facts, k3(), SIZE, options).is_ok());
        // Weights are unpacked, which needs no feature.
        assert!(
            plan(
                k3(),
                Options { precision: Precision { weights: Dtype::F16, ..Precision::default() }, ..Options::default() }
            )
            .is_ok()
        );
    }

    #[test]
    fn sums_of_f16_where_not_all_is_f16() {
        for weights in [Dtype::F32, Dtype::F16] {
            let options = Options {
                precision: Precision { weights, sums: Dtype::F16, ..Precision::default() },
                ..Options::default()
            };
            assert_eq!(refusal(plan(k3(), options)), "sums is f16: must be f32 unless activations and weights are f16");
        }
    }

    #[test]
    fn pooled_input_that_nothing_reads() {
        let options = Options { pooled_input: true, ..Options::default() };
        let message = "pooled_input is on: must be off where the layer does not pool X_H";
        for spec in [
            split((4, 0), (4, 0)).kernel([3, 3]).same_padding(),
            split((0, 4), (4, 4)).kernel([3, 3]).same_padding(),
            k3().high_to_low(false),
        ] {
            assert_eq!(refusal(plan(spec, options)), message);
        }
        let message = "pooled_input is on: must be off where the layer strides instead of pooling";
        assert_eq!(refusal(plan(k3().downsample(Downsample::StridedConv), options)), message);
        assert!(plan(k3(), options).is_ok());
    }

    #[test]
    fn slices_that_do_not_hold_the_output() {
        let high = |first, of| Options { high_slice: Some(Slice { first, of }), ..Options::default() };
        let low = |first, of| Options { low_slice: Some(Slice { first, of }), ..Options::default() };
        let message = "high_slice is 1.. of 4: must hold the 4 channels of the output";
        assert_eq!(refusal(plan(k3(), high(1, 4))), message);
        let message = format!("low_slice is {}.. of 4: must hold the 2 channels of the output", u32::MAX);
        assert_eq!(refusal(plan(k3(), low(u32::MAX, 4))), message);
        let message = "low_slice is 0.. of 4: must hold the 0 channels of the output";
        assert_eq!(refusal(plan(split((4, 0), (4, 0)), low(0, 4))), message);
    }

    #[test]
    fn slices_beside_what_is_read_or_pooled_in_place() {
        let slice = Some(Slice { first: 1, of: 6 });
        let message = "must be absent where a residual is read or pool(Y_H) written";
        let high = Options { high_slice: slice, ..Options::default() };
        let expected = format!("high_slice is 1.. of 6: {message}");
        assert_eq!(refusal(plan(k3().residual(true, false), high)), expected);
        assert_eq!(refusal(plan(k3(), Options { pooled_output: true, ..high })), expected);
        let low = Options { low_slice: slice, ..Options::default() };
        assert_eq!(refusal(plan(k3().residual(false, true), low)), format!("low_slice is 1.. of 6: {message}"));
        let unfused = Options { variant: Some("unfused/direct".parse().unwrap()), ..low };
        assert!(refusal(plan(k3(), unfused)).contains("its adds write whole tensors, not slices"));
    }

    #[test]
    fn pooled_output_without_an_output() {
        let options = Options { pooled_output: true, ..Options::default() };
        let message = "pooled_output is on: must be off where the layer has no Y_H to pool";
        assert_eq!(refusal(plan(split((4, 2), (0, 2)), options)), message);
        assert!(plan(k3(), options).is_ok());
    }
}

mod variants {
    use super::*;

    fn forced(variant: &str, spec: SpecBuilder) -> String {
        refusal(plan(spec, Options { variant: Some(variant.parse().unwrap()), ..Options::default() }))
    }

    #[test]
    fn pointwise() {
        for variant in ["fused/pointwise", "unfused/pointwise"] {
            let expect = |needs| format!("variant {variant} cannot run this layer: the pointwise kernel needs {needs}");
            assert_eq!(forced(variant, k3()), expect("a kernel of 1x1 (and 1 in time)"));
            let padded = split((4, 0), (4, 0)).padding([1, 0]);
            assert_eq!(forced(variant, padded), expect("a padding of 0"));
            assert_eq!(forced(variant, split((4, 2), (4, 2)).groups(2)), expect("one group"));
        }
        let message = "variant fused/pointwise cannot run this layer: the pointwise kernel needs a high-frequency \
                       input or output";
        assert_eq!(forced("fused/pointwise", split((0, 2), (0, 2))), message);
    }

    #[test]
    fn pointwise_with_means_alone() {
        let options =
            Options { pooled_input: true, variant: Some("fused/pointwise".parse().unwrap()), ..Options::default() };
        let message = "variant fused/pointwise cannot run this layer: the pointwise kernel pools X_H itself, which this \
                       layer does not bind";
        assert_eq!(refusal(plan(split((4, 0), (0, 2)), options)), message);
    }

    #[test]
    fn split_of_one_output() {
        let message = "variant split/direct cannot run this layer: a split needs two outputs";
        assert_eq!(forced("split/direct", split((4, 2), (4, 0))), message);
        assert_eq!(forced("split/direct", split((4, 2), (0, 4))), message);
    }

    #[test]
    fn pool_first_without_pooling() {
        let message = "variant pool-first/direct cannot run this layer: nothing that its kernel reads is to be pooled";
        assert_eq!(forced("pool-first/direct", split((4, 0), (4, 0))), message);
        assert_eq!(forced("pool-first/direct", k3().downsample(Downsample::StridedConv)), message);
    }
}

mod limits {
    use super::*;

    fn facts(change: impl Fn(&mut wgpu::Limits)) -> DeviceFacts {
        let mut facts = DeviceFacts::default();
        change(&mut facts.limits);
        facts
    }

    #[test]
    fn size_of_a_binding() {
        let size = InputSize::image(1, 4096, 4096);
        let message = "tensor x_h of 1x4x4096x4096, in bytes, needs 268435456, but max_storage_buffer_binding_size is \
                       134217728";
        assert_eq!(refusal(plan_on(&DeviceFacts::default(), k3(), size, Options::default())), message);
        let large = facts(|limits| limits.max_storage_buffer_binding_size = 1 << 28);
        assert!(plan_on(&large, k3(), size, Options::default()).is_ok());
        // A buffer is no larger than a buffer.
        let small = facts(|limits| limits.max_buffer_size = 255);
        let message = "tensor x_h of 1x4x8x6, in bytes, needs 768, but max_storage_buffer_binding_size is 255";
        assert_eq!(refusal(plan_on(&small, k3(), SIZE, Options::default())), message);
    }

    #[test]
    fn reach_of_an_index() {
        let huge = facts(|limits| {
            limits.max_storage_buffer_binding_size = u64::MAX;
            limits.max_buffer_size = u64::MAX;
        });
        let size = InputSize::image(1, 32768, 16384);
        let message = "tensor x_h of 1x4x32768x16384 needs 2147483648, but the number of elements that 32-bit indices \
                       reach is 2147483647";
        assert_eq!(refusal(plan_on(&huge, k3(), size, Options::default())), message);
    }

    #[test]
    fn size_of_the_weights() {
        let size = InputSize::image(1, 2, 2);
        let channels = |c_in| split((c_in, 0), (3, 0)).kernel([3, 3]).same_padding();
        let plan = |c_in| plan_on(&DeviceFacts::default(), channels(c_in), size, Options::default());
        assert_eq!(
            refusal(plan_on(&DeviceFacts::default(), split((1 << 20, 0), (1 << 10, 0)), size, Options::default())),
            "the weights, in bytes, needs 4294967296, but max_storage_buffer_binding_size is 134217728"
        );
        // Three channels are padded to a block.
        let message = refusal(plan(1 << 20));
        assert!(message.starts_with("the packed weights, in bytes, needs "), "{message}");
        assert!(message.ends_with(", but max_storage_buffer_binding_size is 134217728"), "{message}");
        assert!(plan(1 << 10).is_ok());
    }

    #[test]
    fn workgroups() {
        let small = facts(|limits| limits.max_compute_workgroups_per_dimension = 2);
        let message = refusal(plan_on(&small, k3(), InputSize::image(1, 100, 100), Options::default()));
        assert!(message.starts_with("the layer's output, in workgroups, needs "), "{message}");
        assert!(message.ends_with(", but max_compute_workgroups_per_dimension squared is 4"), "{message}");
    }

    #[test]
    fn storage_buffers() {
        let spec = || k3().residual(true, true);
        let options = Options { pooled_input: true, pooled_output: true, ..Options::default() };
        let fused = Options { variant: Some("fused/direct".parse().unwrap()), ..options };
        let message = "a dispatch of fused/direct with its storage buffers needs 9, but \
                       max_storage_buffers_per_shader_stage is 8";
        assert_eq!(refusal(plan(spec(), fused)), message);
        // Left to itself the planner cuts the layer, where it has to.
        let strategy = |plan: Result<Plan, Error>| plan.unwrap().variant().strategy;
        assert_ne!(strategy(plan(spec(), options)), Strategy::Fused);
        let nine = facts(|limits| limits.max_storage_buffers_per_shader_stage = 9);
        assert_eq!(strategy(plan_on(&nine, spec(), SIZE, options)), Strategy::Fused);
        // Adding takes four buffers, whatever the cut.
        let three = facts(|limits| limits.max_storage_buffers_per_shader_stage = 3);
        let message = refusal(plan_on(&three, spec(), SIZE, options));
        assert!(message.ends_with("but max_storage_buffers_per_shader_stage is 3"), "{message}");
    }
}

/// A device that validates and executes nothing.
fn noop() -> (wgpu::Device, wgpu::Queue) {
    wgpu::Device::noop(&wgpu::DeviceDescriptor::default())
}

fn buffer(device: &wgpu::Device, elements: u64) -> wgpu::Buffer {
    buffer_for(device, elements, wgpu::BufferUsages::STORAGE)
}

fn buffer_for(device: &wgpu::Device, elements: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    let descriptor = wgpu::BufferDescriptor { label: None, size: 4 * elements, usage, mapped_at_creation: false };
    device.create_buffer(&descriptor)
}

mod binding {
    use super::*;

    const ONES: [f32; 4 * 4 * 9] = [1.0; 4 * 4 * 9];

    fn weights() -> Weights<'static> {
        Weights {
            w_hh: Some(&ONES),
            w_hl: Some(&ONES[..2 * 4 * 9]),
            w_lh: Some(&ONES[..4 * 2 * 9]),
            w_ll: Some(&ONES[..2 * 2 * 9]),
            ..Weights::default()
        }
    }

    /// A layer of which all is well: X_H 1x4x8x6, X_L 1x2x4x3, Y_H and Y_L the same, and pool(Y_H) 1x4x4x3.
    struct Fixture {
        /// wgpu makes no encoder without it.
        _queue: wgpu::Queue,
        engine: Engine,
        plan: Plan,
        packed: PackedWeights,
        x_h: wgpu::Buffer,
        x_l: wgpu::Buffer,
        y_h: wgpu::Buffer,
        y_l: wgpu::Buffer,
        y_p: wgpu::Buffer,
    }

    impl Fixture {
        fn new() -> Self {
            let (device, _queue) = noop();
            let engine = Engine::new(&device, EngineOptions::default());
            let options = Options { pooled_output: true, ..Options::default() };
            let plan = engine.plan(&k3().build().unwrap(), SIZE, &options).unwrap();
            let packed = engine.pack(&plan, &weights()).unwrap();
            let [x_h, y_h] = [0, 1].map(|_| buffer(&device, 4 * 48));
            let [x_l, y_l] = [0, 1].map(|_| buffer(&device, 2 * 12));
            Self { y_p: buffer(&device, 4 * 12), _queue, engine, plan, packed, x_h, x_l, y_h, y_l }
        }

        fn tensors(&self) -> Tensors<'_> {
            Tensors {
                x_h: Some((&self.x_h).into()),
                x_l: Some((&self.x_l).into()),
                y_h: Some((&self.y_h).into()),
                y_l: Some((&self.y_l).into()),
                y_p: Some((&self.y_p).into()),
                ..Tensors::default()
            }
        }

        fn bind(&self, tensors: Tensors) -> Result<(), Error> {
            self.engine.bind(&self.plan, &self.packed, &tensors).map(drop)
        }
    }

    #[test]
    fn all_is_well() {
        let fixture = Fixture::new();
        assert_eq!(fixture.bind(fixture.tensors()), Ok(()));
    }

    #[test]
    fn tensors_missing() {
        let fixture = Fixture::new();
        type Change = fn(&mut Tensors);
        let cases: [(&str, Change); 5] = [
            ("x_h", |tensors| tensors.x_h = None),
            ("x_l", |tensors| tensors.x_l = None),
            ("y_h", |tensors| tensors.y_h = None),
            ("y_l", |tensors| tensors.y_l = None),
            ("y_p", |tensors| tensors.y_p = None),
        ];
        for (name, remove) in cases {
            let mut tensors = fixture.tensors();
            remove(&mut tensors);
            assert_eq!(refusal(fixture.bind(tensors)), format!("tensor {name} is missing, but the layer needs it"));
        }
    }

    #[test]
    fn tensors_not_used() {
        let fixture = Fixture::new();
        for name in ["x_p", "residual_h", "residual_l"] {
            let mut tensors = fixture.tensors();
            tensors.set(name, (&fixture.x_l).into()).unwrap();
            assert_eq!(
                refusal(fixture.bind(tensors)),
                format!("tensor {name} is given, but the layer does not use it")
            );
        }
    }

    #[test]
    fn usage() {
        let fixture = Fixture::new();
        let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::UNIFORM;
        let x_h = buffer_for(fixture.engine.device(), 4 * 48, usage);
        let message = refusal(fixture.bind(Tensors { x_h: Some((&x_h).into()), ..fixture.tensors() }));
        let wanted =
            "tensor x_h: its buffer has the usage BufferUsages(COPY_DST | UNIFORM), which must include STORAGE";
        assert_eq!(message, wanted);
    }

    #[test]
    fn offset_and_size() {
        let fixture = Fixture::new();
        let large = buffer(fixture.engine.device(), 1000);
        let at = |offset| Tensors { y_h: Some(TensorBinding { buffer: &large, offset }), ..fixture.tensors() };
        assert_eq!(fixture.bind(at(256)), Ok(()));
        for offset in [4, 100, 255] {
            let message = format!("tensor y_h: its offset is {offset}, which must be a multiple of 256");
            assert_eq!(refusal(fixture.bind(at(offset))), message);
        }
        // 4000 bytes hold 768 from 3072 on, and not from 3328 on.
        assert_eq!(fixture.bind(at(3072)), Ok(()));
        for offset in [3328, 1 << 40, u64::MAX - 255] {
            let message = format!("tensor y_h: its 768 bytes from offset {offset} on exceed a buffer of 4000");
            assert_eq!(refusal(fixture.bind(at(offset))), message);
        }
        let small = buffer(fixture.engine.device(), 4 * 48 - 1);
        let message = "tensor x_h: its 768 bytes from offset 0 on exceed a buffer of 764";
        assert_eq!(refusal(fixture.bind(Tensors { x_h: Some((&small).into()), ..fixture.tensors() })), message);
    }

    /// Batch norm makes them of small ones. Of an infinity that is given, an infinity is packed.
    #[test]
    fn weights_that_f16_cannot_hold() {
        let (device, _) = noop();
        let engine = Engine::new(&device, EngineOptions::default());
        let spec = split((4, 0), (4, 0)).kernel([3, 3]).same_padding().build().unwrap();
        let pack = |variant: &str, weights: Dtype, w: f32, gamma: [f32; 4]| {
            let precision = Precision { weights, ..Precision::default() };
            let options = Options { precision, variant: Some(variant.parse().unwrap()), ..Options::default() };
            let plan = engine.plan(&spec, InputSize::image(1, 8, 8), &options).unwrap();
            let norm = BatchNorm { gamma: &gamma, beta: &[0.0; 4], mean: &[0.0; 4], var: &[1.0; 4], eps: 0.0 };
            let w_hh = [w; 4 * 4 * 9];
            let weights = Weights { w_hh: Some(&w_hh), norm_h: Some(norm), ..Weights::default() };
            engine.pack(&plan, &weights).map(drop)
        };
        let gamma = [1.0, 1.0, 1000.0, 1.0];
        for variant in ["fused/direct", "fused/staged"] {
            let message = "w_hh is 100000 in output channel 2 after folding: \
                           must be 65504 or less in size, the most that f16 holds";
            assert_eq!(refusal(pack(variant, Dtype::F16, 100.0, gamma)), message);
            assert_eq!(pack(variant, Dtype::F32, 100.0, gamma), Ok(()));
            assert_eq!(pack(variant, Dtype::F16, 65.504, gamma), Ok(()));
            assert_eq!(pack(variant, Dtype::F16, f32::INFINITY, gamma), Ok(()));
            let message = refusal(pack(variant, Dtype::F32, 1e30, [1.0, 1e30, 1.0, 1.0]));
            assert!(message.starts_with("w_hh is 1") && message.ends_with("the most that f32 holds"), "{message}");
        }
        // A point of a Winograd tile takes up to 2.25 times a weight.
        let winograd = "transform/winograd/t16c4f-f2h2w";
        assert_eq!(pack(winograd, Dtype::F16, 20_000.0, [1.0; 4]), Ok(()));
        let message = refusal(pack(winograd, Dtype::F16, 40_000.0, [1.0; 4]));
        assert!(message.starts_with("w_hh is 90000 in output channel 0 after folding: "), "{message}");
    }

    #[test]
    fn outputs_over_inputs() {
        let fixture = Fixture::new();
        let shared = Tensors { y_h: fixture.tensors().x_h, ..fixture.tensors() };
        let message = "tensor y_h: it overlaps with x_h in their buffer";
        assert_eq!(refusal(fixture.bind(shared)), message);
        let large = buffer(fixture.engine.device(), 1000);
        let place = |offset| Some(TensorBinding { buffer: &large, offset });
        let apart = |x_l, y_l| Tensors { x_l: place(x_l), y_l: place(y_l), ..fixture.tensors() };
        assert_eq!(fixture.bind(apart(0, 1024)), Ok(()));
        let message = "tensor y_l: it overlaps with x_l in their buffer";
        assert_eq!(refusal(fixture.bind(apart(256, 256))), message);
        // Inputs may overlap, but not in a buffer that is written: each would be bound as if it were written.
        let inputs = |y_l| Tensors { x_h: place(0), x_l: place(0), y_l, ..fixture.tensors() };
        assert_eq!(fixture.bind(inputs(fixture.tensors().y_l)), Ok(()));
        let message = "tensor x_l: it overlaps with x_h in their buffer";
        assert_eq!(refusal(fixture.bind(inputs(place(2048)))), message);
    }

    #[test]
    fn scratch_and_weights_of_the_caller() {
        let fixture = Fixture::new();
        let variant = Some("pool-first/direct".parse().unwrap());
        let options = Options { variant, pooled_output: false, ..*fixture.plan.options() };
        let plan = fixture.engine.plan(fixture.plan.spec(), SIZE, &options).unwrap();
        let bytes = plan.scratch_bytes();
        assert!(bytes > 0);
        let large = buffer(fixture.engine.device(), 4096);
        let bind = |weights: &PackedWeights, scratch| {
            let tensors = Tensors { scratch, y_p: None, y_h: place(&large, 0), ..fixture.tensors() };
            fixture.engine.bind(&plan, weights, &tensors).map(drop)
        };
        fn place(buffer: &wgpu::Buffer, offset: u64) -> Option<TensorBinding<'_>> {
            Some(TensorBinding { buffer, offset })
        }
        let packed = fixture.engine.place_weights(&plan, (&buffer(fixture.engine.device(), 4096)).into()).unwrap();
        assert_eq!(packed.bytes(), plan.weights_bytes());
        let end = large.size();
        assert_eq!(bind(&packed, place(&large, 8192)), Ok(()));
        assert_eq!(refusal(bind(&packed, place(&large, 0))), "tensor scratch: it overlaps with y_h in their buffer");
        let message = format!("tensor scratch: its {bytes} bytes from offset {end} on exceed a buffer of {end}");
        assert_eq!(refusal(bind(&packed, place(&large, end))), message);
        let message = refusal(bind(&packed, place(&large, 8193)));
        assert!(message.starts_with("tensor scratch: its offset is 8193, which must be a multiple of "), "{message}");

        let inside = fixture.engine.place_weights(&plan, TensorBinding { buffer: &large, offset: 8192 }).unwrap();
        let message =
            "tensor weights: it shares a buffer with y_h, which is bound as written: weights need another one";
        assert_eq!(refusal(bind(&inside, None)), message);
        let message = refusal(fixture.engine.place_weights(&plan, TensorBinding { buffer: &large, offset: end }));
        assert!(message.starts_with("tensor weights: its "), "{message}");
    }

    /// Drivers load weights faster if they know that nobody writes them. So they are never bound as written, and wgpu refuses
    /// a dispatch that binds a buffer in both ways.
    #[test]
    fn weights_may_lie_with_inputs_unless_these_are_bound_as_written() {
        let fixture = Fixture::new();
        let device = fixture.engine.device();
        let read_write = Engine::new(device, EngineOptions { read_write: true, ..EngineOptions::default() });
        let (bytes, options) = (fixture.plan.weights_bytes(), fixture.plan.options());
        let arena = buffer(device, bytes.div_ceil(4) + 1024);
        let scratch = buffer(device, 4096);
        let bind = |engine: &Engine, variant: &str, tensors: Tensors| {
            let options = Options { variant: Some(variant.parse().unwrap()), ..*options };
            let plan = engine.plan(fixture.plan.spec(), SIZE, &options).unwrap();
            let weights = engine.place_weights(&plan, TensorBinding { buffer: &arena, offset: 2048 }).unwrap();
            engine.bind(&plan, &weights, &tensors)
        };
        let with = |x_h| Tensors { x_h: Some(x_h), scratch: Some((&scratch).into()), ..fixture.tensors() };
        for variant in ["fused/direct", "pool-first/direct"] {
            let message =
                "tensor weights: it shares a buffer with x_h, which is bound as written: weights need another one";
            assert_eq!(refusal(bind(&read_write, variant, with((&arena).into()))), message);
            // What is bound is what wgpu takes.
            for (engine, x_h) in [(&fixture.engine, &arena), (&read_write, &fixture.x_h)] {
                let layer = bind(engine, variant, with(x_h.into())).unwrap();
                let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
                let mut encoder = device.create_command_encoder(&Default::default());
                layer.record(&mut encoder.begin_compute_pass(&Default::default()));
                drop(encoder.finish());
                assert!(pollster::block_on(scope.pop()).is_none());
            }
        }
        let tensors = Tensors { scratch: Some((&arena).into()), ..fixture.tensors() };
        let message = refusal(bind(&read_write, "pool-first/direct", tensors));
        assert!(message.starts_with("tensor weights: it shares a buffer with scratch, "), "{message}");
    }

    #[test]
    fn outputs_over_outputs() {
        let fixture = Fixture::new();
        let large = buffer(fixture.engine.device(), 1000);
        let place = |offset| Some(TensorBinding { buffer: &large, offset });
        let outputs =
            |y_h, y_l, y_p| Tensors { y_h: place(y_h), y_l: place(y_l), y_p: place(y_p), ..fixture.tensors() };
        assert_eq!(fixture.bind(outputs(0, 768, 1024)), Ok(()));
        assert_eq!(fixture.bind(outputs(512, 256, 1280)), Ok(()));
        let message = refusal(fixture.bind(outputs(0, 512, 1024)));
        assert_eq!(message, "tensor y_l: it overlaps with y_h in their buffer");
        let message = refusal(fixture.bind(outputs(256, 0, 768)));
        assert_eq!(message, "tensor y_p: it overlaps with y_h in their buffer");
    }

    #[test]
    fn inputs_may_share() {
        let fixture = Fixture::new();
        assert_eq!(fixture.bind(Tensors { x_l: fixture.tensors().x_h, ..fixture.tensors() }), Ok(()));
    }

    #[test]
    fn weights_of_another_packing() {
        let fixture = Fixture::new();
        let options = Options {
            precision: Precision { weights: Dtype::F16, ..fixture.plan.options().precision },
            ..*fixture.plan.options()
        };
        let halves = fixture.engine.plan(fixture.plan.spec(), SIZE, &options).unwrap();
        let message = refusal(fixture.engine.bind(&halves, &fixture.packed, &fixture.tensors()));
        let (packed, plan) = message
            .strip_prefix("the weights were packed as ")
            .and_then(|rest| rest.strip_suffix("; pack them again for this plan"))
            .and_then(|rest| rest.split_once(", but this plan reads "))
            .unwrap_or_else(|| panic!("{message}"));
        assert!(packed.starts_with("f32 x4 HH[") && packed.contains(" LL["), "{packed}");
        assert_eq!(plan, packed.replace("f32", "f16"));
    }

    #[test]
    fn weights_of_another_layer() {
        let fixture = Fixture::new();
        // As many blocks of channels, but fewer channels into them.
        let spec = split((3, 2), (4, 2)).kernel([3, 3]).same_padding().build().unwrap();
        let other = fixture.engine.plan(&spec, SIZE, fixture.plan.options()).unwrap();
        let message = refusal(fixture.engine.bind(&other, &fixture.packed, &fixture.tensors()));
        assert!(message.starts_with("the weights were packed as f32 "), "{message}");
    }

    #[test]
    fn weights_of_another_length() {
        let fixture = Fixture::new();
        let pack = |weights: Weights| refusal(fixture.engine.pack(&fixture.plan, &weights));
        let short = Weights { w_hl: Some(&ONES[..71]), ..weights() };
        assert_eq!(pack(short), "tensor w_hl has 71 elements, but its shape 2x4x3x3 has 72");
        let missing = Weights { w_ll: None, ..weights() };
        assert_eq!(pack(missing), "tensor w_ll is missing, but the layer needs it");
        let surplus = Weights { bias_h: Some(&ONES[..4]), ..weights() };
        assert_eq!(pack(surplus), "tensor bias_h is given, but the layer does not use it");
    }

    #[test]
    fn a_buffer_of_another_device() {
        let noop = wgpu::NoopBackendOptions::enabled();
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::NOOP,
            backend_options: wgpu::BackendOptions { noop, ..Default::default() },
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
        let [device, other] =
            [0, 1].map(|_| pollster::block_on(adapter.request_device(&Default::default())).unwrap().0);
        let engine = Engine::new(&device, EngineOptions::default());
        let plan = engine.plan(&split((1, 0), (1, 0)).build().unwrap(), SIZE, &Options::default()).unwrap();
        let packed = engine.pack(&plan, &Weights { w_hh: Some(&[1.0]), ..Weights::default() }).unwrap();
        let bind = |x_h: &wgpu::Buffer| {
            let y_h = buffer(&device, 48);
            let tensors = Tensors { x_h: Some(x_h.into()), y_h: Some((&y_h).into()), ..Tensors::default() };
            engine.bind(&plan, &packed, &tensors)
        };
        assert!(bind(&buffer(&device, 48)).is_ok());
        let message = refusal(bind(&buffer(&other, 48)));
        assert!(message.starts_with("binding direct ") && message.contains(" failed: "), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }

    #[test]
    fn a_destroyed_buffer() {
        let fixture = Fixture::new();
        fixture.x_h.destroy();
        let message = refusal(fixture.bind(fixture.tensors()));
        assert!(message.contains("destroyed"), "{message}");
    }
}

mod reading {
    use super::*;
    use crate::common::context;

    #[test]
    fn beyond_the_buffer() {
        let context = context();
        let buffer = context.upload(&[1.0, 2.0, 3.0, 4.0], Dtype::F32).unwrap();
        let read = |offset, elements, dtype| context.read(&buffer, offset, elements, dtype);
        assert_eq!(read(4, 3, Dtype::F32), Ok(vec![2.0, 3.0, 4.0]));
        assert_eq!(read(16, 0, Dtype::F32), Ok(Vec::new()));
        for elements in [5, 1 << 62, u64::MAX] {
            let message = format!("elements is {elements}: must be at most 4, as many f32 as the buffer holds");
            assert_eq!(refusal(read(0, elements, Dtype::F32)), message);
        }
        let message = "elements is 18446744073709551615: must be at most 8, as many f16 as the buffer holds";
        assert_eq!(refusal(read(0, u64::MAX, Dtype::F16)), message);
        let message = "size is 12: must be at most 8, the bytes of the buffer from offset 8 on";
        assert_eq!(refusal(read(8, 3, Dtype::F32)), message);
        assert_eq!(refusal(read(20, 0, Dtype::F32)), "offset is 20: must be at most 16, the size of the buffer");
        assert_eq!(refusal(read(2, 1, Dtype::F16)), "offset is 2: must be a multiple of 4");
        assert_eq!(refusal(context.read_bytes(&buffer, 0, 6)), "size is 6: must be a multiple of 4");
        assert!(refusal(context.read_bytes(&buffer, u64::MAX - 3, 4)).starts_with("offset is "));
    }
}

#[cfg(feature = "context")]
mod opening {
    use std::process::Command;

    use super::*;
    use octconv::{Context, ContextOptions};

    /// Runs the test `name` of this binary again in an environment of its own. Started by its own name: where a loader
    /// was told to run the binary, the current executable is the loader.
    fn again(name: &str, variable: &str, value: &str) {
        let mut command = Command::new(std::env::args_os().next().unwrap());
        let output = command.args(["--exact", &format!("errors::{name}")]).env(variable, value).output().unwrap();
        let [stdout, stderr] = [&output.stdout, &output.stderr].map(|printed| String::from_utf8_lossy(printed));
        assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}{stderr}");
    }

    #[test]
    fn without_an_adapter() {
        if std::env::var("WGPU_BACKEND").as_deref() != Ok("noop") {
            return again("opening::without_an_adapter", "WGPU_BACKEND", "noop");
        }
        let error = Context::new(&ContextOptions::default()).unwrap_err();
        assert!(matches!(error, Error::NoAdapter { .. }), "{error:?}");
        assert!(error.to_string().contains("apt-get install mesa-vulkan-drivers"), "{error}");
    }

    #[test]
    fn an_adapter_that_is_not_there() {
        if std::env::var("WGPU_ADAPTER_NAME").as_deref() != Ok("no such thing") {
            return again("opening::an_adapter_that_is_not_there", "WGPU_ADAPTER_NAME", "no such thing");
        }
        let message = refusal(Context::new(&ContextOptions::default()));
        let wanted = "WGPU_ADAPTER_NAME is no such thing: must be part of the name of an adapter; found: ";
        assert!(message.starts_with(wanted), "{message}");
    }

    #[test]
    fn limits_beyond_the_adapter() {
        let limits = wgpu::Limits { max_compute_workgroups_per_dimension: u32::MAX, ..wgpu::Limits::default() };
        let options = ContextOptions { limits: Some(limits), ..ContextOptions::default() };
        let message = refusal(Context::new(&options));
        assert!(message.starts_with("opening the device failed: "), "{message}");
        assert!(message.contains("max_compute_workgroups_per_dimension"), "{message}");
    }

    #[test]
    fn checks_by_environment() {
        const VARIABLE: &str = "OCTCONV_CHECKED";
        if std::env::var_os(VARIABLE).is_none() {
            return again("opening::checks_by_environment", VARIABLE, "1");
        }
        let (device, _) = noop();
        let checked =
            |checked| Engine::new(&device, EngineOptions { checked, ..EngineOptions::default() }).is_checked();
        let asked = std::env::var(VARIABLE).unwrap();
        assert_eq!(checked(None), !["", "0"].contains(&asked.as_str()));
        assert!(checked(Some(true)) && !checked(Some(false)));
    }
}
