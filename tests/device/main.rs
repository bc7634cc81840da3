//! Everything that runs on a device, in one process.
//!
//! `cargo test --all-features --test device -- direct` runs what has `direct` in its name; `--list` shows all names. Rows of
//! the table (`cases.rs`) are named `table::FAMILY::THEME NUMBER`. At the end it says how many layers ran in f32, in f16
//! and on matrix units, and what could not run for want of which feature of the device.

mod cases;
mod direct;
#[path = "../support/draw.rs"]
mod draw;
mod embedding;
#[path = "../support/fixture.rs"]
mod fixture;
mod harness;
mod matrix;
mod network_plans;
mod networks;
mod opening;
mod pointwise;
mod property;
mod split_k;
mod staged;
mod sums_f16;
mod tune;
mod winograd;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use octconv::Family;

/// Named tests, `module::function` each.
macro_rules! tests {
    ($($module:ident: $($name:ident)*;)*) => {
        vec![$($(Trial::test(concat!(stringify!($module), "::", stringify!($name)), || { $module::$name(); Ok(()) })),*),*]
    };
}

/// `OCTCONV_TEST_PART=4` runs a fourth of the table and of the networks: for a second driver, and for drivers that compile slowly.
fn part() -> usize {
    let Ok(part) = std::env::var("OCTCONV_TEST_PART") else { return 1 };
    let number = part.parse().ok().filter(|&part| part > 0);
    number.unwrap_or_else(|| panic!("OCTCONV_TEST_PART is {part}: must be a number from 1 on"))
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Devices compile in threads of their own, and a test waits for its device most of the time.
    arguments.test_threads.get_or_insert(4);
    let mut trials = tests! {
        direct: planners_tiles narrow_grids grids_that_cannot_fold eight_storage_buffers threads_along_the_channels
            threads_along_the_channels_in_all_types threads_along_the_channels_are_for_software;
        pointwise: folded_grids what_is_paired;
        staged: folded_grids nothing_is_masked chosen_on_gpus_alone what_it_refuses;
        sums_f16: every_tile_is_there only_where_the_options_allow_it a_group_of_one_channel_has_no_pairs
            gpus_prefer_it_and_software_devices_do_not;
        matrix: windows_and_taps sizes_of_windows subgroups_smaller_than_planned folded_grids refusals limits
            the_planners_choice;
        winograd: folded_grids floored_sizes_with_an_exchange types layers_that_it_refuses scratch_that_does_not_fit;
        split_k: folded_grids small_maps_of_many_channels_are_sliced families_of_f16;
        embedding: a_layer_reads_what_the_one_before_wrote two_hundred_layers_in_one_pass recorded_again_gives_the_same
            threads_share_one_engine packed_weights_serve_other_sizes a_device_with_nothing_but_defaults
            other_work_in_the_same_pass tensors_inside_of_shared_buffers checked_kernels_agree_too
            everything_goes_between_threads a_destroyed_device a_device_that_executes_nothing
            matrices_take_features_and_a_shape;
        property: dense_layers_agree pointwise_layers_agree grouped_layers_agree depthwise_layers_agree clips_agree;
        tune: the_winner_is_right_and_the_next_device_runs_it every_family_is_tried a_layer_that_cannot_run_is_refused
            those_who_write_at_once_leave_a_whole_file compiled_pipelines_are_kept_and_damaged_ones_forgotten;
        network_plans: a_large_stem_is_pooled_in_bands an_output_that_is_concatenated_is_whole
            frequencies_are_apart_where_no_buffer_holds_both plans_of_other_networks_and_devices_are_refused
            variances_without_a_root_are_refused sizes_share_weights_and_pipelines;
        opening: limits_beyond_the_adapter an_adapter_that_is_not_there;
    };
    let part = part();
    trials.extend(networks::trials().into_iter().step_by(part));
    for (number, row) in cases::table().into_iter().enumerate() {
        for (turn, family) in Family::all().enumerate() {
            let takes = row.families.is_none_or(|some| some.contains(&family.name()));
            // The first row of a theme always runs; of the others every family has others.
            if !takes || !(row.name.ends_with(" 00") || (number + turn) % part == 0) {
                continue;
            }
            let (name, row) = (format!("table::{family}::{}", row.name), row.clone());
            trials.push(Trial::test(name, move || {
                harness::run_row(&row, family);
                Ok(())
            }));
        }
    }
    let listing = arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !listing {
        harness::report();
    }
    conclusion.exit_code()
}
