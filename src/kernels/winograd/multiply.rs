//! The dispatch between the first and the last: makes M of products that are cut alike.

use super::layout::{Layout, Product};
use super::recipe::MultiplyConstants;
use super::tile::{Tile, UNROLL};
use super::uniform::{MultiplyShape, ProductShape};
use super::work;
use crate::device::{DeviceFacts, Work};
use crate::error::Error;
use crate::kernels::family::Request;
use crate::kernels::job::TensorId;
use crate::kernels::packing::{Blocks, Packing, PointsPacking};
use crate::kernels::step::{Grid, Kernel, Step};
use crate::precision::Dtype;

/// How a dispatch is cut into workgroups.
struct Cut {
    tile: Tile,
    workgroup: u32,
    /// Channels of a workgroup.
    block: u32,
}

impl Cut {
    fn new(facts: &DeviceFacts, tile: Tile, products: &[&Product]) -> Self {
        let workgroup = match facts.software && !tile.rows_are_channels {
            // A workgroup is one vector of threads, so that it reads its weights in order: they do not fit into caches.
            true => facts.workgroup_for([1]),
            false => facts.workgroup_for(products.iter().map(|product| u64::from(threads(product, tile)))),
        };
        let block = if tile.rows_are_channels { tile.rows } else { tile.columns * workgroup };
        Self { tile, workgroup, block }
    }

    fn packing(&self, dtype: Dtype, products: &[&Product]) -> Packing {
        let points = products.iter().map(|product| PointsPacking {
            paths: product.paths.into_iter().flatten().collect(),
            blocks: Blocks {
                groups: 1,
                group_channels: product.channels,
                group_blocks: product.channels.div_ceil(self.block),
                block: self.block,
            },
            outputs: self.tile.outputs,
            unroll: UNROLL,
        });
        Packing { dtype, lanes: 4, matrix_slab: None, biases: Vec::new(), paths: Vec::new(), points: points.collect() }
    }

    /// The uniform of a product. Its weights begin at vector `weights`.
    fn shape(&self, product: &Product, weights: u32) -> ProductShape {
        let Self { tile, workgroup, .. } = *self;
        let (row, depth, lanes) = (product.resolution.row, product.depth, tile.lanes());
        let threads = threads(product, tile);
        let common = ProductShape {
            column_blocks: threads.div_ceil(workgroup),
            threads,
            depth,
            sums: product.first / lanes,
            sums_point: product.padded * row / lanes,
            ..ProductShape::default()
        };
        let mut shape = match tile.rows_are_channels {
            true => self.with_columns_of_tiles(common, product, weights),
            false => self.with_columns_of_channels(common, product, weights),
        };
        shape.workgroups = tile.points() * shape.column_blocks * shape.row_blocks;
        shape
    }

    fn with_columns_of_tiles(&self, common: ProductShape, product: &Product, weights: u32) -> ProductShape {
        let Self { tile, workgroup, .. } = *self;
        let (resolution, lanes) = (product.resolution, tile.lanes());
        ProductShape {
            row_blocks: product.padded / tile.rows,
            columns: resolution.first / lanes,
            columns_point: resolution.depth * resolution.row / lanes,
            columns_block: workgroup * tile.columns / lanes,
            columns_channel: resolution.row / lanes,
            rows: weights,
            rows_point: product.depth * product.padded / 4,
            rows_block: product.depth * tile.rows / 4,
            rows_channel: tile.rows / 4,
            sums_row: resolution.row / lanes,
            ..common
        }
    }

    fn with_columns_of_channels(&self, common: ProductShape, product: &Product, weights: u32) -> ProductShape {
        let Self { tile, block, .. } = *self;
        let resolution = product.resolution;
        ProductShape {
            row_blocks: resolution.row / tile.rows,
            columns: weights,
            columns_point: product.depth * common.column_blocks * block / 4,
            columns_block: product.depth * block / 4,
            columns_channel: block / 4,
            rows: resolution.first / 4,
            rows_point: resolution.depth * resolution.row / 4,
            rows_block: tile.rows / 4,
            rows_channel: resolution.row / 4,
            sums_row: product.padded / 4,
            ..common
        }
    }
}

/// Threads along a product's columns.
fn threads(product: &Product, tile: Tile) -> u32 {
    let columns = if tile.rows_are_channels { product.resolution.row } else { product.padded };
    columns / tile.columns
}

/// The dispatch that makes M of these products: at most three, which are cut alike.
pub(super) fn step(request: &Request, layout: &Layout, products: &[&Product]) -> Result<Step, Error> {
    let Request { facts, spec, types, .. } = *request;
    let at_once = products.first().map_or(0, |product| product.resolution.at_once);
    let cut = Cut::new(facts, layout.tile.taking(at_once), products);
    let packing = cut.packing(types.weights, products);
    let offsets = packing.offsets(spec);
    let mut shapes = [ProductShape::default(); 3];
    let mut work = Work { parts: Vec::new(), bytes: offsets.bytes };
    let mut workgroups = 0;
    for ((shape, product), &weights) in shapes.iter_mut().zip(products).zip(&offsets.points) {
        *shape = cut.shape(product, weights);
        workgroups += u64::from(shape.workgroups);
        work.parts.push(work::of_product(types, cut.tile, shape, cut.workgroup));
        work.bytes += work::product_bytes(cut.tile, product);
    }
    let grid = Grid::fold(workgroups, facts)?;
    let shape = MultiplyShape { products: shapes, grid_x: grid.x, unused_a: 0, unused_b: 0, unused_c: 0 };
    let constants = MultiplyConstants { types, tile: cut.tile, workgroup: cut.workgroup };
    Ok(Step {
        kernel: Kernel::recipe(constants.name(), constants.recipe()),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: vec![TensorId::Weights, layout.v, layout.m],
        grid,
        packing: Some(packing),
        f16_terms: 0,
        work,
    })
}
