//! The choice of kernels: a pure function from specification, size, options and device facts to a [`Plan`].
//!
//! Nothing here touches a device, so that a plan can be made, printed and compared anywhere.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Extent};
use crate::estimate::{self, Work};
use crate::gpu::AdapterFacts;
use crate::kernels::{Kernel, Types, Words, add, direct, matrix, pointwise, pool, reduce, staged, upsample, winograd};
use crate::packing::Packing;
use crate::spec::{Activation, Dims, Downsample, Frequency, Groups, InputSize, Path, Sampling, Shapes, Spec};

/// The type of stored elements. Sums are f32 unless [`Options::sums`] says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats. As activations they need the device feature `SHADER_F16`; as weights no feature, only what every
    /// WebGPU device has (`DownlevelFlags::SHADER_F16_IN_F32`).
    F16,
}

impl Dtype {
    /// Bytes an element.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    pub(crate) fn wgsl(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wgsl())
    }
}

impl FromStr for Dtype {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        match s {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            _ => Err(Error::argument("dtype", s, "must be f32 or f16")),
        }
    }
}

/// Into how many dispatches a layer is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// All paths and the epilogue of both outputs in one dispatch.
    Fused,
    /// Every pooled map first, into scratch, a dispatch each; then one dispatch that reads them.
    PoolFirst,
    /// One dispatch an output: fewer bindings each, for layers with more tensors than a small device can bind.
    Split,
    /// What is done at low resolution first, Y_L and the sums of L->H, in scratch; then Y_H, which starts from them. Each
    /// weight then serves as many positions as in a convolution without octaves.
    LowFirst,
    /// The input channels in slices, for small maps on large devices: each slice's partial sums by workgroups of their own,
    /// in f32, into scratch, then a dispatch that adds them up. Pooled maps come first.
    SplitK,
    /// The inputs at the points of a transform, products there, and the outputs from those, in scratch between. At
    /// stride 2 the pooled maps come first, a dispatch each.
    Transform,
    /// Pool, four convolutions, upsample and adds, each its own dispatch: what fusing is measured against.
    Unfused,
}

/// Which kernel convolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `shaders/direct.wgsl`: any layer.
    Direct,
    /// The same with short sums of f16, two of them an instruction where the device packs them: where [`Options::sums`]
    /// allows it, groups of two channels and more.
    DirectF16,
    /// `shaders/pointwise.wgsl`: 1x1.
    Pointwise,
    /// `shaders/staged.wgsl`: any layer of one group, by tiles in workgroup memory.
    Staged,
    /// The same with short sums of f16, as [`Family::DirectF16`].
    StagedF16,
    /// `shaders/matrix.wgsl`: f16, on devices with matrix units; any kernel, one group.
    Matrix,
    /// `shaders/winograd_input.wgsl` and what follows it: dense 3x3, whose strides are averages.
    Winograd,
}

impl Strategy {
    /// All there are.
    pub const ALL: [Self; 7] =
        [Self::Fused, Self::PoolFirst, Self::Split, Self::LowFirst, Self::SplitK, Self::Transform, Self::Unfused];

    fn name(self) -> &'static str {
        match self {
            Self::Fused => "fused",
            Self::PoolFirst => "pool-first",
            Self::Split => "split",
            Self::LowFirst => "low-first",
            Self::SplitK => "split-k",
            Self::Transform => "transform",
            Self::Unfused => "unfused",
        }
    }
}

impl Family {
    /// All there are.
    pub const ALL: [Self; 7] =
        [Self::Direct, Self::DirectF16, Self::Pointwise, Self::Staged, Self::StagedF16, Self::Matrix, Self::Winograd];

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::DirectF16 => "direct-f16",
            Self::Pointwise => "pointwise",
            Self::Staged => "staged",
            Self::StagedF16 => "staged-f16",
            Self::Matrix => "matrix",
            Self::Winograd => "winograd",
        }
    }

    /// In which its products are made, and a few of them added up.
    fn products(self) -> Dtype {
        match self {
            Self::DirectF16 | Self::StagedF16 => Dtype::F16,
            Self::Direct | Self::Pointwise | Self::Staged | Self::Matrix | Self::Winograd => Dtype::F32,
        }
    }

    /// The names of its tiles: how much of the output a thread makes, or a workgroup of the staged kernel.
    pub fn tiles(self) -> Vec<&'static str> {
        match self {
            Self::Direct | Self::DirectF16 => direct::TILES.iter().map(|&(name, _)| name).collect(),
            Self::Pointwise => pointwise::TILES.iter().map(|&(name, _)| name).collect(),
            Self::Staged | Self::StagedF16 => staged::TILES.iter().map(|&(name, _)| name).collect(),
            Self::Matrix => matrix::TILES.iter().map(|&(name, _)| name).collect(),
            Self::Winograd => winograd::TILES.iter().map(|&(name, _)| name).collect(),
        }
    }
}

/// One way to run a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Into how many dispatches it is cut.
    pub strategy: Strategy,
    /// Which kernel convolves.
    pub family: Family,
    /// How much of the output a thread makes, one of [`Family::tiles`]; `None` leaves it to the planner. A plan's own
    /// variant always has it.
    pub tile: Option<&'static str>,
}

impl Variant {
    /// Every strategy with every family, the tile left to the planner; [`Plan::candidates`] tells which a layer can
    /// have.
    pub fn all() -> impl Iterator<Item = Self> {
        let pair = |strategy| Family::ALL.into_iter().map(move |family| Self { strategy, family, tile: None });
        Strategy::ALL.into_iter().flat_map(pair)
    }

    /// The variant with the tile left to the planner.
    pub fn untiled(self) -> Self {
        Self { tile: None, ..self }
    }

    /// Outputs of a tile along an axis, where it transforms tiles.
    #[cfg(feature = "context")]
    pub(crate) fn winograd_tile(self) -> Option<u32> {
        let wanted = |&(name, _): &(&str, winograd::Tile)| Some(name) == self.tile;
        winograd::TILES
            .iter()
            .find(|tile| wanted(tile) && self.family == Family::Winograd)
            .map(|(_, tile)| tile.outputs)
    }

    /// The variant with each of its family's tiles.
    pub(crate) fn tiled(self) -> impl Iterator<Item = Self> {
        self.family.tiles().into_iter().map(move |tile| Self { tile: Some(tile), ..self })
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.strategy.name(), self.family.name())?;
        self.tile.map_or(Ok(()), |tile| write!(f, "/{tile}"))
    }
}

