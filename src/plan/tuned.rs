//! The fastest measured variants of layers on devices, as data that can be kept and shipped.
//!
//! Nothing here touches a device or a disk. `src/tuning/` measures; `src/context/cache.rs` reads and writes files.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::str;

use super::options::Options;
use super::plan::Plan;
use super::tuning::Tuning;
use super::variant::Variant;
use crate::checksum::{seal, unseal};
use crate::device::{Abilities, DeviceFacts, DeviceIdentity};
use crate::dims::InputSize;
use crate::error::Error;
use crate::kernels::job::Slice;
use crate::layer::{Groups, Spec};
use crate::precision::{Accuracy, Dtype, Precision};

/// Increase it whenever the format of the lines in [`Tuned::to_bytes`] changes.
const FORMAT: u32 = 2;

/// The fastest measured variants of layers, for any number of devices.
///
/// Insert what `tuning::tune` finds. An embedder can ship the bytes of [`Tuned::to_bytes`], and gives the value to an
/// engine in [`EngineOptions::tuned`](crate::EngineOptions::tuned).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tuned {
    devices: BTreeMap<DeviceIdentity, Choices>,
}

impl Tuned {
    /// Records that the variant of `plan` is the fastest for its layer, size and options on `device`, with the features and
    /// limits that it was planned for.
    pub fn insert(&mut self, device: &DeviceIdentity, plan: &Plan) {
        let choices = self.devices.entry(device.clone()).or_default();
        let choice = Choice { variant: plan.variant(), kernels: checksum(plan) };
        choices.entries.insert(key(plan.spec(), plan.size(), plan.options(), &plan.abilities), choice);
    }

    /// The fastest variants on a device, if any are known.
    pub fn choices(&self, device: &DeviceIdentity) -> Option<&Choices> {
        self.devices.get(device)
    }

    /// Adds everything that `other` has. If both know a layer, that of `other` stays.
    pub fn merge(&mut self, other: Self) {
        for (device, choices) in other.devices {
            self.devices.entry(device).or_default().entries.extend(choices.entries);
        }
    }

    /// Number of layers, over all devices.
    pub fn len(&self) -> usize {
        self.devices.values().map(Choices::len).sum()
    }

    /// Whether it knows no layer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Text with a checksum. [`Tuned::from_bytes`] of the same version of this crate reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = String::new();
        for (DeviceIdentity(device), choices) in &self.devices {
            // Writing to a String cannot fail.
            let _ = writeln!(body, "device\t{device}");
            for (key, Choice { variant, kernels }) in &choices.entries {
                let _ = writeln!(body, "{key}\t{variant}\t{kernels:08x}");
            }
        }
        seal(&kind(), body.as_bytes())
    }

    /// Reads what [`Tuned::to_bytes`] wrote. `None` if the bytes are damaged, something else, or of another version of
    /// this crate. Then tune again, because another version has other kernels.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut tuned = Self::default();
        let mut choices: Option<&mut Choices> = None;
        for line in str::from_utf8(unseal(&kind(), bytes)?).ok()?.split_terminator('\n') {
            let fields: Vec<_> = line.split('\t').collect();
            match fields[..] {
                ["device", device] => choices = Some(tuned.devices.entry(DeviceIdentity(device.into())).or_default()),
                [key, variant, kernels] => {
                    let kernels = u32::from_str_radix(kernels, 16).ok()?;
                    choices.as_mut()?.entries.insert(key.into(), Choice { variant: variant.parse().ok()?, kernels });
                }
                _ => return None,
            }
        }
        Some(tuned)
    }
}

/// The fastest measured variants on one device, by layer, size and options.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Choices {
    entries: BTreeMap<String, Choice>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Choice {
    variant: Variant,
    /// Checksum of the measured kernels' sources. If they change, the choice may be wrong.
    kernels: u32,
}

