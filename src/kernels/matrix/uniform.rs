//! The uniform of `shaders/matrix/shape.wgsl`, which says what each field is.

use crate::kernels::uniform::uniform;

uniform! {
    #[derive(Default)]
    pub(super) struct PathShape {
        pub(super) c_in: u32,
        pub(super) slabs: u32,
        pub(super) source_t: u32,
        pub(super) source_h: u32,
        pub(super) source_w: u32,
        pub(super) stride: u32,
        pub(super) weights: u32,
        pub(super) row_size: u32,
    }
}

uniform! {
    #[derive(Default)]
    pub(super) struct OutputShape {
        pub(super) tensor_c: u32,
        pub(super) first_c: u32,
        pub(super) c_out: u32,
        pub(super) t: u32,
        pub(super) h: u32,
        pub(super) w: u32,
        pub(super) counted_rows: u32,
        pub(super) counted_cols: u32,
        pub(super) cells: u32,
        pub(super) blocks: u32,
        pub(super) bias: u32,
        pub(super) pooled_h: u32,
        pub(super) pooled_w: u32,
        pub(super) given_h: u32,
        pub(super) given_w: u32,
        pub(super) planes: u32,
    }
}

uniform! {
    pub(super) struct Shape {
        pub(super) hh: PathShape,
        pub(super) hl: PathShape,
        pub(super) lh: PathShape,
        pub(super) ll: PathShape,
        pub(super) high: OutputShape,
        pub(super) low: OutputShape,
        pub(super) grid_x: u32,
        pub(super) high_workgroups: u32,
        pub(super) workgroups: u32,
        pub(super) stride_t: u32,
        pub(super) kernel_t: u32,
        pub(super) kernel_h: u32,
        pub(super) kernel_w: u32,
        pub(super) padding_t: u32,
        pub(super) padding_h: u32,
        pub(super) padding_w: u32,
        pub(super) dilation_t: u32,
        pub(super) dilation_h: u32,
        pub(super) dilation_w: u32,
        pub(super) slope: f32,
        pub(super) slices: u32,
        pub(super) unused: u32,
    }
}