impl FromStr for Variant {
    type Err = Error;

    /// `STRATEGY/FAMILY` or `STRATEGY/FAMILY/TILE`.
    fn from_str(s: &str) -> Result<Self, Error> {
        let names = || Self::all().map(|v| v.to_string()).collect::<Vec<_>>().join(", ");
        let unknown = || Error::argument("variant", s, format!("must be one of {}", names()));
        let mut parts = s.splitn(3, '/');
        let (strategy, family) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let variant =
            Self::all().find(|v| v.strategy.name() == strategy && v.family.name() == family).ok_or_else(unknown)?;
        let Some(wanted) = parts.next() else { return Ok(variant) };
        let tiles = variant.family.tiles();
        let tile = tiles.iter().copied().find(|&tile| tile == wanted).ok_or_else(|| {
            Error::argument("variant", s, format!("must have a tile of its family: {}", tiles.join(", ")))
        })?;
        Ok(Self { tile: Some(tile), ..variant })
    }
}

/// What a caller wants of a layer beside its specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The type of all tensors but the weights.
    pub activations: Dtype,
    /// The type of packed weights; biases stay f32.
    pub weights: Dtype,
    /// The narrowest type that products may be added up in. With f16, which activations and weights of f16 allow, packed
    /// arithmetic is among the candidates: it adds up to 32 products in f16, where a sum beyond 65504 is infinite, and
    /// those sums in f32. An output then errs by up to n + 2 times 2⁻¹¹ of the sum of its terms' magnitudes, with n
    /// products to a sum, by about the root of that where signs are random.
    pub sums: Dtype,
    /// The caller has pool(X_H) at hand. At stride 2 the layer then does not read X_H at all.
    pub pooled_input: bool,
    /// The layer also writes pool(Y_H).
    pub pooled_output: bool,
    /// Y_H is these channels of a larger tensor: a concatenation without a copy. Not with a residual or `pooled_output`.
    pub high_slice: Option<Slice>,
    /// Y_L is these channels of a larger tensor.
    pub low_slice: Option<Slice>,
    /// The most bytes of intermediate maps: variants that need more are refused.
    pub scratch_limit: Option<u64>,
    /// Runs this variant or fails, instead of the planner's choice.
    pub variant: Option<Variant>,
}

/// Channels of a larger tensor: from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Channels in front of the slice.
    pub first: u32,
    /// Channels of the whole tensor.
    pub of: u32,
}

impl Slice {
    /// A tensor that is all there is.
    pub(crate) fn whole(channels: u32) -> Self {
        Self { first: 0, of: channels }
    }
}

/// What the planner needs to know of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceFacts {
    /// The limits the device was created with.
    pub limits: wgpu::Limits,
    /// The features the device was created with.
    pub features: wgpu::Features,
    /// Whether it is a software device: narrow vectors, no latency to hide.
    pub software: bool,
    /// Rows, columns and depth of the largest square matrices that the device multiplies at once, with f16 factors and
    /// f32 sums: 8 or 16. `None` where it cannot, lacks `SHADER_F16` or `EXPERIMENTAL_COOPERATIVE_MATRIX`, or where
    /// nobody told: a device does not know, its adapter does.
    pub matrix: Option<u32>,
    /// The fewest and the most threads that a subgroup can have, powers of two.
    pub subgroup_sizes: [u32; 2],
}

/// The features that octconv has a use for; it needs none of them.
pub(crate) const USEFUL_FEATURES: wgpu::Features = wgpu::Features::SHADER_F16
    .union(wgpu::Features::SHADER_INT64)
    .union(wgpu::Features::TIMESTAMP_QUERY)
    .union(wgpu::Features::SUBGROUP)
    .union(wgpu::Features::PIPELINE_CACHE)
    .union(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);

impl Default for DeviceFacts {
    /// A GPU with wgpu's default limits and no features: what an embedder gets who asks for nothing.
    fn default() -> Self {
        Self {
            limits: wgpu::Limits::default(),
            features: wgpu::Features::empty(),
            software: false,
            matrix: None,
            subgroup_sizes: [wgpu::MINIMUM_SUBGROUP_MIN_SIZE, wgpu::MAXIMUM_SUBGROUP_MAX_SIZE],
        }
    }
}

impl DeviceFacts {
    /// The facts of a device at hand. Those that only the adapter knows are missing: see [`DeviceFacts::with_adapter`].
    pub fn of(device: &wgpu::Device) -> Self {
        let info = device.adapter_info();
        Self {
            limits: device.limits(),
            features: device.features(),
            software: info.device_type == wgpu::DeviceType::Cpu,
            matrix: None,
            subgroup_sizes: [info.subgroup_min_size, info.subgroup_max_size],
        }
    }

    /// The facts of a device with all limits of this adapter, and those of its features that octconv has a use for.
    pub fn of_adapter(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        Self {
            limits: adapter.limits(),
            features: adapter.features() & USEFUL_FEATURES,
            software: info.device_type == wgpu::DeviceType::Cpu,
            matrix: None,
            subgroup_sizes: [info.subgroup_min_size, info.subgroup_max_size],
        }
        .with_adapter(&AdapterFacts::of(adapter))
    }

    /// Adds what only the adapter knows, as far as the device's features allow its use.
    pub fn with_adapter(self, adapter: &AdapterFacts) -> Self {
        use wgpu::CooperativeScalarType::{F16, F32};
        let needs = wgpu::Features::SHADER_F16 | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let shapes = adapter.cooperative_matrices.iter().filter(|shape| {
            let square = shape.m_size == shape.n_size && shape.n_size == shape.k_size;
            // WGSL has the types coop_mat8x8 and coop_mat16x16.
            square && matches!(shape.m_size, 8 | 16) && (shape.ab_type, shape.cr_type) == (F16, F32)
        });
        let matrix = shapes.map(|shape| shape.m_size).max().filter(|_| self.features.contains(needs));
        Self { matrix, ..self }
    }

    /// Threads that run in step: a GPU's wave is 32 or 64 of them, a software device's vector 4 or 8.
    fn vector(&self) -> u32 {
        if self.software { 8 } else { 32 }
    }

