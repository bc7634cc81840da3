//! The uniform of `shaders/direct/shape.wgsl`, which says what each field is.

use crate::kernels::uniform::uniform;

uniform! {
    #[derive(Default)]
    pub(super) struct PathShape {
        pub(super) group_channels: u32,
        pub(super) source_channels: u32,
        pub(super) source_t: u32,
        pub(super) source_h: u32,
        pub(super) source_w: u32,
        pub(super) half_h: u32,
        pub(super) half_w: u32,
        pub(super) map_h: u32,
        pub(super) map_w: u32,
        pub(super) last_h: u32,
        pub(super) last_w: u32,
        pub(super) outer_h: u32,
        pub(super) outer_w: u32,
        pub(super) weights: u32,
        pub(super) unused_a: u32,
        pub(super) unused_b: u32,
    }
}

uniform! {
    #[derive(Default)]
    pub(super) struct OutputShape {
        pub(super) tensor_channels: u32,
        pub(super) t: u32,
        pub(super) h: u32,
        pub(super) w: u32,
        pub(super) rows: u32,
        pub(super) cols: u32,
        pub(super) threads: u32,
        pub(super) blocks: u32,
        pub(super) group_channels: u32,
        pub(super) group_blocks: u32,
        pub(super) bias: u32,
        pub(super) pooled_h: u32,
        pub(super) pooled_w: u32,
        pub(super) first_channel: u32,
        pub(super) first_row: u32,
        pub(super) slice_planes: u32,
    }
}

uniform! {
    #[derive(Default)]
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
        pub(super) kernel_t: u32,
        pub(super) stride_t: u32,
        pub(super) padding_t: u32,
        pub(super) dilation_t: u32,
        pub(super) padding_h: u32,
        pub(super) padding_w: u32,
        pub(super) dilation_h: u32,
        pub(super) dilation_w: u32,
        pub(super) slope: f32,
        pub(super) slices: u32,
        pub(super) unused_a: u32,
        pub(super) unused_b: u32,
        pub(super) unused_c: u32,
    }
}
