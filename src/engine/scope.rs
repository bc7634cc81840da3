//! Catches errors that wgpu raises while something is created.

use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

use crate::error::Error;

/// What a device says about what is made on it.
///
/// Natively the answer is there at once. A browser gives it later, and nothing here waits for it unless asked to: the
/// answers that are not there yet are kept until [`Scopes::settled`] waits for them.
pub(crate) struct Scopes {
    device: wgpu::Device,
    unanswered: Mutex<Vec<Answer>>,
}

/// What was wrong with something, once the device has said so.
#[cfg(not(target_arch = "wasm32"))]
type Answer = Pin<Box<dyn Future<Output = Option<Error>> + Send>>;
/// In a browser everything belongs to the thread that made it.
#[cfg(target_arch = "wasm32")]
type Answer = Pin<Box<dyn Future<Output = Option<Error>>>>;

impl Scopes {
    pub(crate) fn new(device: &wgpu::Device) -> Self {
        Self { device: device.clone(), unanswered: Mutex::default() }
    }

    /// Runs `create` and returns the error that wgpu raised meanwhile, if it is known by now.
    pub(crate) fn scoped<T>(&self, operation: &str, create: impl FnOnce() -> T) -> Result<T, Error> {
        self.scoped_with_shader(operation, || (create(), None))
    }

    /// The same for what is made of a shader module. What a browser's compiler says about that is part of the error.
    pub(super) fn scoped_with_shader<T>(
        &self,
        operation: &str,
        create: impl FnOnce() -> (T, Option<wgpu::ShaderModule>),
    ) -> Result<T, Error> {
        let filters = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation];
        let mut scopes = filters.map(|filter| Some(self.device.push_error_scope(filter)));
        let (created, module) = create();
        let outcomes: Vec<_> = scopes.iter_mut().rev().filter_map(Option::take).map(|scope| scope.pop()).collect();
        let operation = operation.to_owned();
        let mut answer: Answer = Box::pin(async move {
            let mut failure = None;
            for outcome in outcomes {
                failure = outcome.await.or(failure);
            }
            Some(match failure? {
                wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { operation },
                error => Error::Gpu { operation, message: explained(one_line(error), module).await },
            })
        });
        match answer.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(error)) => return Err(error),
            Poll::Ready(None) => {}
            Poll::Pending => self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).push(answer),
        }
        Ok(created)
    }

    /// Waits for all answers that are not there yet, and returns the first error.
    pub(crate) async fn settled(&self) -> Result<(), Error> {
        let unanswered = std::mem::take(&mut *self.unanswered.lock().unwrap_or_else(PoisonError::into_inner));
        let mut first = Ok(());
        for answer in unanswered {
            if let (Some(error), Ok(())) = (answer.await, &first) {
                first = Err(error);
            }
        }
        first
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scopes").field("device", &self.device).finish_non_exhaustive()
    }
}

/// An error's message with what the browser's compiler says, which some browsers leave out of the error.
async fn explained(message: String, module: Option<wgpu::ShaderModule>) -> String {
    let Some(module) = module.filter(|_| cfg!(target_arch = "wasm32")) else { return message };
    let mut explained = message;
    for said in module.get_compilation_info().await.messages {
        let text = one_line(&said.message);
        if said.message_type == wgpu::CompilationMessageType::Error && !explained.contains(&text) {
            let line = said.location.map_or(String::new(), |at| format!(" (line {})", at.line_number));
            explained = format!("{explained}; {text}{line}");
        }
    }
    explained
}

/// Why a buffer that was created mapped, without an error, is not mapped.
///
/// Natively that is the loss of the device, which alone wgpu reports to no scope. In a browser it may be any error.
pub(super) fn not_mapped(operation: &str, error: impl fmt::Display) -> Error {
    let (operation, message) = (operation.into(), one_line(error));
    match cfg!(target_arch = "wasm32") {
        true => Error::Gpu { operation, message },
        false => Error::DeviceLost { operation, message },
    }
}

/// wgpu's message in one line. wgpu writes a paragraph per cause.
fn one_line(error: impl fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
