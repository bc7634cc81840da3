//! Runs an inference on a [`Context`]: writes the input, submits, waits, and reads the answer.

use super::model::{Inference, ValueView};
use crate::context::Context;
use crate::engine::TensorView;
use crate::error::Error;

impl Inference {
    /// Writes the input `[n, c, t, h, w]`, runs the network in one submission, waits, and returns the answer.
    ///
    /// The answer is that of [`ValueView::read`].
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if `input` has another length; [`Error::Gpu`] if the device refuses something;
    /// [`Error::OutOfMemory`] and [`Error::DeviceLost`].
    pub fn run(&self, context: &Context, input: &[f32]) -> Result<Vec<f32>, Error> {
        self.write_input(context, input)?;
        context.run_pass(|pass| self.record(pass))?;
        self.output().map_or(Ok(Vec::new()), |value| value.read(context))
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
    pub fn read(&self, context: &Context) -> Result<Vec<f32>, Error> {
        let views = match *self {
            Self::Map { high, low } => [high, low],
            Self::Vector(vector) => [Some(vector), None],
        };
        let read = |view: TensorView| context.read(view.buffer, view.offset, view.dims.elements(), view.dtype);
        let parts = views.into_iter().flatten().map(read).collect::<Result<Vec<_>, Error>>()?;
        Ok(parts.concat())
    }
}