impl Choices {
    /// Number of layers.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it knows no layer.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Plans a layer: with the variant that `options` force, or else with its tuned variant, or else by [`Plan::new`].
    ///
    /// A tuned variant is ignored if it was tuned with other features than those of `facts`, if its kernels have changed
    /// since, or if it cannot run: [`Plan::tuning`] says so. One that was tuned within other limits is taken if nothing was
    /// tuned within these. Pure: touches no device.
    ///
    /// # Errors
    ///
    /// Those of [`Plan::new`].
    pub fn plan(&self, spec: &Spec, size: InputSize, options: &Options, facts: &DeviceFacts) -> Result<Plan, Error> {
        match self.tuned_plan(spec, size, options, facts) {
            Ok(plan) => Ok(plan),
            Err(tuning) => Ok(Plan { tuning, ..Plan::new(spec, size, options, facts)? }),
        }
    }

    fn tuned_plan(&self, spec: &Spec, size: InputSize, options: &Options, facts: &DeviceFacts) -> Result<Plan, Tuning> {
        if options.variant.is_some() {
            return Err(Tuning::Forced);
        }
        if self.entries.is_empty() {
            return Err(Tuning::UnknownDevice);
        }
        let abilities = facts.abilities().for_types(options.precision);
        let (layer, limits) = (key_of_layer(spec, size, options), abilities.limits());
        let here = on(&layer, &abilities.features());
        if let Some(choice) = self.entries.get(&within(&here, &limits)) {
            return planned(choice.variant, &[choice.kernels], spec, size, options, facts);
        }
        // What is the fastest within other limits is fast here too, if it can run.
        let starting = |start: String| {
            let entries = self.entries.range(start.clone()..);
            entries.take_while(move |(key, _)| key.starts_with(&start)).map(|(_, choice)| choice)
        };
        let of_features = by_variant(starting(within(&here, "")));
        let mut plans =
            of_features.iter().map(|(variant, kernels)| planned(*variant, kernels, spec, size, options, facts));
        let Some(first) = plans.next() else {
            let tuned = starting(on(&layer, "")).next().is_some();
            return Err(if tuned { Tuning::OtherFeatures } else { Tuning::UnknownLayer });
        };
        first.or_else(|why| plans.find_map(Result::ok).ok_or(why))
    }
}

/// The variants of choices, in the order in which they come, each with the checksums of its kernels. A file may choose one
/// variant thousands of times, and planning it takes long.
fn by_variant<'a>(choices: impl Iterator<Item = &'a Choice>) -> Vec<(Variant, Vec<u32>)> {
    let mut variants: Vec<(Variant, Vec<u32>)> = Vec::new();
    for &Choice { variant, kernels } in choices {
        match variants.iter_mut().find(|(other, _)| *other == variant) {
            Some((_, all)) => all.push(kernels),
            None => variants.push((variant, vec![kernels])),
        }
    }
    variants
}

/// The plan of a tuned variant, or why that is not used. `kernels`: the checksums that its kernels may have.
fn planned(
    variant: Variant,
    kernels: &[u32],
    spec: &Spec,
    size: InputSize,
    options: &Options,
    facts: &DeviceFacts,
) -> Result<Plan, Tuning> {
    let plan = Plan::with_variant(spec, size, options, facts, variant).map_err(|_| Tuning::Illegal)?;
    if !kernels.contains(&checksum(&plan)) {
        return Err(Tuning::OtherKernels);
    }
    Ok(Plan { tuning: Tuning::Used, ..plan })
}

/// What the first line says besides the checksum of the bytes: the format, this crate's version, and a checksum of all
/// variants, so that a development version with more kernels asks to be tuned again.
fn kind() -> String {
    let variants: Vec<_> = Variant::all().flat_map(Variant::tiled).map(|variant| variant.to_string()).collect();
    let variants = crc32fast::hash(variants.join(" ").as_bytes());
    format!("tuned {FORMAT} {} {variants:08x}", env!("CARGO_PKG_VERSION"))
}

/// The checksum of the sources that a plan runs.
fn checksum(plan: &Plan) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    plan.steps.iter().for_each(|step| hasher.update(step.kernel.source().as_bytes()));
    hasher.finalize()
}

/// Everything that decides what a layer can run and how fast, in a line without tabs.
fn key(spec: &Spec, size: InputSize, options: &Options, abilities: &Abilities) -> String {
    within(&on(&key_of_layer(spec, size, options), &abilities.features()), &abilities.limits())
}

fn on(layer: &str, features: &str) -> String {
    format!("{layer} on {features}")
}

fn within(layer_and_features: &str, limits: &str) -> String {
    format!("{layer_and_features} within {limits}")
}