    /// What kernels read and write at once.
    pub(crate) fn words(&self) -> Words {
        match (self.software, self.features.contains(wgpu::Features::SHADER_INT64)) {
            (false, _) => Words::Vectors,
            (true, true) => Words::Integers,
            (true, false) => Words::Elements,
        }
    }

    /// Threads of a workgroup for outputs that need so many threads each: the largest size that wastes little.
    pub(crate) fn workgroup_for(&self, threads: impl IntoIterator<Item = u64>) -> u32 {
        let threads: Vec<u64> = threads.into_iter().collect();
        let allowed = self.limits.max_compute_invocations_per_workgroup.min(self.limits.max_compute_workgroup_size_x);
        let smallest = self.vector();
        let padded = |size: u32| threads.iter().map(|t| t.next_multiple_of(u64::from(size))).sum::<u64>();
        let sizes = [64, 32, 16, 8].into_iter().filter(|&size| size >= smallest && size <= allowed);
        let least = sizes.clone().map(padded).min().unwrap_or(0);
        sizes.into_iter().find(|&size| padded(size) * 10 <= least * 11).unwrap_or(allowed.clamp(1, 64))
    }
}

/// A tensor of a layer, or a buffer of its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TensorId {
    Weights,
    XH,
    XL,
    XP,
    ResidualH,
    ResidualL,
    YH,
    YL,
    YP,
    Scratch(usize),
}

impl TensorId {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::XH => "x_h",
            Self::XL => "x_l",
            Self::XP => "x_p",
            Self::ResidualH => "residual_h",
            Self::ResidualL => "residual_l",
            Self::YH => "y_h",
            Self::YL => "y_l",
            Self::YP => "y_p",
            Self::Scratch(_) => "scratch",
        }
    }
}

/// A tensor that a caller binds for a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanTensor {
    /// `x_h`, `x_l`, `x_p`, `residual_h`, `residual_l`, `y_h`, `y_l` or `y_p`.
    pub name: &'static str,
    /// Its shape.
    pub dims: Dims,
    /// Whether the layer writes it; otherwise it reads it.
    pub written: bool,
}

/// A tensor with its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    pub(crate) id: TensorId,
    pub(crate) dims: Dims,
}

/// What one convolving dispatch has to do. The slots are those of the kernels, in the order of [`Path::ALL`]: the
/// unfused strategy runs every path in the slot of H->H.
#[derive(Clone, Debug, Default)]
pub(crate) struct Job {
    pub(crate) paths: [Option<PathJob>; 4],
    pub(crate) high: Option<OutputJob>,
    pub(crate) low: Option<OutputJob>,
    pub(crate) activation: Activation,
    /// Rows and columns of the L->H convolution before it is replicated.
    pub(crate) low_extent: Option<Extent>,
    /// The sums of L->H, where an earlier dispatch has made them. The path itself is absent then.
    pub(crate) low_sums: Option<Operand>,
    /// Both outputs are at low resolution: Y_L, and the sums of L->H in the place of Y_H.
    pub(crate) at_low_resolution: bool,
    /// Into how many slices the input channels are cut; the outputs are the partial sums of each, one behind the other.
    pub(crate) slices: Option<u32>,
}

impl Job {
    pub(crate) fn path(&self, path: Path) -> Option<&PathJob> {
        self.paths[path as usize].as_ref()
    }

    /// Bytes of all tensors but the weights, each counted once.
    pub(crate) fn bytes(&self, dtype: Dtype) -> u64 {
        let mut tensors: Vec<Operand> = self.paths.iter().flatten().map(|path| path.source).collect();
        // Partial sums of slices are f32.
        let times = self.slices.map_or(1, |slices| slices * (4 / dtype.bytes()) as u32);
        for output in [&self.high, &self.low].into_iter().flatten() {
            let dims = output.y.dims;
            tensors.push(Operand { dims: Dims { n: dims.n.saturating_mul(times), ..dims }, ..output.y });
            tensors.extend(output.residual.map(|id| Operand { id, ..output.y }));
            tensors.extend(output.pooled);
        }
        tensors.extend(self.low_sums);
        tensors.sort_by_key(|operand| operand.id);
        tensors.dedup_by_key(|operand| operand.id);
        tensors.iter().map(|operand| operand.dims.elements().saturating_mul(dtype.bytes())).sum()
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct PathJob {
    pub(crate) source: Operand,
    pub(crate) sampling: Sampling,
    /// Whose weights it uses.
    pub(crate) weights: Path,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputJob {
    pub(crate) y: Operand,
    pub(crate) groups: u32,
    /// Where in the tensor `y` its channels lie.
    pub(crate) slice: Slice,
    /// Which row of the output is the first of `y`; those behind the last of `y` are left out.
    pub(crate) first_row: u32,
    /// Whose bias it adds; `None` for a partial sum.
    pub(crate) bias: Option<Frequency>,
    pub(crate) residual: Option<TensorId>,
    /// pool(y), where it is written too.
    pub(crate) pooled: Option<Operand>,
}

/// Workgroups in two dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) x: u32,
    pub(crate) y: u32,
}

impl Grid {
    /// The most workgroups of which sixteen times as many can be counted in 32 bits, as `shaders/turns.wgsl` does.
    const MOST: u64 = (1 << 28) - 1;

    /// As few rows as fit: kernels count workgroups as x + y * grid_x, and skip those beyond the last.
    pub(crate) fn fold(workgroups: u64, facts: &DeviceFacts) -> Result<Self, Error> {
        let most = u64::from(facts.limits.max_compute_workgroups_per_dimension.max(1));
        let y = workgroups.div_ceil(most).max(1);
        let x = workgroups.div_ceil(y).max(1);
        if y > most || x * y > Self::MOST {
            let (limit, allowed) = match most * most {
                squared if squared <= Self::MOST => ("max_compute_workgroups_per_dimension squared", squared),
                _ => ("what kernels can count", Self::MOST),
            };
            let what = "the layer's output, in workgroups,".into();
            return Err(Error::Limit { what, needs: workgroups, limit, allowed });
        }
        Ok(Self { x: x as u32, y: y as u32 })
    }
}

/// One dispatch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) kernel: Kernel,
    /// The bytes of its uniform.
    pub(crate) shape: Vec<u8>,
    /// What is bound, in binding order behind the uniform.
    pub(crate) tensors: Vec<TensorId>,
    pub(crate) grid: Grid,
    /// How it wants its weights, where it has any.
    pub(crate) packing: Option<Packing>,
    /// What it asks of a device.
    pub(crate) work: Work,
}

/// A layer at a size, cut into dispatches for a device. Make one with [`Plan::new`].
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub(crate) spec: Spec,
    pub(crate) size: InputSize,
    pub(crate) options: Options,
    pub(crate) shapes: Shapes,
    pub(crate) variant: Variant,
    pub(crate) steps: Vec<Step>,
    pub(crate) scratch: Vec<Dims>,
    pub(crate) tuned: bool,
}

