//! The uniforms of the three kernels.

use crate::kernels::uniform::uniform;

uniform! {
    /// The inputs of one path.
    #[derive(Default)]
    pub(super) struct Feed {
        pub(super) workgroups: u32,
        pub(super) threads: u32,
        pub(super) row_threads: u32,
        pub(super) tiles: u32,
        pub(super) rows: u32,
        pub(super) cols: u32,
        pub(super) channels: u32,
        pub(super) t: u32,
        pub(super) source_h: u32,
        pub(super) source_w: u32,
        pub(super) map_h: u32,
        pub(super) map_w: u32,
        pub(super) v_first: u32,
        pub(super) v_point: u32,
        pub(super) v_channel: u32,
        pub(super) unused: u32,
    }
}

uniform! {
    pub(super) struct InputShape {
        pub(super) hh: Feed,
        pub(super) hl: Feed,
        pub(super) lh: Feed,
        pub(super) ll: Feed,
        pub(super) grid_x: u32,
        pub(super) padding_h: u32,
        pub(super) padding_w: u32,
        pub(super) unused: u32,
    }
}

uniform! {
    #[derive(Default)]
    pub(super) struct ProductShape {
        pub(super) workgroups: u32,
        pub(super) column_blocks: u32,
        pub(super) row_blocks: u32,
        pub(super) threads: u32,
        pub(super) depth: u32,
        pub(super) columns: u32,
        pub(super) columns_point: u32,
        pub(super) columns_block: u32,
        pub(super) columns_channel: u32,
        pub(super) rows: u32,
        pub(super) rows_point: u32,
        pub(super) rows_block: u32,
        pub(super) rows_channel: u32,
        pub(super) sums: u32,
        pub(super) sums_point: u32,
        pub(super) sums_row: u32,
    }
}

uniform! {
    pub(super) struct MultiplyShape {
        pub(super) products: [ProductShape; 3],
        pub(super) grid_x: u32,
        pub(super) unused_a: u32,
        pub(super) unused_b: u32,
        pub(super) unused_c: u32,
    }
}

uniform! {
    /// Where the sums of a product lie in M.
    #[derive(Default)]
    pub(super) struct Sums {
        pub(super) first: u32,
        pub(super) point: u32,
        pub(super) tile: u32,
        pub(super) channel: u32,
    }
}

uniform! {
    /// One of the outputs.
    #[derive(Default)]
    pub(super) struct Output {
        pub(super) workgroups: u32,
        pub(super) threads: u32,
        pub(super) tiles: u32,
        pub(super) rows: u32,
        pub(super) cols: u32,
        pub(super) t: u32,
        pub(super) h: u32,
        pub(super) w: u32,
        pub(super) bias: u32,
        pub(super) tensor_channels: u32,
        pub(super) first_channel: u32,
        pub(super) channels: u32,
        pub(super) sums: Sums,
    }
}

uniform! {
    pub(super) struct OutputShape {
        pub(super) high: Output,
        pub(super) low: Output,
        pub(super) from_low: Sums,
        pub(super) from_low_rows: u32,
        pub(super) from_low_cols: u32,
        pub(super) pooled_h: u32,
        pub(super) pooled_w: u32,
        pub(super) grid_x: u32,
        pub(super) slope: f32,
        pub(super) unused_a: u32,
        pub(super) unused_b: u32,
    }
}
