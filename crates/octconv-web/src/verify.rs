//! Random layers on the GPU against the reference.

use octconv::verify::run_async;
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use web_time::Instant;

use crate::engine::Shared;
use crate::js::{failure, goes_on};

/// How much is compared.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerifyOptions {
    cases: Option<u64>,
    seconds: Option<f64>,
    seed: u64,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { cases: None, seconds: None, seed: 1 }
    }
}

/// What is compared if nothing is said.
const SECONDS: f64 = 10.0;

/// Cases that run the kernels of one that was compiled for.
const ALIKE: usize = 3;

/// The most disagreements that are told.
const EXAMPLES: usize = 3;

/// The most different failures that are told, and put into the report.
const FAILURES: usize = 20;

/// What was compared so far.
#[derive(Clone, Default, Serialize)]
pub struct Verified {
    pub cases: u64,
    pub wrong: u64,
    pub refused: u64,
    /// The largest error over its bound, of cases that agree.
    pub worst: f64,
    pub kernels: usize,
    pub seconds: f64,
    pub examples: Vec<String>,
    /// Those that could not run, because the browser or the device failed at something.
    pub failed: u64,
    /// The first different failures.
    pub failures: Vec<String>,
}

pub async fn run(
    shared: &Shared,
    options: &VerifyOptions,
    progress: Option<&js_sys::Function>,
) -> Result<Verified, JsValue> {
    shared.device("verifying")?;
    let step = shared.report.borrow_mut().start("verify");
    // A device of its own: what is on it goes with it, and a case that ends it ends nothing else.
    let context = match shared.another_device().await {
        Ok(context) => context,
        Err(error) => {
            let error = failure(error);
            shared.report.borrow_mut().end(step, Some(&error));
            return Err(error);
        }
    };
    let start = Instant::now();
    let most = options.seconds.or(options.cases.is_none().then_some(SECONDS)).unwrap_or(f64::INFINITY);
    let cases = options.cases.unwrap_or(u64::MAX);
    let (mut verified, mut problem) = (Verified::default(), None);
    run_async(&context, (0..).map(|i| options.seed.wrapping_add(i)), ALIKE, |ran| {
        let mut report = shared.report.borrow_mut();
        match ran.outcome {
            Ok(outcome) => {
                verified.cases += 1;
                let wrong = outcome.failure.as_ref().map(|failure| {
                    let case = format!("{:?}, {:?}, {:?}", ran.case.spec, ran.case.size, ran.case.options);
                    (case, failure.clone(), format!("seed {}, case {}", ran.seed, ran.index))
                });
                report.add_case(&outcome.variant, outcome.worst, wrong.as_ref());
                match wrong {
                    None => verified.worst = verified.worst.max(outcome.worst),
                    Some((_, failure, place)) => {
                        verified.wrong += 1;
                        if verified.examples.len() < EXAMPLES {
                            verified.examples.push(format!("{place}: {failure}"));
                        }
                    }
                }
            }
            Err(octconv::Error::Limit { .. } | octconv::Error::Feature { .. } | octconv::Error::OutOfMemory { .. }) => {
                verified.refused += 1;
                report.add_refusal();
            }
            // Others may run all the same. A kernel that is refused is told once.
            Err(error @ octconv::Error::Gpu { .. }) => {
                verified.failed += 1;
                let text = error.to_string();
                if verified.failures.len() < FAILURES && !verified.failures.contains(&text) {
                    report.add_problem(&step, &text);
                    verified.failures.push(text);
                }
            }
            Err(error) => problem = Some(failure(error.clone())),
        }
        drop(report);
        verified.kernels = ran.kernels;
        verified.seconds = start.elapsed().as_secs_f64();
        let told = goes_on(progress, &verified).unwrap_or_else(|error| {
            problem = Some(error);
            false
        });
        problem.is_none()
            && told
            && verified.cases + verified.refused + verified.failed < cases
            && verified.seconds < most
    })
    .await;
    shared.report.borrow_mut().end(step, problem.as_ref());
    match problem {
        Some(error) => Err(error),
        None => Ok(verified),
    }
}
