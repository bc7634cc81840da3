//! Catches errors that wgpu raises while something is created.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::error::Error;

/// What a device says about what is made on it.
///
/// Natively the answer is there at once. A browser gives it later, and nothing here waits for it unless asked to: the
/// answers that are not there yet are kept until they are, and then the first error until [`Scopes::settled`] returns it.
pub(crate) struct Scopes {
    device: wgpu::Device,
    state: Mutex<State>,
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct State {
    /// The number of the next answer.
    next: u64,
    /// With their numbers, which rise.
    unanswered: Vec<(u64, Answer)>,
    /// Errors that nobody was told, with their numbers. Answers do not come in the order of their numbers.
    failures: Vec<(u64, Error)>,
}

/// The most errors that are kept for a program that never asks.
const MOST_FAILURES: usize = 64;

/// Those who wait for answers. Whoever polls an answer, all of them are woken when it is there.
#[derive(Default)]
struct Waiting(Mutex<Vec<Waker>>);

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        all.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// Forgets the answers that are there, and keeps their errors.
    fn poll(&mut self, waiting: &Arc<Waiting>) {
        let waker = Waker::from(waiting.clone());
        let mut context = Context::from_waker(&waker);
        let failures = &mut self.failures;
        self.unanswered.retain_mut(|(number, answer)| match answer.as_mut().poll(&mut context) {
            Poll::Ready(error) => {
                failures.extend(error.filter(|_| failures.len() < MOST_FAILURES).map(|error| (*number, error)));
                false
            }
            Poll::Pending => true,
        });
    }

    /// Takes the errors about what was made before the number `end`, and returns the first. `None` if an answer about that
    /// is not there yet.
    fn settle(&mut self, end: u64) -> Option<Result<(), Error>> {
        if self.unanswered.first().is_some_and(|(number, _)| *number < end) {
            return None;
        }
        let found = self.failures.extract_if(.., |(number, _)| *number < end);
        Some(found.min_by_key(|(number, _)| *number).map_or(Ok(()), |(_, error)| Err(error)))
    }
}

/// What was wrong with something, once the device has said so.
#[cfg(not(target_arch = "wasm32"))]
type Answer = Pin<Box<dyn Future<Output = Option<Error>> + Send>>;
/// In a browser everything belongs to the thread that made it.
#[cfg(target_arch = "wasm32")]
type Answer = Pin<Box<dyn Future<Output = Option<Error>>>>;

impl Scopes {
    pub(crate) fn new(device: &wgpu::Device) -> Self {
        Self { device: device.clone(), state: Mutex::default(), waiting: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
                // WebKit says so of whatever its compiler refuses.
                wgpu::Error::OutOfMemory { .. } if cfg!(target_arch = "wasm32") && module.is_some() => {
                    let message = "the browser says out of memory, which may be its compiler".into();
                    Error::Gpu { operation, message: explained(message, module).await }
                }
                wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { operation },
                error => Error::Gpu { operation, message: explained(one_line(error), module).await },
            })
        });
        match answer.as_mut().poll(&mut Context::from_waker(&Waker::from(self.waiting.clone()))) {
            Poll::Ready(Some(error)) => return Err(error),
            Poll::Ready(None) => {}
            Poll::Pending => {
                let mut state = self.state();
                // So that what is there by now does not pile up in a program that never asks.
                state.poll(&self.waiting);
                let number = state.next;
                state.next += 1;
                state.unanswered.push((number, answer));
            }
        }
        Ok(created)
    }

    /// Waits for the answers about all that was made before this is first polled, and returns the first error that nobody
    /// was told. If the future is dropped, the next one waits for them.
    pub(crate) async fn settled(&self) -> Result<(), Error> {
        let end = self.state().next;
        std::future::poll_fn(|context| {
            let mut waiting = self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            drop(waiting);
            let mut state = self.state();
            state.poll(&self.waiting);
            state.settle(end).map_or(Poll::Pending, Poll::Ready)
        })
        .await
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

/// wgpu's message in one line. wgpu writes a paragraph per cause; in a browser it may write an exception as
/// `JsValue(NAME: MESSAGE`, and the stack in further lines.
pub(crate) fn one_line(error: impl fmt::Display) -> String {
    let text = error.to_string();
    let exception = text.strip_prefix("JsValue(").and_then(|text| text.strip_suffix(')')?.lines().next());
    exception.unwrap_or(&text).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(operation: &str) -> Error {
        Error::OutOfMemory { operation: operation.into() }
    }

    fn operation(settled: Option<Result<(), Error>>) -> String {
        match settled {
            None => "waits".into(),
            Some(Ok(())) => "fine".into(),
            Some(Err(error)) => error.to_string(),
        }
    }

    #[test]
    fn messages_are_one_line() {
        assert_eq!(one_line("Validation Error\n\nCaused by:\n  too large"), "Validation Error Caused by: too large");
        assert_eq!(one_line("JsValue(OperationError: too large (4)\nat run)"), "OperationError: too large (4)");
        assert_eq!(one_line("JsValue(OperationError: it is lost)"), "OperationError: it is lost");
    }

    #[test]
    fn an_error_reaches_who_waits_for_it() {
        let waiting = Arc::default();
        let mut state = State { next: 4, ..State::default() };
        let (sender, late) = std::sync::mpsc::channel::<Error>();
        let late: Answer = Box::pin(std::future::poll_fn(move |_| match late.try_recv() {
            Ok(error) => Poll::Ready(Some(error)),
            Err(_) => Poll::Pending,
        }));
        let ready = |error: Option<Error>| -> Answer { Box::pin(std::future::ready(error)) };
        state.unanswered =
            vec![(0, ready(None)), (1, late), (2, ready(Some(error("two")))), (3, ready(Some(error("three"))))];
        state.poll(&waiting);
        assert_eq!(state.unanswered.len(), 1);
        assert_eq!(operation(state.settle(1)), "fine");
        assert_eq!(operation(state.settle(2)), "waits");
        sender.send(error("one")).unwrap();
        state.poll(&waiting);
        // Later errors were there first, and stay for those who wait for them.
        assert_eq!(operation(state.settle(2)), "one failed: out of memory");
        assert_eq!(operation(state.settle(2)), "fine");
        assert_eq!(operation(state.settle(4)), "two failed: out of memory");
        assert_eq!(operation(state.settle(4)), "fine");
    }

    #[test]
    fn errors_that_nobody_asks_for_do_not_pile_up() {
        let waiting = Arc::default();
        let mut state = State::default();
        for number in 0..1000 {
            state.unanswered.push((number, Box::pin(std::future::ready(Some(error("all"))))));
            state.poll(&waiting);
        }
        assert_eq!((state.unanswered.len(), state.failures.len()), (0, MOST_FAILURES));
    }
}