/// Everything about a layer that decides what it can run and how fast.
fn key_of_layer(spec: &Spec, size: InputSize, options: &Options) -> String {
    // Whole patterns, so that the compiler names a new field here.
    let Spec {
        input,
        output,
        kernel: [ky, kx],
        stride,
        padding: [py, px],
        dilation: [dy, dx],
        time,
        groups,
        high_to_low,
        low_to_high,
        downsample,
        rounding,
        bias,
        activation,
        residual_high,
        residual_low,
    } = spec;
    // Planning refuses a choice that exceeds the scratch limit.
    let Options {
        precision: Precision { activations, weights, sums },
        accuracy,
        pooled_input,
        pooled_output,
        high_slice,
        low_slice,
        scratch_limit: _,
        variant: _,
    } = options;
    let groups = match groups {
        Groups::Count(count) => count.to_string(),
        Groups::Depthwise => "depthwise".into(),
    };
    // The name without the parameter, which changes neither kernels nor speed.
    let activation = format!("{activation:?}");
    let activation = activation.split(' ').next().unwrap_or_default();
    let InputSize { n, t, h, w } = size;
    let mut key = format!(
        "{n}x{t}x{h}x{w} {}+{}>{}+{} k{}x{ky}x{kx} s{}x{stride}",
        input.high, input.low, output.high, output.low, time.kernel, time.stride
    );
    // Writing to a String cannot fail.
    let _ = write!(key, " p{}x{py}x{px} d{}x{dy}x{dx}", time.padding, time.dilation);
    let _ = write!(key, " g{groups} {downsample:?} {rounding:?} {activation} {activations}/{weights}");
    let slice = |name: &str, slice: &Option<Slice>| {
        slice.map_or(String::new(), |Slice { first, of }| format!(" {name}[{first}..]of{of}"))
    };
    key += &slice("y_h", high_slice);
    key += &slice("y_l", low_slice);
    let flags = [
        (!high_to_low, " no-hl"),
        (!low_to_high, " no-lh"),
        (*bias, " bias"),
        (*residual_high, " residual_h"),
        (*residual_low, " residual_l"),
        (*pooled_input, " x_p"),
        (*pooled_output, " y_p"),
        (*sums == Dtype::F16, " sums of f16"),
        (*accuracy == Accuracy::Fast, " fast"),
    ];
    flags.into_iter().filter(|(set, _)| *set).for_each(|(_, flag)| key += flag);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Activation;

    fn spec() -> crate::SpecBuilder {
        Spec::builder(32, 32).alpha(0.5, 0.5).kernel([3, 3]).same_padding()
    }

    #[test]
    fn whatever_decides_a_plan_is_in_the_key() {
        let size = InputSize::image(1, 12, 10);
        let options = Options::default();
        let base = spec().build().unwrap();
        let mut keys = vec![key_of_layer(&base, size, &options)];
        let time = crate::TimeAxis { kernel: 3, stride: 2, padding: 1, dilation: 1 };
        let specs = [
            spec().kernel([5, 3]),
            spec().kernel([3, 5]),
            spec().stride(2),
            spec().padding([2, 1]),
            spec().padding([1, 2]),
            spec().dilation([2, 1]),
            spec().dilation([1, 2]),
            spec().time(time),
            spec().time(crate::TimeAxis { stride: 1, ..time }),
            spec().time(crate::TimeAxis { padding: 2, ..time }),
            spec().time(crate::TimeAxis { dilation: 2, ..time }),
            spec().groups(2),
            spec().depthwise(),
            spec().high_to_low(false),
            spec().low_to_high(false),
            spec().downsample(crate::Downsample::StridedConv),
            spec().rounding(crate::Rounding::Floor),
            spec().bias(true),
            spec().activation(Activation::Relu),
            spec().residual(true, false),
            spec().residual(false, true),
            Spec::builder(32, 32).alpha(0.25, 0.5).kernel([3, 3]).same_padding(),
            Spec::builder(32, 32).alpha(0.5, 0.25).kernel([3, 3]).same_padding(),
            Spec::builder(64, 32).alpha(0.5, 0.5).kernel([3, 3]).same_padding(),
        ];
        keys.extend(specs.map(|spec| key_of_layer(&spec.build().unwrap(), size, &options)));
        let sizes = [(2, 1, 12, 10), (1, 2, 12, 10), (1, 1, 10, 12), (1, 1, 12, 12)];
        keys.extend(sizes.map(|(n, t, h, w)| key_of_layer(&base, InputSize::video(n, t, h, w), &options)));
        let slice = Some(Slice { first: 4, of: 40 });
        let precision = options.precision;
        let all = [
            Options { precision: Precision { activations: Dtype::F16, ..precision }, ..options },
            Options { precision: Precision { weights: Dtype::F16, ..precision }, ..options },
            Options { precision: Precision { sums: Dtype::F16, ..precision }, ..options },
            Options { pooled_input: true, ..options },
            Options { pooled_output: true, ..options },
            Options { high_slice: slice, ..options },
            Options { low_slice: slice, ..options },
            Options { high_slice: Some(Slice { first: 5, of: 40 }), ..options },
            Options { high_slice: Some(Slice { first: 4, of: 41 }), ..options },
        ];
        keys.extend(all.iter().map(|options| key_of_layer(&base, size, options)));
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "{keys:#?}");
        assert!(keys.iter().all(|key| !key.contains(['\t', '\n'])));
    }

    #[test]
    fn a_choice_of_other_kernels_or_of_an_illegal_variant_is_a_miss() {
        let (spec, size, options) = (spec().build().unwrap(), InputSize::image(1, 12, 10), Options::default());
        let facts = DeviceFacts::default();
        let chosen = Plan::candidates(&spec, size, &options, &facts).swap_remove(2);
        let device = DeviceIdentity("a device".into());
        let mut tuned = Tuned::default();
        tuned.insert(&device, &chosen);
        let entry = |choices: &mut Choices, change: fn(&mut Choice)| choices.entries.values_mut().for_each(change);
        let variant = |choices: &Choices| {
            let plan = choices.plan(&spec, size, &options, &facts).unwrap();
            (plan.variant(), plan.tuning())
        };
        let mut choices = tuned.choices(&device).unwrap().clone();
        let planned = Plan::new(&spec, size, &options, &facts).unwrap().variant();
        assert_ne!(planned, chosen.variant());
        assert_eq!(variant(&choices), (chosen.variant(), Tuning::Used));
        entry(&mut choices, |choice| choice.kernels ^= 1);
        assert_eq!(variant(&choices), (planned, Tuning::OtherKernels));
        entry(&mut choices, |choice| {
            choice.kernels ^= 1;
            // This variant cannot run a layer of 3x3.
            choice.variant = "fused/pointwise".parse::<Variant>().unwrap().tiled().next().unwrap();
        });
        assert_eq!(variant(&choices), (planned, Tuning::Illegal));
        assert_eq!(variant(&Choices::default()), (planned, Tuning::UnknownDevice));
    }

    /// Each set of features has a choice of its own.
    #[test]
    fn choices_of_devices_with_other_features_stay_apart() {
        let (spec, size) = (spec().build().unwrap(), InputSize::image(1, 12, 10));
        let options = Options { precision: Precision::of(Dtype::F16), ..Options::default() };
        let device = DeviceIdentity("a device".into());
        let small = DeviceFacts { features: wgpu::Features::SHADER_F16, ..DeviceFacts::default() };
        let limits = wgpu::Limits { max_compute_workgroup_storage_size: 32 << 10, ..small.limits.clone() };
        let features = [wgpu::Features::SHADER_INT64, wgpu::Features::SUBGROUP].map(|other| other | small.features);
        let all = [
            small.clone(),
            DeviceFacts { software: true, ..small.clone() },
            DeviceFacts { weight_by_weight: false, ..small.clone() },
            DeviceFacts { matrix: Some(8), ..small.clone() },
            DeviceFacts { matrix: Some(16), ..small.clone() },
        ];
        let with = features.map(|features| DeviceFacts { features, ..small.clone() });
        let all: Vec<_> = all.into_iter().chain(with).collect();
        let mut tuned = Tuned::default();
        for (i, facts) in all.iter().enumerate() {
            let plan = |tuned: &Tuned| match tuned.choices(&device) {
                Some(choices) => choices.plan(&spec, size, &options, facts).unwrap(),
                None => Choices::default().plan(&spec, size, &options, facts).unwrap(),
            };
            let expected = if i == 0 { Tuning::UnknownDevice } else { Tuning::OtherFeatures };
            assert_eq!(plan(&tuned).tuning(), expected, "{facts:?}");
            let chosen = Plan::candidates(&spec, size, &options, facts).swap_remove(1 + i % 2);
            tuned.insert(&device, &chosen);
            assert_eq!((plan(&tuned).variant(), plan(&tuned).tuning()), (chosen.variant(), Tuning::Used));
            assert_eq!(tuned.len(), i + 1);
        }
        // Other limits have a choice of their own, and before that the one that is there, if it can run.
        let larger = DeviceFacts { limits, ..small.clone() };
        let plan = |tuned: &Tuned| tuned.choices(&device).unwrap().plan(&spec, size, &options, &larger).unwrap();
        assert_eq!(plan(&tuned).tuning(), Tuning::Used);
        let other = Plan::candidates(&spec, size, &options, &larger).swap_remove(3);
        assert_ne!(plan(&tuned).variant(), other.variant());
        tuned.insert(&device, &other);
        assert_eq!((plan(&tuned).variant(), plan(&tuned).tuning()), (other.variant(), Tuning::Used));
        // What changes no kernel needs no tuning.
        let timed = DeviceFacts { features: small.features | wgpu::Features::TIMESTAMP_QUERY, ..small.clone() };
        let choices = tuned.choices(&device).unwrap();
        assert!(choices.plan(&spec, size, &options, &timed).unwrap().is_tuned());
        let other = choices.plan(&spec, InputSize::image(1, 12, 12), &options, &timed).unwrap();
        assert_eq!(other.tuning(), Tuning::UnknownLayer);
        let forced = Options { variant: Some(other.variant()), ..options };
        assert_eq!(choices.plan(&spec, size, &forced, &timed).unwrap().tuning(), Tuning::Forced);
        // Nor do matrix units and f16, in f32.
        let plain = Options::default();
        let mut tuned = Tuned::default();
        tuned.insert(&device, &Plan::new(&spec, size, &plain, &DeviceFacts::default()).unwrap());
        let able = DeviceFacts { matrix: Some(16), features: small.features | wgpu::Features::SUBGROUP, ..small };
        assert!(tuned.choices(&device).unwrap().plan(&spec, size, &plain, &able).unwrap().is_tuned());
    }

    #[test]
    fn a_variant_is_planned_once_however_often_it_is_chosen() {
        let (spec, size, options) = (spec().build().unwrap(), InputSize::image(1, 12, 10), Options::default());
        let facts = DeviceFacts::default();
        let candidates = Plan::candidates(&spec, size, &options, &facts);
        let [usual, other] = [1, 2].map(|i| &candidates[i]);
        let here = on(&key_of_layer(&spec, size, &options), &usual.abilities.features());
        let mut choices = Choices::default();
        for i in 0..24_000 {
            let choice = Choice { variant: usual.variant(), kernels: i };
            choices.entries.insert(within(&here, &format!("limits {i:05}")), choice);
        }
        assert_eq!(choices.plan(&spec, size, &options, &facts).unwrap().tuning(), Tuning::OtherKernels);
        let choice = Choice { variant: other.variant(), kernels: checksum(other) };
        choices.entries.insert(within(&here, "limits 12000"), choice);
        let grouped = by_variant(choices.entries.values());
        let counts: Vec<_> = grouped.iter().map(|(variant, kernels)| (*variant, kernels.len())).collect();
        assert_eq!(counts, [(usual.variant(), 23_999), (other.variant(), 1)]);
        let plan = choices.plan(&spec, size, &options, &facts).unwrap();
        assert_eq!((plan.variant(), plan.tuning()), (other.variant(), Tuning::Used));
        // One of many is right.
        let choice = Choice { variant: usual.variant(), kernels: checksum(usual) };
        choices.entries.insert(within(&here, "limits 23999"), choice);
        let plan = choices.plan(&spec, size, &options, &facts).unwrap();
        assert_eq!((plan.variant(), plan.tuning()), (usual.variant(), Tuning::Used));
    }

    #[test]
    fn a_carriage_return_is_part_of_a_name() {
        let bytes = seal(&kind(), b"device\ta\r\n");
        assert_eq!(Tuned::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    }
}
