//! Host twin of `shaders/winograd_multiply.wgsl`.

use super::{Layout, Product, Tile, UNROLL};
use crate::error::Error;
use crate::estimate::{Part, Work};
use crate::kernels::wgsl::Source;
use crate::kernels::{Access, Kernel, Types};
use crate::packing::{Blocks, Packing, PointsPacking};
use crate::plan::{DeviceFacts, Dtype, Grid, Step, TensorId};
use crate::spec::Spec;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    weights: Dtype,
    workgroup: u32,
    rows_are_channels: bool,
    columns: u32,
    rows: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ProductShape {
    first: u32,
    column_blocks: u32,
    row_blocks: u32,
    threads: u32,
    depth: u32,
    columns: u32,
    columns_point: u32,
    columns_channel: u32,
    rows: u32,
    rows_point: u32,
    rows_block: u32,
    rows_channel: u32,
    sums: u32,
    sums_point: u32,
    sums_row: u32,
    unused: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    products: [ProductShape; 3],
    grid_x: u32,
    workgroups: u32,
    unused: [u32; 2],
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        let (columns, rows) = if self.rows_are_channels { ('t', 'c') } else { ('c', 't') };
        format!("winograd multiply {}{columns}{}{rows}", 4 * self.columns, 4 * self.rows)
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(Dtype::F32, self.workgroup);
        source.flag("ROWS_ARE_CHANNELS", self.rows_are_channels);
        source.constant("COLUMN_VECTORS", self.columns);
        source.constant("ROW_VECTORS", self.rows);
        source.constant("UNROLL", UNROLL);
        source.weights(self.weights, 4);
        source.binding(Access::Read, "v", "vec4<f32>");
        source.binding(Access::Write, "m", "vec4<f32>");
        source.file(include_str!("../../../shaders/winograd_multiply.wgsl"));
        source
    }
}

/// Threads along a product's columns.
fn threads(product: &Product, tile: Tile) -> u32 {
    let columns = if tile.rows_are_channels { product.level.row } else { product.padded };
    columns / (4 * tile.columns)
}

/// M of all products.
pub(super) fn step(facts: &DeviceFacts, spec: &Spec, types: Types, layout: &Layout) -> Result<Step, Error> {
    let tile = layout.tile;
    let products: Vec<_> = layout.products.iter().flatten().collect();
    let workgroup = facts.workgroup_for(products.iter().map(|product| u64::from(threads(product, tile))));
    let points = products.iter().map(|product| PointsPacking {
        paths: product.paths.into_iter().flatten().collect(),
        blocks: Blocks {
            groups: 1,
            group_channels: product.channels,
            group_blocks: if tile.rows_are_channels { product.padded / (4 * tile.rows) } else { 1 },
            block: if tile.rows_are_channels { 4 * tile.rows } else { product.padded },
        },
        outputs: tile.outputs,
        unroll: UNROLL,
    });
    let packing =
        Packing { dtype: types.weights, lanes: 4, biases: Vec::new(), paths: Vec::new(), points: points.collect() };
    let offsets = packing.offsets(spec);

    let mut workgroups = 0u64;
    let mut parts = Vec::new();
    // A product that is not there begins behind the last workgroup.
    let absent = ProductShape { first: u32::MAX, ..bytemuck::Zeroable::zeroed() };
    let mut shapes = [absent; 3];
    for ((shape, product), &weights) in shapes.iter_mut().zip(&products).zip(&offsets.points) {
        let (level, depth) = (product.level, product.depth);
        let (row, padded) = (level.row / 4, product.padded / 4);
        let (inputs, inputs_point) = (level.first / 4, level.depth * row);
        let threads = threads(product, tile);
        let column_blocks = threads.div_ceil(workgroup);
        let common = ProductShape {
            first: workgroups as u32,
            column_blocks,
            threads,
            depth,
            sums: product.first / 4,
            sums_point: product.padded * row,
            ..absent
        };
        *shape = if tile.rows_are_channels {
            ProductShape {
                row_blocks: padded / tile.rows,
                columns: inputs,
                columns_point: inputs_point,
                columns_channel: row,
                rows: weights,
                rows_point: depth * padded,
                rows_block: depth * tile.rows,
                rows_channel: tile.rows,
                sums_row: row,
                ..common
            }
        } else {
            ProductShape {
                row_blocks: row / tile.rows,
                columns: weights,
                columns_point: depth * padded,
                columns_channel: padded,
                rows: inputs,
                rows_point: inputs_point,
                rows_block: tile.rows,
                rows_channel: row,
                sums_row: padded,
                ..common
            }
        };
        let count = u64::from(layout.points()) * u64::from(column_blocks) * u64::from(shape.row_blocks);
        workgroups += count;
        let (columns, rows, depth) = (u64::from(4 * tile.columns), u64::from(4 * tile.rows), u64::from(depth));
        parts.push(Part {
            threads: count * u64::from(workgroup),
            multiplies: depth * columns * rows,
            loads: depth * columns,
            uniform_loads: depth * rows,
            stores: columns * rows,
            carried: depth / u64::from(UNROLL) * columns * rows,
        });
    }
    let grid = Grid::fold(workgroups, facts)?;
    let shape = Shape { products: shapes, grid_x: grid.x, workgroups: workgroups as u32, unused: [0; 2] };
    let constants = Constants {
        weights: types.weights,
        workgroup,
        rows_are_channels: tile.rows_are_channels,
        columns: tile.columns,
        rows: tile.rows,
    };
    Ok(Step {
        kernel: Kernel::WinogradMultiply(constants),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: vec![TensorId::Weights, layout.v, layout.m],
        grid,
        work: Work { parts, bytes: layout.bytes() + offsets.bytes },
        packing: Some(packing),
    })
}
