//! The application's profiler: how long each part of a frame takes on the device's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eframe::wgpu;

/// Times of the frame before, if the device has timestamps within a pass.
pub struct Profiler {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    host: wgpu::Buffer,
    /// Nanoseconds of a tick.
    period: f32,
    /// The parts whose times are on their way to the host.
    awaited: Vec<String>,
    /// Whether the host's buffer can be read.
    mapped: Arc<AtomicBool>,
    /// Names and milliseconds.
    times: Vec<(String, f64)>,
}

impl Profiler {
    /// `None` if the device has no timestamps within a pass.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue, parts: u32) -> Option<Self> {
        if !device.features().contains(features()) {
            return None;
        }
        let count = 2 * parts;
        let buffer = |label, usage| {
            let size = u64::from(count) * u64::from(wgpu::QUERY_SIZE);
            device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false })
        };
        Some(Self {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("profiler"),
                ty: wgpu::QueryType::Timestamp,
                count,
            }),
            resolved: buffer("timestamps", wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            host: buffer("timestamps of the host", wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            period: queue.get_timestamp_period(),
            awaited: Vec::new(),
            mapped: Arc::default(),
            times: Vec::new(),
        })
    }

    /// Where the parts of a frame write their timestamps.
    pub fn queries(&self) -> &wgpu::QuerySet {
        &self.queries
    }

    /// Call when the parts of a frame are recorded. A frame whose times the host has not read yet is the last that counts.
    pub fn resolve(&mut self, encoder: &mut wgpu::CommandEncoder, parts: &[&str]) {
        if !self.awaited.is_empty() || parts.is_empty() {
            return;
        }
        encoder.resolve_query_set(&self.queries, 0..2 * parts.len() as u32, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.host, 0, self.host.size());
        self.awaited = parts.iter().map(|part| (*part).to_owned()).collect();
        let mapped = self.mapped.clone();
        encoder.map_buffer_on_submit(&self.host, wgpu::MapMode::Read, .., move |result| {
            mapped.store(result.is_ok(), Ordering::Release);
        });
    }

    /// Names and milliseconds of the last frame that the host has.
    pub fn times(&mut self) -> &[(String, f64)] {
        if self.mapped.swap(false, Ordering::Acquire) {
            let ticks: Vec<u64> = match self.host.get_mapped_range(..) {
                Ok(bytes) => {
                    bytes.chunks_exact(8).map(|tick| u64::from_le_bytes(tick.try_into().unwrap_or_default())).collect()
                }
                Err(_) => Vec::new(),
            };
            self.host.unmap();
            let ms = |span: &[u64]| f64::from(self.period) * span[1].saturating_sub(span[0]) as f64 / 1e6;
            self.times = self.awaited.drain(..).zip(ticks.chunks_exact(2).map(ms)).collect();
        }
        &self.times
    }
}

/// What a device needs for it.
pub fn features() -> wgpu::Features {
    wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES
}
