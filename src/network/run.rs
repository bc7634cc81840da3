//! Runs an inference on a [`Context`]: writes the input, submits, waits, and reads the answer.

use super::model::{Inference, ValueView};
use crate::context::Context;
use crate::engine::TensorView;
use crate::error::Error;

impl Inference {
    /// Writes the input `[n, c, t, h, w]`, runs the network in one submission, waits, and returns the answer.
    ///
    /// The answer is that of [`ValueView::read_async`].
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if `input` has another length; [`Error::Gpu`] if the device refuses something;
    /// [`Error::OutOfMemory`] and [`Error::DeviceLost`].
    pub async fn run_async(&self, context: &Context, input: &[f32]) -> Result<Vec<f32>, Error> {
        let views = self.output().map(|value| value.views()).unwrap_or_default();
        let views = views.iter().flatten();
        let reads: Vec<_> = views.map(|view| (view.buffer, view.offset, view.dims.elements(), view.dtype)).collect();
        // All in one go: a second run that begins before this one has its answer gets its own.
        let write = || self.write_input(context, input);
        Ok(context.write_run_and_read_async(write, |pass| self.record(pass), &reads).await?.concat())
    }

    /// [`Inference::run_async`], which it blocks on.
    ///
    /// # Errors
    ///
    /// Those of [`Inference::run_async`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(&self, context: &Context, input: &[f32]) -> Result<Vec<f32>, Error> {
        pollster::block_on(self.run_async(context, input))
    }

    /// Writes the input `[n, c, t, h, w]` for all following submissions.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if it has another length; [`Error::OutOfMemory`] and [`Error::DeviceLost`].
    pub fn write_input(&self, context: &Context, input: &[f32]) -> Result<(), Error> {
        if let Some(view) = self.input() {
            if input.len() as u64 != view.dims.elements() {
                return Err(Error::Length { tensor: "input", found: input.len() as u64, shape: view.dims });
            }
            context.write(view.buffer, view.offset, input, view.dtype)?;
        }
        Ok(())
    }
}

impl<'a> ValueView<'a> {
    /// Reads the elements of the vectors; or those of the map's high frequency, then those of its low frequency. Waits
    /// for the device.
    ///
    /// # Errors
    ///
    /// [`Error::Gpu`] if the device refuses something; [`Error::OutOfMemory`] and [`Error::DeviceLost`].
    pub async fn read_async(&self, context: &Context) -> Result<Vec<f32>, Error> {
        let mut values = Vec::new();
        for TensorView { buffer, offset, dims, dtype, .. } in self.views().into_iter().flatten() {
            let part = context.read_async(buffer, offset, dims.elements(), dtype).await?;
            // The first part becomes the answer, which often has no other.
            values = if values.is_empty() { part } else { [values, part].concat() };
        }
        Ok(values)
    }

    /// Its tensors.
    fn views(self) -> [Option<TensorView<'a>>; 2] {
        match self {
            Self::Map { high, low } => [high, low],
            Self::Vector(vector) => [Some(vector), None],
        }
    }

    /// [`ValueView::read_async`], which it blocks on.
    ///
    /// # Errors
    ///
    /// Those of [`ValueView::read_async`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self, context: &Context) -> Result<Vec<f32>, Error> {
        pollster::block_on(self.read_async(context))
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::network::{Model, NetworkPlan};

    /// Compiles: executors that move work between threads take what waits.
    #[expect(dead_code, reason = "it is enough that it compiles")]
    fn what_waits_may_move_between_threads(
        context: &Context,
        model: &Model,
        plan: NetworkPlan,
        inference: &Inference,
        value: ValueView<'_>,
    ) {
        fn moves<T: Send>(_: T) {}
        moves(model.compile_async(plan, async move |progress| progress.done <= progress.of));
        moves(inference.run_async(context, &[]));
        moves(value.read_async(context));
    }
}
