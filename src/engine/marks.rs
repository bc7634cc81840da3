//! Marks in a pass, by which profilers find what is octconv's.

use crate::error::Error;

/// What [`Layer::record_marked`](crate::Layer::record_marked) writes around the dispatches of a layer or a node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks<'a> {
    /// Whether each layer or node is a debug group of its name, as RenderDoc, Xcode and PIX show them.
    pub groups: bool,
    /// A query set of timestamps, and the first query that is free in it. Each layer or node writes one before its
    /// dispatches and one behind them. It needs `TIMESTAMP_QUERY_INSIDE_PASSES`, a feature that octconv itself never asks for.
    pub timestamps: Option<(&'a wgpu::QuerySet, u32)>,
}

/// Writes marks into a pass.
pub(crate) struct Marker<'m, 'p, 'e> {
    marks: Marks<'m>,
    pass: &'p mut wgpu::ComputePass<'e>,
}

impl<'m, 'p, 'e> Marker<'m, 'p, 'e> {
    /// Refuses timestamps on a device without the feature, and a query set that has no room for those of so many spans.
    pub(crate) fn new(
        marks: Marks<'m>,
        features: wgpu::Features,
        spans: usize,
        pass: &'p mut wgpu::ComputePass<'e>,
    ) -> Result<Self, Error> {
        if let Some((queries, first)) = marks.timestamps {
            if !features.contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES) {
                let feature = "TIMESTAMP_QUERY_INSIDE_PASSES";
                return Err(Error::Feature { what: "timestamps of layers", feature });
            }
            let needs = 2 * spans as u64;
            if u64::from(first) + needs > u64::from(queries.count()) {
                let allowed = format!("must leave room for {needs} timestamps among the {} queries", queries.count());
                return Err(Error::argument("timestamps", first, allowed));
            }
            if !matches!(queries.ty(), wgpu::QueryType::Timestamp) {
                let allowed = "must be a query set of timestamps";
                return Err(Error::argument("timestamps", format!("{:?}", queries.ty()), allowed));
            }
        }
        Ok(Self { marks, pass })
    }

    /// Records a span of the pass between its marks.
    pub(crate) fn span(&mut self, name: &str, record: impl FnOnce(&mut wgpu::ComputePass<'e>)) {
        if self.marks.groups {
            self.pass.push_debug_group(name);
        }
        self.timestamp();
        record(self.pass);
        self.timestamp();
        if self.marks.groups {
            self.pass.pop_debug_group();
        }
    }

    fn timestamp(&mut self) {
        if let Some((queries, next)) = &mut self.marks.timestamps {
            self.pass.write_timestamp(queries, *next);
            *next += 1;
        }
    }
}
