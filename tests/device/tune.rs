//! Tuning on a device, and the folder that keeps what is found.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use octconv::tuning::{Effort, Progress, tune};
use octconv::verify::{Case, Values};
use octconv::{Cache, Context, ContextOptions, Error, InputSize, Options, Plan, Rates, Spec, Tuned, wgpu};

const EFFORT: Effort = Effort { candidates: 3, rounds: 4, sample_us: 50 };

fn spec() -> Spec {
    Spec::builder(16, 16).alpha(0.5, 0.5).kernel([3, 3]).same_padding().bias(true).build().unwrap()
}

const SIZE: InputSize = InputSize { n: 1, t: 1, h: 10, w: 13 };

fn options() -> Options {
    Options { pooled_input: true, pooled_output: true, ..Options::default() }
}

fn with_cache(cache: &Cache) -> Context {
    crate::common::open(&ContextOptions { cache: Some(cache.clone()), ..ContextOptions::default() })
}

fn files(cache: &Cache) -> Vec<PathBuf> {
    fs::read_dir(cache.folder()).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_winner_is_right_and_the_next_device_runs_it() {
    let folder = tempfile::tempdir().unwrap();
    // A folder that is yet to be made.
    let cache = Cache::new(folder.path().join("caches/octconv"));
    let context = with_cache(&cache);
    let mut steps: Vec<Progress> = Vec::new();
    let outcome = tune(&context, &spec(), SIZE, &options(), &EFFORT, |step| steps.push(step)).unwrap();
    let of = outcome.trials.len() + EFFORT.rounds + 1;
    assert!(steps.iter().map(|step| (step.done, step.of)).eq((1..=of).map(|done| (done, of))), "{steps:?}");

    let planned = Plan::new(&spec(), SIZE, &options(), context.engine().facts()).unwrap();
    assert_eq!(outcome.planned().plan, planned);
    assert!(outcome.trials.len() >= 3);
    for trial in &outcome.trials {
        assert!(trial.seconds.as_ref().is_ok_and(|&seconds| seconds > 0.0), "{trial:?}");
        assert!((3..=2 * EFFORT.rounds).contains(&trial.samples.len()), "{trial:?}");
    }
    let winner = outcome.winner();
    assert!(winner.plan == planned || winner.relative <= 0.98, "{outcome:?}");
    assert!(outcome.gain().unwrap() >= 1.0, "{outcome:?}");
    let forced = Options { variant: Some(winner.plan.variant()), ..options() };
    let case = Case {
        spec: spec(),
        size: SIZE,
        options: forced,
        batch_norm: false,
        one_buffer: false,
        values: Values::Even,
        seed: 3,
    };
    assert_eq!(case.run(&context).unwrap().failure, None);

    // Kept is another than the planner's choice, whichever has won.
    let other = &outcome.trials[1].plan;
    let mut found = Tuned::default();
    found.insert(&context.identity().unwrap(), other);
    cache.keep_tuned(&context.identity().unwrap(), &found).unwrap();
    let plan = |context: &Context| context.engine().plan(&spec(), SIZE, &options()).unwrap();
    assert!(!plan(&context).is_tuned());
    let next = with_cache(&cache);
    assert_eq!((plan(&next).variant(), plan(&next).is_tuned()), (other.variant(), true));
    // What is given comes before what is kept, and shipped bytes do as well.
    let given = |tuned: Tuned| {
        let options = ContextOptions { tuned: Some(Arc::new(tuned)), cache: Some(cache.clone()), ..Default::default() };
        plan(&crate::common::open(&options)).is_tuned()
    };
    assert!(!given(Tuned::default()));
    assert!(given(Tuned::from_bytes(&found.to_bytes()).unwrap()));

    // A damaged file is as if it were not there, until it is written anew.
    let file = cache.tuned_file(&context.identity().unwrap());
    for damage in [b"".as_slice(), b"octconv tuned", &found.to_bytes()[1..], &[0xff; 300]] {
        fs::write(&file, damage).unwrap();
        assert_eq!(cache.tuned(&context.identity().unwrap()), Tuned::default());
        assert!(!plan(&with_cache(&cache)).is_tuned());
    }
    cache.keep_tuned(&context.identity().unwrap(), &found).unwrap();
    assert_eq!(cache.tuned(&context.identity().unwrap()), found);
}

#[test]
fn every_family_is_tried() {
    let context = crate::common::context();
    let spec = Spec::builder(16, 16).alpha(0.5, 0.5).build().unwrap();
    let effort = Effort { candidates: 1, rounds: 1, sample_us: 1 };
    let outcome = tune(context, &spec, SIZE, &Options::default(), &effort, |_| {}).unwrap();
    let families = |plans: &mut dyn Iterator<Item = Plan>| {
        let mut families: Vec<_> = plans.map(|plan| format!("{:?}", plan.variant().family)).collect();
        families.sort();
        families
    };
    let mut candidates = Plan::candidates(&spec, SIZE, &Options::default(), context.engine().facts());
    candidates.retain(|plan| plan.variant().strategy != octconv::Strategy::Unfused);
    let mut all = families(&mut candidates.into_iter());
    all.dedup();
    assert!(all.len() > 1);
    assert_eq!(families(&mut outcome.trials.iter().map(|trial| trial.plan.clone())), all);
}

#[test]
fn a_layer_that_cannot_run_is_refused() {
    let options = Options { high_slice: Some(octconv::Slice { first: 9, of: 10 }), ..Options::default() };
    let error = tune(crate::common::context(), &spec(), SIZE, &options, &EFFORT, |_| {}).unwrap_err();
    assert!(matches!(error, Error::Argument { name: "high_slice", .. }), "{error}");
}

#[test]
fn those_who_write_at_once_leave_a_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path());
    let identity = crate::common::context().identity().unwrap();
    let facts = crate::common::context().engine().facts();
    let plans = Plan::candidates(&spec(), SIZE, &options(), facts);
    let one = |plan: &Plan| {
        let mut tuned = Tuned::default();
        tuned.insert(&identity, plan);
        tuned
    };
    thread::scope(|scope| {
        for plan in &plans[..4] {
            let (cache, identity, one) = (&cache, &identity, &one);
            scope.spawn(move || (0..25).for_each(|_| cache.keep_tuned(identity, &one(plan)).unwrap()));
        }
    });
    let left = cache.tuned(&identity);
    assert!(plans[..4].iter().any(|plan| one(plan) == left));
    assert_eq!(files(&cache), [cache.tuned_file(&identity)]);
    // A folder that is a file.
    let blocked = Cache::new(cache.tuned_file(&identity));
    let error = blocked.keep_tuned(&identity, &left).unwrap_err();
    assert!(matches!(error, Error::Cache { .. }), "{error}");
    assert_eq!(blocked.tuned(&identity), Tuned::default());
}

