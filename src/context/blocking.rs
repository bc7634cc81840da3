//! The functions of a context that block. Each is one line over the function that can be awaited.

use pollster::block_on;

use super::context::{Context, Timing};
use crate::engine::Layer;
use crate::error::Error;
use crate::precision::Dtype;

impl Context {
    /// [`Context::run_async`], which it blocks on.
    pub fn run(&self, layers: &[&Layer]) -> Result<(), Error> {
        block_on(self.run_async(layers))
    }

    /// [`Context::run_pass_async`], which it blocks on.
    pub fn run_pass(&self, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) -> Result<(), Error> {
        block_on(self.run_pass_async(record))
    }

    /// [`Context::read_async`], which it blocks on.
    pub fn read(&self, buffer: &wgpu::Buffer, offset: u64, elements: u64, dtype: Dtype) -> Result<Vec<f32>, Error> {
        block_on(self.read_async(buffer, offset, elements, dtype))
    }

    /// [`Context::read_bytes_async`], which it blocks on.
    pub fn read_bytes(&self, buffer: &wgpu::Buffer, offset: u64, size: u64) -> Result<Vec<u8>, Error> {
        block_on(self.read_bytes_async(buffer, offset, size))
    }

    /// [`Context::time_async`], which it blocks on.
    pub fn time(&self, layers: &[&Layer]) -> Result<Timing, Error> {
        block_on(self.time_async(layers))
    }

    /// [`Context::time_pass_async`], which it blocks on.
    pub fn time_pass(&self, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) -> Result<Timing, Error> {
        block_on(self.time_pass_async(record))
    }

    /// [`Context::way_async`], which it blocks on.
    pub fn way(&self) -> Result<f64, Error> {
        block_on(self.way_async())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiles: executors that move work between threads take what waits.
    #[expect(dead_code, reason = "it is enough that it compiles")]
    fn what_waits_may_move_between_threads(context: &Context, layer: &Layer, buffer: &wgpu::Buffer) {
        fn moves<T: Send>(_: T) {}
        moves(Context::open(&crate::context::ContextOptions::default()));
        moves(context.run_async(&[layer]));
        moves(context.time_async(&[layer]));
        moves(context.read_async(buffer, 0, 1, Dtype::F32));
        moves(context.engine().settled());
    }
}