impl Plan {
    /// Plans a layer: the variant that `options` forces, or else the first of [`Plan::candidates`].
    pub fn new(spec: &Spec, size: InputSize, options: &Options, facts: &DeviceFacts) -> Result<Self, Error> {
        let wanted = |variant: &Variant| match options.variant {
            None => true,
            Some(forced) => {
                variant.untiled() == forced.untiled() && forced.tile.is_none_or(|t| Some(t) == variant.tile)
            }
        };
        let mut best: Option<(f64, Self)> = None;
        let mut first_error = None;
        for variant in Variant::all().flat_map(Variant::tiled).filter(wanted) {
            match Self::with_variant(spec, size, options, facts, variant) {
                Ok(plan) => {
                    let cost = plan.rank(facts);
                    if best.as_ref().is_none_or(|&(least, _)| cost < least) {
                        best = Some((cost, plan));
                    }
                }
                // What is in the way of a variant that applies says more than why another does not apply.
                Err(error) if matches!(first_error, None | Some(Error::Variant { .. })) => first_error = Some(error),
                Err(_) => {}
            }
        }
        let none = || first_error.unwrap_or_else(|| Error::argument("variant", "none", "at least one must be legal"));
        best.map(|(_, plan)| plan).ok_or_else(none)
    }

    /// Every legal plan of a layer, no two of a variant with the same dispatches, the best by the planner's estimate first;
    /// those of the unfused strategy, which are there to be compared with, last.
    pub fn candidates(spec: &Spec, size: InputSize, options: &Options, facts: &DeviceFacts) -> Vec<Self> {
        let options = Options { variant: None, ..*options };
        let plan = |variant| Self::with_variant(spec, size, &options, facts, variant).ok();
        let mut plans: Vec<Self> = Vec::new();
        for plan in Variant::all().flat_map(Variant::tiled).filter_map(plan) {
            // Narrow outputs make one tile of several.
            let same = |other: &Self| other.variant.untiled() == plan.variant.untiled() && other.steps == plan.steps;
            if !plans.iter().any(same) {
                plans.push(plan);
            }
        }
        plans.sort_by(|a, b| a.rank(facts).total_cmp(&b.rank(facts)));
        plans
    }

    /// The dispatch for the rows of Y_H from `first` on, as many as `y` has, into `y`. Only of a plain convolution that
    /// the direct kernel does in one dispatch, and without a residual or slices.
    #[cfg(feature = "network")]
    pub(crate) fn band(&self, first: u32, y: Dims, facts: &DeviceFacts) -> Result<Step, Error> {
        let (spec, shapes, options) = (&self.spec, self.shapes, &self.options);
        let planner = Planner { spec, shapes, options, facts, variant: self.variant, scratch: Vec::new() };
        let plain = [Path::HL, Path::LH, Path::LL].into_iter().all(|path| !spec.has(path));
        let whole = options.high_slice.is_none() && !options.pooled_output && !spec.has_residual(Frequency::High);
        if !(plain && whole && self.is_banded_kind()) {
            return Err(planner.refuse("only a plain convolution in one dispatch is made in bands"));
        }
        let mut job = planner.job(None);
        if let Some(high) = &mut job.high {
            high.y.dims = y;
            high.first_row = first;
        }
        planner.convolve(&job)
    }

    /// Whether the kernel can make a band of rows.
    #[cfg(feature = "network")]
    pub(crate) fn is_banded_kind(&self) -> bool {
        self.variant.strategy == Strategy::Fused && matches!(self.variant.family, Family::Direct | Family::DirectF16)
    }

    /// Microseconds that the planner expects the layer to take on a nominal device of the kind that `facts` tell:
    /// good for comparing plans, no prediction of a time.
    pub fn estimate(&self, facts: &DeviceFacts) -> f64 {
        self.steps.iter().map(|step| step.work.estimate(facts)).sum()
    }

    /// By what candidates are sorted.
    fn rank(&self, facts: &DeviceFacts) -> f64 {
        // Never the planner's choice, whatever it estimates: what fusing is measured against.
        let handicap = if self.variant.strategy == Strategy::Unfused { 1e6 } else { 0.0 };
        self.estimate(facts) + handicap
    }

    /// The specification.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The size it was planned for.
    pub fn size(&self) -> InputSize {
        self.size
    }

    /// The options it was planned with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The shapes of all tensors.
    pub fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    /// The variant it runs.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Whether the variant was measured to be the fastest, and not estimated: see [`Choices`](crate::Choices).
    pub fn is_tuned(&self) -> bool {
        self.tuned
    }

    /// Number of dispatches.
    pub fn dispatches(&self) -> usize {
        self.steps.len()
    }

