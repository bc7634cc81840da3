//! The uniform of `shaders/pointwise/shape.wgsl`, which says what each field is.

use crate::kernels::uniform::uniform;

uniform! {
    #[derive(Default)]
    pub(super) struct Shape {
        pub(super) cell_rows: u32,
        pub(super) cell_cols: u32,
        pub(super) threads: u32,
        pub(super) tiles: u32,
        pub(super) blocks: u32,
        pub(super) grid_x: u32,
        pub(super) t_out: u32,
        pub(super) stride_t: u32,
        pub(super) high_in: u32,
        pub(super) high_t: u32,
        pub(super) high_h: u32,
        pub(super) high_w: u32,
        pub(super) fine_h: u32,
        pub(super) fine_w: u32,
        pub(super) low_in: u32,
        pub(super) low_t: u32,
        pub(super) low_h: u32,
        pub(super) low_w: u32,
        pub(super) high_out: u32,
        pub(super) low_out: u32,
        pub(super) coarse_h: u32,
        pub(super) coarse_w: u32,
        pub(super) bias_high: u32,
        pub(super) bias_low: u32,
        pub(super) hh: u32,
        pub(super) hl: u32,
        pub(super) lh: u32,
        pub(super) ll: u32,
        pub(super) slope: f32,
        pub(super) high_of: u32,
        pub(super) high_first: u32,
        pub(super) low_of: u32,
        pub(super) low_first: u32,
        pub(super) unused_a: u32,
        pub(super) unused_b: u32,
        pub(super) unused_c: u32,
    }
}
