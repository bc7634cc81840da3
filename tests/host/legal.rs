//! Which variants are legal for the layers of the device's table: a change of what a layer can run is seen here.
//!
//! On a device that has all that octconv has a use for, so that nothing but the layer itself refuses. `INSTA_UPDATE=always`
//! writes the file anew.

use std::collections::BTreeMap;

use octconv::{DeviceFacts, Options, Plan, Variant, wgpu};

use crate::cases::{F16, Row, table};

fn able() -> DeviceFacts {
    let features = wgpu::Features::SHADER_F16
        | wgpu::Features::SHADER_INT64
        | wgpu::Features::SUBGROUP
        | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let limits = wgpu::Limits { max_storage_buffers_per_shader_stage: 16, ..wgpu::Limits::default() };
    DeviceFacts { features, limits, software: true, matrix: Some(8), subgroup_sizes: [8; 2] }
}

/// The legal variants of a row with f16 tensors, a line for each strategy.
fn legal(row: &Row, facts: &DeviceFacts) -> Vec<String> {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for variant in Variant::all() {
        let options = Options { precision: F16, variant: Some(variant), ..row.options };
        if Plan::new(&row.spec, row.size, &options, facts).is_err() {
            continue;
        }
        let strategy = variant.to_string().split('/').next().unwrap_or_default().to_owned();
        match lines.last_mut() {
            Some((last, families)) if *last == strategy => families.push(variant.family.name()),
            _ => lines.push((strategy, vec![variant.family.name()])),
        }
    }
    lines.into_iter().map(|(strategy, families)| format!("{strategy}: {}", families.join(" "))).collect()
}

#[test]
fn variants_of_the_table() {
    let facts = able();
    let mut text = String::new();
    let mut themes: Vec<(String, BTreeMap<Vec<String>, Vec<String>>)> = Vec::new();
    for row in table() {
        let (theme, number) = row.name.rsplit_once(' ').unwrap();
        if themes.last().is_none_or(|(last, _)| last != theme) {
            themes.push((theme.to_owned(), BTreeMap::new()));
        }
        let (_, answers) = themes.last_mut().unwrap();
        answers.entry(legal(&row, &facts)).or_default().push(number.to_owned());
    }
    for (theme, answers) in themes {
        for (lines, numbers) in answers {
            text += &format!("{theme} {}\n", numbers.join(" "));
            lines.iter().for_each(|line| text += &format!("    {line}\n"));
        }
    }
    insta::assert_snapshot!(text);
}

/// Each family is in the table for something.
#[test]
fn every_family_runs_rows_of_the_table() {
    let facts = able();
    for family in octconv::Family::all() {
        let takes = |row: &&Row| {
            let allowed = row.families.is_none_or(|some| some.contains(&family.name()));
            let strategies = octconv::Strategy::all().filter(|&strategy| strategy != octconv::Strategy::Unfused);
            allowed
                && strategies.into_iter().any(|strategy| {
                    let variant = Some(Variant { strategy, family, tile: None });
                    let options = Options { precision: F16, variant, ..row.options };
                    Plan::new(&row.spec, row.size, &options, &facts).is_ok()
                })
        };
        let rows = table();
        let count = rows.iter().filter(takes).count();
        assert!(count > 40, "{family} runs {count} of {} rows", rows.len());
    }
}