    /// The kernels in the order of their dispatches, with their tiles.
    pub fn kernels(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.kernel.name()).collect()
    }

    /// The most products that a kernel adds up in f16.
    #[cfg(feature = "context")]
    pub(crate) fn f16_terms(&self) -> u32 {
        let terms = |step: &Step| match &step.kernel {
            Kernel::Direct(constants) => constants.f16_terms(),
            Kernel::Staged(constants) => constants.f16_terms(),
            Kernel::Recipe(named) => named.f16_terms,
            _ => 0,
        };
        self.steps.iter().map(terms).max().unwrap_or(0)
    }

    /// The WGSL sources in the order of their dispatches, as they go to the device.
    pub fn sources(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.kernel.source()).collect()
    }

    /// Bytes of intermediate maps, 0 for a fused layer.
    pub fn scratch_bytes(&self) -> u64 {
        let bytes = |dims: &Dims| dims.elements().saturating_mul(self.options.activations.bytes());
        self.scratch.iter().map(bytes).fold(0, u64::saturating_add)
    }

    /// The tensors that the caller binds, those of [`Tensors`](crate::Tensors) that are not `None`.
    pub fn tensors(&self) -> Vec<PlanTensor> {
        let tensor = |(id, dims, written): (TensorId, Dims, bool)| PlanTensor { name: id.name(), dims, written };
        self.interface().into_iter().map(tensor).collect()
    }

    /// The tensors that the caller binds: id, shape, and whether the layer writes it.
    pub(crate) fn interface(&self) -> Vec<(TensorId, Dims, bool)> {
        interface(&self.spec, &self.shapes, &self.options)
    }

    /// The buffers of packed weights and biases, one for each dispatch that reads any.
    pub(crate) fn packings(&self) -> Vec<&Packing> {
        self.steps.iter().filter_map(|step| step.packing.as_ref()).collect()
    }

    /// The plan of a variant with its tile, or why it cannot run.
    pub(crate) fn with_variant(
        spec: &Spec,
        size: InputSize,
        options: &Options,
        facts: &DeviceFacts,
        variant: Variant,
    ) -> Result<Self, Error> {
        let shapes = spec.shapes(size)?;
        validate_options(spec, &shapes, options, facts)?;
        check_interface(spec, &shapes, options, facts)?;
        let mut planner = Planner { spec, shapes, options, facts, variant, scratch: Vec::new() };
        let steps = planner.steps()?;
        let scratch = planner.scratch;
        let plan = Self { spec: spec.clone(), size, options: *options, shapes, variant, steps, scratch, tuned: false };
        plan.check_limits(facts)?;
        Ok(plan)
    }

    /// Refuses scratch, weights and bindings that exceed the device; the caller's tensors have been checked.
    fn check_limits(&self, facts: &DeviceFacts) -> Result<(), Error> {
        if let Some(allowed) = self.options.scratch_limit.filter(|&most| self.scratch_bytes() > most) {
            let what = format!("scratch of {}, in bytes,", self.variant.untiled());
            return Err(Error::Limit { what, needs: self.scratch_bytes(), limit: "scratch_limit", allowed });
        }
        for &dims in &self.scratch {
            let bytes = dims.elements().saturating_mul(self.options.activations.bytes());
            check_size(&format!("a scratch map of {dims}"), dims.elements(), bytes, facts)?;
        }
        for step in &self.steps {
            if let Some(packing) = &step.packing {
                let bytes = packing.offsets(&self.spec).bytes;
                check_size("the packed weights", bytes / packing.dtype.bytes(), bytes, facts)?;
            }
            let needs = step.tensors.len() as u64;
            let allowed = u64::from(facts.limits.max_storage_buffers_per_shader_stage);
            if needs > allowed {
                let what = format!("a dispatch of {} with its storage buffers", self.variant.untiled());
                let limit = "max_storage_buffers_per_shader_stage";
                return Err(Error::Limit { what, needs, limit, allowed });
            }
        }
        Ok(())
    }
}

/// Refuses tensors that the device could not bind, or the kernels could not index.
fn check_interface(spec: &Spec, shapes: &Shapes, options: &Options, facts: &DeviceFacts) -> Result<(), Error> {
    for (id, dims, _) in interface(spec, shapes, options) {
        let bytes = dims.elements().saturating_mul(options.activations.bytes());
        check_size(&format!("tensor {} of {dims}", id.name()), dims.elements(), bytes, facts)?;
    }
    // A kernel's weights are checked once they are packed, which only adds to them; here so that counts stay small.
    let cost = Path::ALL.into_iter().filter(|&path| spec.has(path)).fold(0u64, |sum, path| {
        let weights = spec.weight_shape(path).iter().fold(1u64, |all, &d| all.saturating_mul(u64::from(d)));
        sum.saturating_add(weights)
    });
    check_size("the weights", cost, cost.saturating_mul(options.weights.bytes()), facts)
}

/// Refuses a buffer that cannot be bound whole, or whose elements 32-bit indices do not reach.
pub(crate) fn check_size(what: &str, elements: u64, bytes: u64, facts: &DeviceFacts) -> Result<(), Error> {
    let index = u64::from(u32::MAX / 2);
    if elements > index {
        let limit = "the number of elements that 32-bit indices reach";
        return Err(Error::Limit { what: what.into(), needs: elements, limit, allowed: index });
    }
    let binding = facts.limits.max_storage_buffer_binding_size.min(facts.limits.max_buffer_size);
    if bytes > binding {
        let (what, limit) = (format!("{what}, in bytes,"), "max_storage_buffer_binding_size");
        return Err(Error::Limit { what, needs: bytes, limit, allowed: binding });
    }
    Ok(())
}

/// The tensors that a caller binds for a layer with these options.
fn interface(spec: &Spec, shapes: &Shapes, options: &Options) -> Vec<(TensorId, Dims, bool)> {
    let full = Path::ALL.into_iter().any(|path| {
        spec.has(path) && path.input() == Frequency::High && (!options.pooled_input || spec.sampling(path).level == 0)
    });
    let read = |frequency| spec.reads(frequency);
    let whole = |dims: Option<Dims>, slice: Option<Slice>| dims.map(|d| d.with_channels(slice.map_or(d.c, |s| s.of)));
    [
        (TensorId::XH, shapes.x_h, full, false),
        (TensorId::XL, shapes.x_l, read(Frequency::Low), false),
        (TensorId::XP, shapes.x_p, options.pooled_input && read(Frequency::High), false),
        (TensorId::ResidualH, shapes.y_h, spec.has_residual(Frequency::High), false),
        (TensorId::ResidualL, shapes.y_l, spec.has_residual(Frequency::Low), false),
        (TensorId::YH, whole(shapes.y_h, options.high_slice), true, true),
        (TensorId::YL, whole(shapes.y_l, options.low_slice), true, true),
        (TensorId::YP, shapes.y_p, options.pooled_output, true),
    ]
    .into_iter()
    .filter(|&(_, _, wanted, _)| wanted)
    .filter_map(|(id, dims, _, written)| Some((id, dims?, written)))
    .collect()
}