/// Rates decide what the planner chooses: kept ones, given ones before them, and else those of the device's class.
#[test]
fn kept_rates_choose_kernels() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path());
    let open = |rates| {
        let options = ContextOptions { cache: Some(cache.clone()), rates, ..ContextOptions::default() };
        crate::common::open(&options)
    };
    let rates = |context: &Context| context.engine().facts().rates;
    let context = open(None);
    let (identity, class) = (context.identity().unwrap(), Rates::of_class(&context.adapter().get_info()));
    assert_eq!((rates(&context), cache.rates(&identity)), (class, None));
    // On a device that does nothing but launch, one dispatch is the fastest.
    let mut launching = class;
    launching.launch = 1.0;
    cache.keep_rates(&identity, &launching).unwrap();
    assert_eq!((rates(&open(None)), cache.rates(&identity)), (launching, Some(launching)));
    let mut computing = class;
    computing.multiply_adds = 1e6;
    computing.launch = 1e-12;
    assert_eq!(rates(&open(Some(computing))), computing);
    let dispatches =
        |context: &Context| context.engine().plan(&spec(), SIZE, &Options::default()).unwrap().dispatches();
    assert_eq!(dispatches(&open(None)), 1);
    // What cannot be true is not believed.
    let mut wrong = class;
    wrong.bandwidth = f64::NAN;
    assert_eq!(rates(&open(Some(wrong))), class);
    // What stands for a GPU does not have the rates of a software device.
    let gpu = ContextOptions { cache: Some(cache.clone()), software: Some(false), ..ContextOptions::default() };
    assert_eq!(rates(&crate::common::open(&gpu)) == launching, !context.engine().facts().software);
    // A damaged file is as if it were not there.
    for file in files(&cache) {
        fs::write(&file, b"octconv rates 1").unwrap();
    }
    assert_eq!((rates(&open(None)), cache.rates(&identity)), (class, None));
}

#[test]
fn compiled_pipelines_are_kept_and_damaged_ones_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path());
    let run = || {
        let context = with_cache(&cache);
        let case = Case {
            spec: spec(),
            size: SIZE,
            options: options(),
            batch_norm: false,
            one_buffer: false,
            values: Values::Even,
            seed: 1,
        };
        assert_eq!(case.run(&context).unwrap().failure, None);
        context.save_pipelines().unwrap();
        context.engine().facts().features.contains(wgpu::Features::PIPELINE_CACHE)
    };
    let has_cache = run();
    assert_eq!(files(&cache).len(), usize::from(has_cache));
    for file in files(&cache) {
        let bytes = fs::read(&file).unwrap();
        for damage in [&bytes[..bytes.len() - 1], b"", b"octconv", &vec![7; bytes.len()]] {
            fs::write(&file, damage).unwrap();
            assert!(run());
            assert!(fs::read(&file).unwrap().starts_with(b"octconv pipelines "));
        }
    }
    // Without the feature there is nothing to keep.
    let default_device = ContextOptions { default_device: true, cache: Some(cache.clone()), ..Default::default() };
    crate::common::open(&default_device).save_pipelines().unwrap();
}
