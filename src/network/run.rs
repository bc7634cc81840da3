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
        self.write_input(context, input)?;
        context.run_pass_async(|pass| self.record(pass)).await?;
        match self.output() {
            Some(value) => value.read_async(context).await,
            None => Ok(Vec::new()),
        }
    }

    /// [`Inference::run_async`], which it blocks on.
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

impl ValueView<'_> {
    /// Reads the elements of the vectors; or those of the map's high frequency, then those of its low frequency. Waits
    /// for the device.
    pub async fn read_async(&self, context: &Context) -> Result<Vec<f32>, Error> {
        let views = match *self {
            Self::Map { high, low } => [high, low],
            Self::Vector(vector) => [Some(vector), None],
        };
        let mut values = Vec::new();
        for TensorView { buffer, offset, dims, dtype, .. } in views.into_iter().flatten() {
            let part = context.read_async(buffer, offset, dims.elements(), dtype).await?;
            // The first part becomes the answer, which often has no other.
            values = if values.is_empty() { part } else { [values, part].concat() };
        }
        Ok(values)
    }

    /// [`ValueView::read_async`], which it blocks on.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self, context: &Context) -> Result<Vec<f32>, Error> {
        pollster::block_on(self.read_async(context))
    }
}