fn validate_options(spec: &Spec, shapes: &Shapes, options: &Options, facts: &DeviceFacts) -> Result<(), Error> {
    if options.activations == Dtype::F16 && !facts.features.contains(wgpu::Features::SHADER_F16) {
        return Err(Error::Feature { what: "f16 activations", feature: "SHADER_F16" });
    }
    if options.sums == Dtype::F16 && (options.activations, options.weights) != (Dtype::F16, Dtype::F16) {
        return Err(Error::argument("sums", "f16", "must be f32 unless activations and weights are f16"));
    }
    if options.pooled_input {
        if spec.downsample() == Downsample::StridedConv {
            let allowed = "must be off where the layer strides instead of pooling";
            return Err(Error::argument("pooled_input", "on", allowed));
        }
        let pools = |path| spec.has(path) && spec.sampling(path).level > 0;
        if shapes.x_p.is_none() || ![Path::HH, Path::HL].into_iter().any(pools) {
            return Err(Error::argument("pooled_input", "on", "must be off where the layer does not pool X_H"));
        }
    }
    for (name, slice, dims, frequency) in [
        ("high_slice", options.high_slice, shapes.y_h, Frequency::High),
        ("low_slice", options.low_slice, shapes.y_l, Frequency::Low),
    ] {
        let Some(Slice { first, of }) = slice else { continue };
        let value = format!("{first}.. of {of}");
        let channels = dims.map_or(0, |dims| dims.c);
        if channels == 0 || first.checked_add(channels).is_none_or(|end| end > of) {
            let allowed = format!("must hold the {channels} channels of the output");
            return Err(Error::argument(name, value, allowed));
        }
        if spec.has_residual(frequency) || (options.pooled_output && frequency == Frequency::High) {
            return Err(Error::argument(name, value, "must be absent where a residual is read or pool(Y_H) written"));
        }
    }
    if options.pooled_output && shapes.y_p.is_none() {
        return Err(Error::argument("pooled_output", "on", "must be off where the layer has no Y_H to pool"));
    }
    Ok(())
}

/// Into how many slices input channels are cut so that there are threads enough for a nominal GPU, and each slice has
/// a slab of any kernel: a power of two.
fn slices(threads: u64, channels: u32) -> u32 {
    let (most, slab) = (16, 16);
    let wanted = estimate::GPU_THREADS / threads.max(1);
    let slices = wanted.min(u64::from(channels / slab)).clamp(1, most);
    1 << slices.ilog2()
}

/// Pooled maps in scratch, and the dispatches that make them.
#[derive(Default)]
struct Pools {
    maps: Vec<(Operand, Operand)>,
    steps: Vec<Step>,
}

struct Planner<'a> {
    spec: &'a Spec,
    shapes: Shapes,
    options: &'a Options,
    facts: &'a DeviceFacts,
    variant: Variant,
    scratch: Vec<Dims>,
}

