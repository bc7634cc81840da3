//! The application's profiler: how long each part of a frame takes on the device's clock.

use std::sync::mpsc::{self, Receiver, TryRecvError};

use eframe::wgpu;

/// Times of the frame before, if the device has timestamps within a pass.
pub struct Profiler {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    host: wgpu::Buffer,
    /// Nanoseconds of a tick.
    period: f32,
    /// What is on its way to the host.
    awaited: Option<Awaited>,
    /// Names and milliseconds.
    times: Vec<(String, f64)>,
}

/// The times of a frame that the host has not read yet.
struct Awaited {
    parts: Vec<String>,
    /// Says when the host's buffer can be read. Its sender is gone if the frame was never submitted.
    mapped: Receiver<Result<(), wgpu::BufferAsyncError>>,
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
            awaited: None,
            times: Vec::new(),
        })
    }

    /// Where the parts of a frame write their timestamps.
    pub fn queries(&self) -> &wgpu::QuerySet {
        &self.queries
    }

    /// Call when the parts of a frame are recorded. A frame whose times the host has not read yet is the last that counts.
    pub fn resolve(&mut self, encoder: &mut wgpu::CommandEncoder, parts: &[&str]) {
        if self.awaited.is_some() || parts.is_empty() {
            return;
        }
        encoder.resolve_query_set(&self.queries, 0..2 * parts.len() as u32, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.host, 0, self.host.size());
        let (sender, mapped) = mpsc::channel();
        self.awaited = Some(Awaited { parts: parts.iter().map(|part| (*part).to_owned()).collect(), mapped });
        // Nobody may wait for it any more.
        encoder.map_buffer_on_submit(&self.host, wgpu::MapMode::Read, .., move |result| drop(sender.send(result)));
    }

    /// Names and milliseconds of the last frame that the host has.
    pub fn times(&mut self) -> &[(String, f64)] {
        if let Some(awaited) = self.awaited.take() {
            match awaited.mapped.try_recv() {
                Ok(Ok(())) => self.times = self.read(awaited.parts),
                Err(TryRecvError::Empty) => self.awaited = Some(awaited),
                // egui drops a frame if the window has nothing to draw it to. The next one is timed again.
                Ok(Err(_)) | Err(TryRecvError::Disconnected) => {}
            }
        }
        &self.times
    }

    /// The times in the host's buffer.
    fn read(&self, parts: Vec<String>) -> Vec<(String, f64)> {
        let ticks: Vec<u64> = match self.host.get_mapped_range(..) {
            Ok(bytes) => {
                bytes.chunks_exact(8).map(|tick| u64::from_le_bytes(tick.try_into().unwrap_or_default())).collect()
            }
            Err(_) => Vec::new(),
        };
        self.host.unmap();
        let ms = |span: &[u64]| f64::from(self.period) * span[1].saturating_sub(span[0]) as f64 / 1e6;
        parts.into_iter().zip(ticks.chunks_exact(2).map(ms)).collect()
    }
}

/// What a device needs for it.
pub fn features() -> wgpu::Features {
    wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES
}
