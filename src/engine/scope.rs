//! Catches errors that wgpu raises while something is created.

use crate::error::Error;

/// Runs `create` and returns the error that wgpu raised meanwhile, if any.
///
/// Natively the error is there at once. Browsers report it later, and this function must not wait. In a browser, errors
/// therefore reach the device's uncaptured-error handler, as the embedder's own errors do.
pub(crate) fn scoped<T>(device: &wgpu::Device, operation: &str, create: impl FnOnce() -> T) -> Result<T, Error> {
    if cfg!(target_arch = "wasm32") {
        return Ok(create());
    }
    let filters = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation];
    let mut scopes = filters.map(|filter| Some(device.push_error_scope(filter)));
    let created = create();
    let mut failure = None;
    for scope in scopes.iter_mut().rev().filter_map(Option::take) {
        let mut outcome = std::pin::pin!(scope.pop());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        if let std::task::Poll::Ready(Some(error)) = outcome.as_mut().poll(&mut context) {
            failure = Some(error);
        }
    }
    match failure {
        None => Ok(created),
        Some(wgpu::Error::OutOfMemory { .. }) => Err(Error::OutOfMemory { operation: operation.into() }),
        Some(error) => Err(Error::Gpu { operation: operation.into(), message: one_line(error) }),
    }
}

/// Why a buffer that was created mapped, without an error, is not mapped.
///
/// Natively that is the loss of the device, which alone wgpu reports to no scope. In a browser it may be any error.
pub(super) fn not_mapped(operation: &str, error: impl std::fmt::Display) -> Error {
    let (operation, message) = (operation.into(), one_line(error));
    match cfg!(target_arch = "wasm32") {
        true => Error::Gpu { operation, message },
        false => Error::DeviceLost { operation, message },
    }
}

/// wgpu's message in one line. wgpu writes a paragraph per cause.
fn one_line(error: impl std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
