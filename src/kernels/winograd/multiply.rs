//! Host twin of `shaders/winograd_multiply.wgsl`.

use super::{Layout, Product, Tile, UNROLL};
use crate::device::DeviceFacts;
use crate::device::Words;
use crate::device::{Part, Work};
use crate::error::Error;
use crate::kernels::job::TensorId;
use crate::kernels::packing::{Blocks, Packing, PointsPacking};
use crate::kernels::wgsl::Source;
use crate::kernels::{Access, Kernel, Types};
use crate::kernels::{Grid, Step};
use crate::layer::Spec;
use crate::precision::Dtype;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    weights: Dtype,
    words: Words,
    workgroup: u32,
    rows_are_channels: bool,
    columns: u32,
    rows: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ProductShape {
    workgroups: u32,
    column_blocks: u32,
    row_blocks: u32,
    threads: u32,
    depth: u32,
    columns: u32,
    columns_point: u32,
    columns_block: u32,
    columns_channel: u32,
    rows: u32,
    rows_point: u32,
    rows_block: u32,
    rows_channel: u32,
    sums: u32,
    sums_point: u32,
    sums_row: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    products: [ProductShape; 3],
    grid_x: u32,
    unused: [u32; 3],
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        let (columns, rows) = if self.rows_are_channels { ('t', 'c') } else { ('c', 't') };
        format!("winograd multiply {}{columns}{}{rows}", self.columns, self.rows)
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(Dtype::F32, self.workgroup).with_words(self.words);
        let lanes = self.columns.min(4);
        source.constant("COLUMN_VECTORS", self.columns / lanes);
        source.constant("ROW_VECTORS", self.rows / 4);
        source.line(&format!("alias Column = vec{lanes}<f32>;"));
        source.constant("UNROLL", UNROLL);
        source.weights(self.weights, 4);
        source.vectors(Access::Read, "v", if self.rows_are_channels { lanes } else { 4 });
        source.vectors(Access::Write, "m", lanes);
        let (column, row) = if self.rows_are_channels { ("load_v", "weight") } else { ("weight", "load_v") };
        source.line(&format!("fn column(i: u32) -> Column {{ return {column}(i); }}"));
        source.line(&format!("fn row(i: u32) -> vec4<f32> {{ return {row}(i); }}"));
        source.file(include_str!("../../../shaders/turns.wgsl"));
        source.file(include_str!("../../../shaders/winograd_multiply.wgsl"));
        source
    }
}

/// Threads along a product's columns.
fn threads(product: &Product, tile: Tile) -> u32 {
    let columns = if tile.rows_are_channels { product.level.row } else { product.padded };
    columns / tile.columns
}

/// M of `products`, at most three, cut by `tile`.
pub(super) fn step(
    facts: &DeviceFacts,
    spec: &Spec,
    types: Types,
    layout: &Layout,
    products: &[&Product],
    tile: Tile,
) -> Result<Step, Error> {
    let workgroup = match facts.software && !tile.rows_are_channels {
        // One vector of threads, which then reads its weights in order: there are more of them than caches hold.
        true => facts.workgroup_for([1]),
        false => facts.workgroup_for(products.iter().map(|product| u64::from(threads(product, tile)))),
    };
    // Of the channels, what a workgroup has.
    let block = if tile.rows_are_channels { tile.rows } else { tile.columns * workgroup };
    let points = products.iter().map(|product| PointsPacking {
        paths: product.paths.into_iter().flatten().collect(),
        blocks: Blocks {
            groups: 1,
            group_channels: product.channels,
            group_blocks: product.channels.div_ceil(block),
            block,
        },
        outputs: tile.outputs,
        unroll: UNROLL,
    });
    let packing = Packing {
        dtype: types.weights,
        lanes: 4,
        matrix_slab: None,
        biases: Vec::new(),
        paths: Vec::new(),
        points: points.collect(),
    };
    let offsets = packing.offsets(spec);

    // V and M are vectors too.
    let at_once = types.weights_a_load(tile.lanes());
    let mut workgroups = 0u64;
    let mut parts = Vec::new();
    let mut bytes = 0;
    let absent: ProductShape = bytemuck::Zeroable::zeroed();
    let mut shapes = [absent; 3];
    for ((shape, product), &weights) in shapes.iter_mut().zip(products).zip(&offsets.points) {
        let (level, depth) = (product.level, product.depth);
        let threads = threads(product, tile);
        let column_blocks = threads.div_ceil(workgroup);
        let common = ProductShape {
            column_blocks,
            threads,
            depth,
            sums: product.first / tile.lanes(),
            sums_point: product.padded * level.row / tile.lanes(),
            ..absent
        };
        *shape = if tile.rows_are_channels {
            ProductShape {
                row_blocks: product.padded / tile.rows,
                columns: level.first / tile.lanes(),
                columns_point: level.depth * level.row / tile.lanes(),
                columns_block: workgroup * tile.columns / tile.lanes(),
                columns_channel: level.row / tile.lanes(),
                rows: weights,
                rows_point: depth * product.padded / 4,
                rows_block: depth * tile.rows / 4,
                rows_channel: tile.rows / 4,
                sums_row: level.row / tile.lanes(),
                ..common
            }
        } else {
            ProductShape {
                row_blocks: level.row / tile.rows,
                columns: weights,
                columns_point: depth * column_blocks * block / 4,
                columns_block: depth * block / 4,
                columns_channel: block / 4,
                rows: level.first / 4,
                rows_point: level.depth * level.row / 4,
                rows_block: tile.rows / 4,
                rows_channel: level.row / 4,
                sums_row: product.padded / 4,
                ..common
            }
        };
        bytes += 4 * u64::from(layout.points()) * u64::from(level.row) * u64::from(depth + product.padded);
        let count = u64::from(layout.points()) * u64::from(column_blocks) * u64::from(shape.row_blocks);
        shape.workgroups = count as u32;
        workgroups += count;
        let (columns, rows, depth) = (u64::from(tile.columns), u64::from(tile.rows), u64::from(depth));
        parts.push(Part {
            threads: count * u64::from(workgroup),
            multiplies: depth * columns * rows,
            loads: depth * columns / at_once,
            uniform_loads: depth * rows / at_once,
            stores: columns * rows / at_once,
            carried: depth / u64::from(UNROLL) * columns * rows,
            ..Part::default()
        });
    }
    let grid = Grid::fold(workgroups, facts)?;
    let shape = Shape { products: shapes, grid_x: grid.x, unused: [0; 3] };
    let constants = Constants {
        weights: types.weights,
        words: types.words,
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
        work: Work { parts, bytes: bytes + offsets.bytes },
        packing: Some(packing),
        f16_terms: 0,
    })
}