impl Planner<'_> {
    fn steps(&mut self) -> Result<Vec<Step>, Error> {
        if self.variant.family.products() == Dtype::F16 && self.options.sums != Dtype::F16 {
            return Err(self.refuse("the options do not allow sums of f16"));
        }
        match self.variant.strategy {
            Strategy::Fused => {
                let job = self.job(self.given_pool(self.variant.family));
                Ok(vec![self.convolve(&job)?])
            }
            Strategy::Split => {
                let job = self.job(self.given_pool(self.variant.family));
                self.split(job)
            }
            Strategy::PoolFirst => self.pool_first(),
            Strategy::LowFirst => self.low_first(),
            Strategy::SplitK => self.split_k(),
            Strategy::Transform => self.transform(),
            Strategy::Unfused => self.unfused(),
        }
    }

    /// pool(X_H) as the caller gives it, where the kernel has a use for it.
    fn given_pool(&self, family: Family) -> Option<Operand> {
        // The pointwise kernel has pool(X_H) for three additions, and at stride 1 reads X_H anyhow.
        let useful = family != Family::Pointwise || self.spec.stride() == 2 || !self.spec.has(Path::HH);
        let dims = self.shapes.x_p.filter(|_| self.options.pooled_input && useful)?;
        Some(Operand { id: TensorId::XP, dims })
    }

    fn refuse(&self, reason: impl ToString) -> Error {
        Error::Variant { variant: self.variant.untiled().to_string(), reason: reason.to_string() }
    }

    /// The whole layer as one job; with `pooled`, every pooling of X_H starts there.
    fn job(&self, pooled: Option<Operand>) -> Job {
        let (spec, shapes) = (self.spec, &self.shapes);
        let mut job = Job { activation: spec.activation(), ..Job::default() };
        for path in Path::ALL.into_iter().filter(|&path| spec.has(path)) {
            let mut sampling = spec.sampling(path);
            let source = match (path.input(), pooled) {
                (Frequency::High, Some(pooled)) if sampling.level > 0 => {
                    sampling.level -= 1;
                    Some(pooled)
                }
                (Frequency::High, _) => shapes.x_h.map(|dims| Operand { id: TensorId::XH, dims }),
                (Frequency::Low, _) => shapes.x_l.map(|dims| Operand { id: TensorId::XL, dims }),
            };
            job.paths[path as usize] = source.map(|source| PathJob { source, sampling, weights: path });
        }
        let groups = |frequency| match spec.groups() {
            Groups::Count(count) => count,
            Groups::Depthwise => spec.input().of(frequency),
        };
        let residual = |frequency, id| spec.has_residual(frequency).then_some(id);
        job.high = shapes.y_h.map(|dims| OutputJob {
            y: Operand { id: TensorId::YH, dims },
            slice: self.options.high_slice.unwrap_or(Slice::whole(dims.c)),
            first_row: 0,
            groups: groups(Frequency::High),
            bias: Some(Frequency::High),
            residual: residual(Frequency::High, TensorId::ResidualH),
            pooled: shapes.y_p.filter(|_| self.options.pooled_output).map(|dims| Operand { id: TensorId::YP, dims }),
        });
        job.low = shapes.y_l.map(|dims| OutputJob {
            y: Operand { id: TensorId::YL, dims },
            slice: self.options.low_slice.unwrap_or(Slice::whole(dims.c)),
            first_row: 0,
            groups: groups(Frequency::Low),
            bias: Some(Frequency::Low),
            residual: residual(Frequency::Low, TensorId::ResidualL),
            pooled: None,
        });
        job.low_extent = shapes.y_h.map(|dims| dims.pooled(spec.rounding()).extent());
        job
    }

    fn types(&self) -> Types {
        let Options { activations, weights, .. } = *self.options;
        Types { activations, weights, words: self.facts.words() }
    }

    /// One dispatch for a job.
    fn convolve(&self, job: &Job) -> Result<Step, Error> {
        let types = self.types();
        let tile = self.variant.tile.unwrap_or_default();
        let products = self.variant.family.products();
        match self.variant.family {
            Family::Direct | Family::DirectF16 => {
                let tiles = direct::tiles(tile, self.facts, self.spec, job).map_err(|reason| self.refuse(reason))?;
                if let Some(reason) = direct::refusal(products, tiles) {
                    return Err(self.refuse(reason));
                }
                direct::step(self.facts, self.spec, types, job, tiles, products)
            }
            Family::Pointwise => {
                let pooled_only = job.path(Path::HH).is_none()
                    && self.spec.stride() == 1
                    && job.path(Path::HL).is_some_and(|path| path.source.id == TensorId::XP);
                let reason = pointwise::refusal(self.spec, job)
                    .or(pooled_only.then_some("the pointwise kernel pools X_H itself, which this layer does not bind"));
                if let Some(reason) = reason {
                    return Err(self.refuse(reason));
                }
                let tile = pointwise::tile(tile, job).ok_or_else(|| self.refuse("it has no such tile"))?;
                pointwise::step(self.facts, self.spec, types, job, tile)
            }
            Family::Staged | Family::StagedF16 => {
                if let Some(reason) = staged::refusal(self.spec, job) {
                    return Err(self.refuse(reason));
                }
                let idle = || self.refuse(format!("half of a tile of {tile} or more would stand idle"));
                let tile = staged::tile_of(tile, job).ok_or_else(idle)?;
                staged::step(self.facts, self.spec, types, job, tile, products)
            }
            Family::Matrix => {
                if let Some(reason) = matrix::refusal(self.facts, self.spec, types, job) {
                    return Err(self.refuse(reason));
                }
                let tile = matrix::tile(tile).ok_or_else(|| self.refuse("it has no such tile"))?;
                matrix::step(self.facts, self.spec, job, tile)
            }
            Family::Winograd => Err(self.refuse("a Winograd convolution takes the strategy transform")),
        }
    }

    /// A dispatch for each output.
    fn split(&self, job: Job) -> Result<Vec<Step>, Error> {
        if job.high.is_none() || job.low.is_none() {
            return Err(self.refuse("a split needs two outputs"));
        }
        let part = |frequency: Frequency| {
            let mut part = job.clone();
            for path in Path::ALL.into_iter().filter(|path| path.output() != frequency) {
                part.paths[path as usize] = None;
            }
            match frequency {
                Frequency::High => part.low = None,
                Frequency::Low => part.high = None,
            }
            part
        };
        Ok(vec![self.convolve(&part(Frequency::High))?, self.convolve(&part(Frequency::Low))?])
    }

    fn pool_first(&mut self) -> Result<Vec<Step>, Error> {
        let mut pools = Pools::default();
        let mut job = self.job(self.given_pool(self.variant.family));
        // The pointwise kernel has the mean of what it reads for three additions, and wants one pooling less.
        let spared = u32::from(self.variant.family == Family::Pointwise);
        for path in [Path::HH, Path::HL, Path::LL] {
            let Some(mut path_job) = job.paths[path as usize] else { continue };
            let own = if path == Path::HH { 0 } else { spared };
            let levels = path_job.sampling.level.saturating_sub(own);
            path_job.source = self.pooled(&mut pools, path_job.source, levels)?;
            path_job.sampling.level -= levels;
            job.paths[path as usize] = Some(path_job);
        }
        let mut steps = pools.steps;
        if steps.is_empty() {
            return Err(self.refuse("nothing that its kernel reads is to be pooled"));
        }
        let fused = self.convolve(&job)?;
        if fused.tensors.len() as u32 <= self.facts.limits.max_storage_buffers_per_shader_stage {
            steps.push(fused);
        } else {
            steps.extend(self.split(job)?);
        }
        Ok(steps)
    }

    /// The low resolution in a dispatch, the high one in the next.
    fn low_first(&mut self) -> Result<Vec<Step>, Error> {
        if self.variant.family == Family::Pointwise {
            return Err(self.refuse("the pointwise kernel does not add to sums that are given"));
        }
        let mut high = self.job(self.given_pool(self.variant.family));
        let Some((output, from_low)) = high.high.zip(high.path(Path::LH).copied()) else {
            return Err(self.refuse("there is no L->H to do first"));
        };
        if !from_low.sampling.upsample {
            return Err(self.refuse("L->H has the resolution of Y_H"));
        }
        let mut pools = Pools::default();
        if let Some(path) = high.paths[Path::HL as usize].as_mut() {
            path.source = self.pooled(&mut pools, path.source, path.sampling.level)?;
            path.sampling.level = 0;
        }
        let sums = self.allocate(output.y.dims.pooled(self.spec.rounding()));
        let [_, hl, _, ll] = high.paths;
        let sampling = Sampling { upsample: false, ..from_low.sampling };
        // L->H alone, in the slot of H->H.
        let low = Job {
            paths: [Some(PathJob { sampling, ..from_low }), hl, None, ll],
            high: Some(OutputJob {
                y: sums,
                slice: Slice::whole(sums.dims.c),
                first_row: 0,
                groups: output.groups,
                bias: None,
                residual: None,
                pooled: None,
            }),
            low: high.low.take(),
            activation: high.activation,
            low_extent: None,
            low_sums: None,
            at_low_resolution: true,
            slices: None,
        };
        high.paths = [high.paths[Path::HH as usize], None, None, None];
        high.low_sums = Some(sums);
        let mut steps = pools.steps;
        steps.push(self.convolve(&low)?);
        steps.push(self.convolve(&high)?);
        Ok(steps)
    }

    /// Partial sums over slices of the input channels, then the sum of those.
    fn split_k(&mut self) -> Result<Vec<Step>, Error> {
        use Family::{Direct, DirectF16, Matrix, Staged, StagedF16};
        if !matches!(self.variant.family, Direct | DirectF16 | Staged | StagedF16 | Matrix) {
            return Err(self.refuse("its kernel takes all input channels"));
        }
        let mut pools = Pools::default();
        let mut job = self.job(self.given_pool(self.variant.family));
        for path in job.paths.iter_mut().flatten() {
            path.source = self.pooled(&mut pools, path.source, path.sampling.level)?;
            path.sampling.level = 0;
        }
        let threads = self.convolve(&job)?.work.parts.iter().map(|part| part.threads).sum();
        let channels = job.paths.iter().flatten().map(|path| self.spec.weight_shape(path.weights)[1]).min();
        let slices = slices(threads, channels.unwrap_or(0));
        if slices < 2 {
            return Err(self.refuse("there are threads enough, or too few input channels"));
        }
        let outputs = [job.high, job.low];
        job.slices = Some(slices);
        job.activation = Activation::None;
        for output in [&mut job.high, &mut job.low].into_iter().flatten() {
            let dims = output.y.dims;
            // In f32. Few enough to be counted: what has many elements has threads enough without slices.
            let id = self.allocate_words(dims.elements() * u64::from(slices));
            *output = OutputJob {
                y: Operand { id, dims },
                slice: Slice::whole(dims.c),
                bias: None,
                residual: None,
                pooled: None,
                ..*output
            };
        }
        let mut steps = pools.steps;
        steps.push(self.convolve(&job)?);
        let partial = [job.high, job.low].map(|output| output.map(|output| output.y.id));
        steps.push(reduce::step(self.facts, self.spec, self.types(), slices, outputs, partial)?);
        Ok(steps)
    }

    /// Inputs to points, products, outputs. Only H->L averages on load, and once: in front are, at stride 2, pooled maps.
    fn transform(&mut self) -> Result<Vec<Step>, Error> {
        if self.variant.family != Family::Winograd {
            return Err(self.refuse("only a Winograd convolution transforms"));
        }
        let tile = winograd::named(self.variant.tile.unwrap_or_default(), self.facts);
        let tile = tile.ok_or_else(|| self.refuse("the device has no use for such a tile"))?;
        let mut job = self.job(self.given_pool(Family::Winograd));
        let types = self.types();
        if let Some(reason) = winograd::refusal(self.spec, types, &job, tile) {
            return Err(self.refuse(reason));
        }
        let mut pools = Pools::default();
        for path in job.paths.iter_mut().flatten() {
            let spared = u32::from(path.weights == Path::HL);
            let levels = path.sampling.level.saturating_sub(spared);
            path.source = self.pooled(&mut pools, path.source, levels)?;
            path.sampling.level -= levels;
        }
        let (facts, spec) = (self.facts, self.spec);
        let mut steps = pools.steps;
        steps.extend(winograd::steps(facts, spec, types, &job, tile, |words| self.allocate_words(words))?);
        Ok(steps)
    }

    /// `source` after `levels` poolings, each a dispatch into scratch that paths share.
    fn pooled(&mut self, pools: &mut Pools, mut source: Operand, levels: u32) -> Result<Operand, Error> {
        for _ in 0..levels {
            let known = pools.maps.iter().find(|(from, _)| *from == source).map(|&(_, to)| to);
            source = match known {
                Some(to) => to,
                None => {
                    let to = self.allocate(source.dims.pooled(self.spec.rounding()));
                    pools.steps.push(pool::step(self.facts, self.types(), source, to)?);
                    pools.maps.push((source, to));
                    to
                }
            };
        }
        Ok(source)
    }

    /// One dispatch an operation, as engines without a fused octave convolution run it.
    fn unfused(&mut self) -> Result<Vec<Step>, Error> {
        if self.options.high_slice.is_some() || self.options.low_slice.is_some() {
            return Err(self.refuse("its adds write whole tensors, not slices"));
        }
        let activations = self.options.activations;
        let job = self.job(self.given_pool(Family::Direct));
        let mut steps = Vec::new();
        let mut pools = Pools::default();
        for (frequency, output) in [(Frequency::High, job.high), (Frequency::Low, job.low)] {
            let Some(output) = output else { continue };
            let paths: Vec<_> = Path::ALL
                .into_iter()
                .filter(|path| path.output() == frequency)
                .filter_map(|path| job.path(path).copied())
                .collect();
            let mut parts: Vec<Operand> = Vec::new();
            for (i, path) in paths.iter().enumerate() {
                let source = self.pooled(&mut pools, path.source, path.sampling.level)?;
                steps.append(&mut pools.steps);
                let dims = match path.sampling.upsample {
                    true => output.y.dims.pooled(self.spec.rounding()),
                    false => output.y.dims,
                };
                let alone = paths.len() == 1 && !path.sampling.upsample;
                let y = if alone { output.y } else { self.allocate(dims) };
                let sampling = Sampling { level: 0, step: path.sampling.step, upsample: false };
                let conv = Job {
                    paths: [Some(PathJob { source, sampling, weights: path.weights }), None, None, None],
                    high: Some(OutputJob {
                        y,
                        slice: Slice::whole(y.dims.c),
                        first_row: 0,
                        groups: output.groups,
                        bias: output.bias.filter(|_| i == 0),
                        residual: output.residual.filter(|_| alone),
                        pooled: None,
                    }),
                    low: None,
                    activation: if alone { self.spec.activation() } else { Activation::None },
                    ..Job::default()
                };
                steps.push(self.convolve(&conv)?);
                let mut part = y;
                if path.sampling.upsample {
                    part = self.allocate(output.y.dims);
                    steps.push(upsample::step(self.facts, activations, y, part)?);
                }
                parts.push(part);
            }
            let parts: Vec<_> = parts.into_iter().map(|part| part.id).filter(|&id| id != output.y.id).collect();
            if let Some((&a, rest)) = parts.split_first() {
                let b = rest.first().copied();
                let (residual, activation) = (output.residual, self.spec.activation());
                steps.push(add::step(self.facts, activations, a, b, residual, activation, output.y)?);
            }
            if let Some(y_p) = output.pooled {
                steps.push(pool::step(self.facts, self.types(), output.y, y_p)?);
            }
        }
        Ok(steps)
    }

    /// Scratch of so many words of 32 bits, which the caller has checked; it is counted in activations like all others.
    fn allocate_words(&mut self, words: u64) -> TensorId {
        let elements = words * (4 / self.options.activations.bytes());
        self.allocate(Dims { n: 1, c: 1, t: 1, h: 1, w: elements as u32 }).id
    }

    fn allocate(&mut self, dims: Dims) -> Operand {
        self.scratch.push(dims);
        Operand { id: TensorId::Scratch(self.scratch.len() - 1), dims }
    }
}

impl Spec {
    /// What is left of H->L's sampling at the resolution of Y_H: one halving less.
    pub(crate) fn sampling_before_half(&self, sampling: Sampling) -> Sampling {
        Sampling { level: sampling.level.saturating_sub(1), step: (sampling.step / 2).max(1), upsample: false }
    }
}
