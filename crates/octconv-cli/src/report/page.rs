//! The page of a report: the verdict, then plots, then tables. It needs nothing but itself, and has the report inside.

use anyhow::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::data::{Cases, Layer, Network, NetworkForm, Problem, Quartiles, Report, Verified};
use super::plots::{self, figure};
use crate::output::{one_line, several, thousands};
use crate::target::PAGE;
use crate::timing::geometric_mean;

const STYLE: &str = include_str!("page.css");

/// Before and after the report in a page.
const DATA: [&str; 2] = ["<script type=\"application/json\" id=\"octconv-report\">", "</script>"];

/// The report in a page. `None` if the text is no page.
pub fn data_in(text: &str) -> Option<&str> {
    let (_, rest) = text.strip_prefix(PAGE)?.split_once(DATA[0])?;
    rest.split_once(DATA[1]).map(|(data, _)| data)
}

/// A page with this title and contents.
pub fn page(title: &str, contents: &Markup, data: Option<&Report>) -> Result<String> {
    debug_assert!(PAGE.starts_with(DOCTYPE.0));
    // Nothing in a script ends it but "<".
    let data = data.map(serde_json::to_string).transpose()?.map(|data| data.replace('<', "\\u003c"));
    let page = html! {
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (contents)
                @if let Some(data) = &data { (PreEscaped(DATA[0])) (PreEscaped(data)) (PreEscaped(DATA[1])) }
            }
        }
    };
    Ok(format!("{PAGE}{}\n", page.0))
}

/// The page of a report.
pub fn of_report(report: &Report) -> Result<String> {
    let adapter = &report.adapter;
    let first = report.options.dtypes.first().map_or("f32", String::as_str);
    let contents = html! {
        header {
            h1 { (adapter.name) }
            p class="soft" {
                (adapter.backend) ", " (adapter.driver) ". " (report.build) ". " span class="whole" { (report.started) } ". "
                @if !adapter.features.timestamp_query { "The device has no clock: times are the host's. " }
                @if report.left > 0 { (report.done.len()) " steps in " (figure(report.seconds() / 60.0)) " minutes, " (report.left) " left: the same command goes on." }
                @else { "All " (report.done.len()) " steps, in " (figure(report.seconds() / 60.0)) " minutes." }
            }
            ul class="cards" {
                @for Finding { good, figure, what } in verdict(report) { (card(good, &figure, &what)) }
            }
        }
        (wrong(report))
        (drawn(report, first))
        (networks(report))
        (layers(report))
        (verified(report))
        (tuned(report))
        (device(report))
        (steps("Steps that failed", &report.problems))
        (steps("Steps that the device has no room or no features for", &report.refused))
        p class="soft" { "This page holds the report it was made from: " code { "octconv report --merge" } " takes it as it is. docs/report.md explains every figure." }
    };
    page(&format!("octconv on {}", adapter.name), &contents, Some(report))
}

/// A figure that is as it must be, or not, or of which that cannot be said.
pub fn card(good: Option<bool>, figure: &str, what: &str) -> Markup {
    let class = match good {
        Some(true) => "good",
        Some(false) => "bad",
        None => "",
    };
    html! { li class=(class) { strong { (figure) } (what) } }
}

/// What a report comes to, in a line.
pub struct Finding {
    /// Whether it is as it must be, if that can be said.
    good: Option<bool>,
    figure: String,
    what: String,
}

/// What a report comes to, the most important first.
pub fn verdict(report: &Report) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |good, figure, what| findings.push(Finding { good, figure, what });
    let Cases { ran, wrong, refused } = report.cases();
    let left_out = if refused > 0 { format!("; {} more were refused", count(refused)) } else { String::new() };
    match (wrong, ran) {
        (1.., _) => {
            add(Some(false), format!("WRONG on {}", count(wrong)), format!("of {} random cases{left_out}", count(ran)));
        }
        (0, 0) => add(None, "–".into(), format!("no case was compared with the reference yet{left_out}")),
        (0, _) => add(
            Some(true),
            format!("right on {}", count(ran)),
            format!("random cases, all of them within the bound of rounding errors{left_out}"),
        ),
    }
    let candidates = report.wrong_candidates();
    if candidates > 0 {
        let what = "for tuning, whose results differ from those of the reference".into();
        add(Some(false), format!("WRONG: {}", several(candidates, "candidate")), what);
    }
    for (steps, good, what) in [(&report.problems, Some(false), "failed"), (&report.refused, None, "refused")] {
        if let [first, others @ ..] = &steps[..] {
            let more = if others.is_empty() { String::new() } else { format!("; and {} more", others.len()) };
            add(
                good,
                format!("{} {what}", several(steps.len(), "step")),
                format!("{}: {}{more}", first.step, first.problem),
            );
        }
    }
    if let Some(row) = report.headline() {
        add(
            None,
            times_as_fast(row.over_plain.median),
            format!(
                "as fast as plain: {}, {} against {} ms, with {} of the multiply-adds",
                row.title(),
                figure(row.octave.ms.median),
                figure(row.plain.ms.median),
                figure(row.octave.macs as f64 / row.plain.macs.max(1) as f64)
            ),
        );
        if let Some(over) = row.over_unfused {
            add(None, times_as_fast(over.median), format!("as fast as one dispatch per operation: {}", row.title()));
        }
    }
    for dtype in &report.options.dtypes {
        let rows: Vec<_> = report.layers_of(dtype, false).collect();
        if let Some(mean) = mean_speedup(&rows, |row| row.over_plain) {
            let unfused = mean_speedup(&rows, |row| row.over_unfused).unwrap_or(f64::NAN);
            let what = format!(
                "as fast as plain, and {} as unfused: {} in {dtype}, geometric mean",
                times_as_fast(unfused),
                several(rows.len(), "layer")
            );
            add(None, times_as_fast(mean), what);
        }
    }
    if let Some((gflops, gb_per_s)) = report.roofs("f32") {
        add(
            None,
            format!("{} GFLOP/s", figure(gflops)),
            format!("in f32, and {} GB/s: the most that probes reach here", figure(gb_per_s)),
        );
    }
    findings
}

/// The verdict as lines.
pub fn summary(report: &Report) -> String {
    let line = |finding: Finding| one_line(&format!("{} {}", finding.figure, finding.what)) + "\n";
    verdict(report).into_iter().map(line).collect()
}

fn times_as_fast(ratio: f64) -> String {
    format!("{}×", figure(ratio))
}

/// The geometric mean; `None` without rows.
fn mean_speedup(rows: &[&Layer], of: fn(&Layer) -> Quartiles) -> Option<f64> {
    let mean = geometric_mean(rows.iter().map(|row| of(row).median));
    mean.is_finite().then_some(mean)
}

fn count(value: u64) -> String {
    thousands(value.into())
}

fn drawn(report: &Report, first: &str) -> Markup {
    let layers: Vec<_> = report.layers_of(first, false).collect();
    let stages = report.headline().filter(|row| !row.stages.is_empty());
    let mut batches: Vec<_> = report
        .networks
        .iter()
        .filter(|row| {
            stages.is_some_and(|first| row.network == first.network && row.dtype == first.dtype) && !row.tuned
        })
        .collect();
    batches.sort_by_key(|row| row.size.batch);
    html! {
        @if !layers.is_empty() || stages.is_some() {
            h2 { "At a glance" }
            div class="plots" {
                @if !layers.is_empty() {
                    (drawing("Octave layers", html! {
                        "How many times as fast, " (first) "." (key("octave", "as plain, with quartiles")) (key("unfused", "as unfused"))
                        (key("mark", "as the multiply-adds predict, against plain"))
                    }, plots::speedups(&layers)))
                }
                div {
                    @if let Some(row) = stages {
                        (drawing(&format!("{} by stage", row.network), html! {
                            "Each up to the named node, " (row.dtype) ", batch " (row.size.batch) "." (key("octave", "octave")) (key("plain", "plain"))
                            (key("mark", "as the multiply-adds predict"))
                        }, plots::stages(row)))
                    }
                    @if batches.len() > 1 {
                        (drawing(&format!("{} by batch", batches[0].network), html! { (batches[0].dtype) "." (key("octave", "octave")) (key("plain", "plain")) }, plots::batches(&batches)))
                    }
                    @if !layers.is_empty() {
                        (drawing("Time against multiply-adds", html! { "A line joins the two forms of a layer, " (first) "." (key("octave", "octave")) (key("plain", "plain")) }, plots::times(&layers)))
                    }
                    @if let Some(plot) = plots::roofline(report, &layers, first).filter(|_| !layers.is_empty()) {
                        (drawing("Roofline", html! {
                            "How near layers come to what probes reach, " (first) ". Winograd kernels may lie above." (key("octave", "octave")) (key("plain", "plain"))
                        }, plot))
                    }
                }
            }
        }
    }
}

fn drawing(title: &str, caption: Markup, plot: Markup) -> Markup {
    html! { figure { figcaption { b { (title) } (caption) } (plot) } }
}

fn key(class: &str, what: &str) -> Markup {
    html! { span class=(format!("key {class}")) {} (what) }
}

/// A table that scrolls by itself on a narrow screen. A head that begins with a colon is over text, not over numbers.
pub fn table(heads: &[&str], rows: Markup) -> Markup {
    html! { div class="wide" { table { thead { tr { @for head in heads { (heading(head)) } } } tbody { (rows) } } } }
}

fn heading(head: &str) -> Markup {
    match head.strip_prefix(':') {
        Some(head) => html! { th class="text" { (head) } },
        None => html! { th { (head) } },
    }
}

/// Milliseconds, with half of what lies between the quartiles.
fn ms(ms: &Quartiles) -> Markup {
    html! { (figure(ms.median)) span class="soft" { " ± " (figure((ms.upper - ms.lower) / 2.0)) } }
}

/// The heads of [`compared`].
const COMPARED: [&str; 7] =
    ["", "octave, ms", "plain, ms", "unfused, ms", "over plain", "over unfused", "multiply-adds of plain"];

/// The cells that layers and networks share.
struct Compared {
    title: String,
    octave: Quartiles,
    plain: Quartiles,
    unfused: Option<Quartiles>,
    over_plain: Quartiles,
    over_unfused: Option<Quartiles>,
    /// Multiply-adds of octave and of plain.
    macs: [u64; 2],
}

impl Compared {
    fn cells(&self) -> Markup {
        html! {
            td { (self.title) } td { (ms(&self.octave)) } td { (ms(&self.plain)) } td { @if let Some(unfused) = &self.unfused { (ms(unfused)) } }
            td { (times_as_fast(self.over_plain.median)) } td { @if let Some(over) = self.over_unfused { (times_as_fast(over.median)) } }
            td { (figure(share(self.macs))) }
        }
    }
}

fn share([octave, plain]: [u64; 2]) -> f64 {
    octave as f64 / plain.max(1) as f64
}

fn networks(report: &Report) -> Markup {
    if report.networks.is_empty() {
        return html! {};
    }
    let forms = |row: &Network| {
        [("octave", row.octave.clone()), ("plain", row.plain.clone())]
            .into_iter()
            .chain(row.unfused.clone().map(|form| ("unfused", form)))
            .collect::<Vec<(&str, NetworkForm)>>()
    };
    let heads = [&COMPARED[..], &["pictures/s", "activations, MiB", "of plain"]].concat();
    let compared = |row: &Network| Compared {
        title: row.title(),
        octave: row.octave.ms,
        plain: row.plain.ms,
        unfused: row.unfused.as_ref().map(|form| form.ms),
        over_plain: row.over_plain,
        over_unfused: row.over_unfused,
        macs: [row.octave.macs, row.plain.macs],
    };
    html! {
        h2 { "Networks" }
        p class="soft" { "Median of the rounds, ± half of the distance between the quartiles. Random weights; one pass for each inference." }
        (table(&heads, html! {
            @for row in &report.networks {
                tr {
                    (compared(row).cells()) td { (figure(row.pictures_a_second())) }
                    td { (mib(row.octave.activation_bytes)) } td { (figure(share([row.octave.activation_bytes, row.plain.activation_bytes]))) }
                }
            }
        }))
        details {
            summary { "Dispatches, weights and compile times" }
            (table(&["network", "form", "dispatches", "layers", "tuned, or unfused", "weights, MiB", "activations, MiB", "planning, ms", "compiling, ms", "first run, ms"], html! {
                @for row in &report.networks { @for (form, data) in forms(row) {
                    tr {
                        td { (row.title()) } td { (form) } td { (data.dispatches) } td { (data.layers) } td { (data.as_wanted) }
                        td { (mib(data.weight_bytes)) } td { (mib(data.activation_bytes)) }
                        td { (figure(data.plan_ms)) } td { (figure(data.compile_ms)) } td { (figure(data.first_ms)) }
                    }
                } }
            }))
        }
    }
}

fn mib(bytes: u64) -> String {
    figure(bytes as f64 / f64::from(1 << 20))
}

fn layers(report: &Report) -> Markup {
    if report.layers.is_empty() {
        return html! {};
    }
    let mut rows: Vec<_> = report.layers.iter().collect();
    rows.sort_by_key(|row| (row.filled, report.options.dtypes.iter().position(|dtype| *dtype == row.dtype)));
    let heads = [&COMPARED[..], &["GFLOP/s", "% of roofline", "dispatches", ":variant"]].concat();
    let compared = |row: &Layer| Compared {
        title: row.title(),
        octave: row.octave.ms,
        plain: row.plain.ms,
        unfused: Some(row.unfused.ms),
        over_plain: row.over_plain,
        over_unfused: Some(row.over_unfused),
        macs: [row.octave.macs, row.plain.macs],
    };
    html! {
        h2 { "Layers" }
        p class="soft" { "Each alone, as the planner chose its kernels. GFLOP/s count a multiply-add as two." }
        (table(&heads, html! {
            @for row in rows {
                tr {
                    (compared(row).cells()) td { (figure(2e-6 * row.octave.macs as f64 / row.octave.ms.median)) }
                    td { @if let Some(percent) = report.percent_of_roofline(&row.octave, &row.dtype) { (figure(percent)) } }
                    td { (row.octave.dispatches) } td class="text" { code { (row.octave.variant) } }
                }
            }
        }))
    }
}

/// What is wrong, before anything else.
fn wrong(report: &Report) -> Markup {
    let rows: Vec<_> = report.verify.iter().filter(|row| row.wrong > 0).collect();
    let tuned: Vec<_> = report.tune.iter().filter(|row| !row.tried.wrong.is_empty()).collect();
    html! {
        @if !rows.is_empty() || !tuned.is_empty() { h2 class="bad-text" { "What is wrong" } }
        @for row in rows {
            p { strong { (row.family) @if let Some(tile) = &row.tile { "/" (tile) } } ", " (mode(row)) ": " (count(row.wrong)) " of " (count(row.cases)) " cases." }
            @for example in &row.examples {
                p { (example.problem) br; code { (example.repeat) } }
                details { summary { "The case" } p { code { (example.case) } } }
            }
        }
        @for row in tuned {
            p { strong { (row.title()) } ", candidates for tuning:" }
            @for candidate in &row.tried.wrong { p { (candidate) } }
        }
    }
}

fn mode(row: &Verified) -> &'static str {
    match (row.checked, row.as_gpu) {
        (false, false) => "as usual",
        (true, false) => "with bounds checks",
        (false, true) => "with the kernels of a GPU",
        (true, true) => "with the kernels of a GPU and bounds checks",
    }
}

fn verified(report: &Report) -> Markup {
    if report.verify.is_empty() {
        return html! {};
    }
    let mut families: Vec<&str> = Vec::new();
    let mut modes: Vec<&str> = Vec::new();
    for row in &report.verify {
        if !families.contains(&row.family.as_str()) {
            families.push(&row.family);
        }
        if !modes.contains(&mode(row)) {
            modes.push(mode(row));
        }
    }
    let of = |family: &str, name: &str| {
        report.verify.iter().filter(|row| row.family == family && mode(row) == name).collect::<Vec<_>>()
    };
    let heads: Vec<_> = ["family"].into_iter().chain(modes.iter().copied()).collect();
    html! {
        h2 { "Compared with the reference" }
        p class="soft" { "Random layers, and random networks, within a bound on rounding errors. A cell has cases, tiles, and the largest error over its bound. No case means that no layer was found that the device runs so." }
        (table(&heads, html! {
            @for family in &families { tr {
                td { (family) }
                @for mode in &modes { td { (cell(&of(family, mode))) } }
            } }
        }))
        details {
            summary { "Every tile" }
            (table(&["family", ":tile", ":", "cases", "wrong", "refused", "largest error over its bound"], html! {
                @for row in &report.verify {
                    tr {
                        td { (row.family) } td class="text" { code { (row.tile.as_deref().unwrap_or("–")) } } td class="text" { (mode(row)) }
                        td { (count(row.cases)) } td class=(if row.wrong > 0 { "bad-text" } else { "" }) { (count(row.wrong)) }
                        td { @if let Some(why) = &row.refusal { span title=(why) { (count(row.refused)) } } @else { (count(row.refused)) } }
                        td { @if row.cases > row.wrong { (figure(row.worst)) } }
                    }
                }
            }))
        }
    }
}

/// What the tiles of a family come to.
fn cell(rows: &[&Verified]) -> Markup {
    let Cases { ran, wrong, refused } = Cases::of(rows.iter().copied());
    let tiles = rows.iter().filter(|row| row.cases > 0 && row.tile.is_some()).count();
    let worst = rows.iter().map(|row| row.worst).fold(0.0, f64::max);
    html! {
        @if rows.is_empty() { span class="soft" { "–" } }
        @else if wrong > 0 { span class="bad-text" { (count(wrong)) " of " (count(ran)) " wrong" } }
        @else if ran == 0 { span class="soft" { "no case" } }
        @else { span class="good-text" { (count(ran)) " right" } }
        span class="soft" {
            @if tiles > 0 { ", " (several(tiles, "tile")) }
            @if ran > wrong { ", " (figure(worst)) }
            @if refused > 0 { ", " (count(refused)) " refused" }
        }
    }
}

fn tuned(report: &Report) -> Markup {
    if report.tune.is_empty() {
        return html! {};
    }
    let gains: Vec<_> = report.tune.iter().filter_map(|row| row.tried.gain).collect();
    let measured = several(gains.len(), "layer");
    let time = |ms: Option<f64>| ms.map_or("–".into(), figure);
    html! {
        h2 { "Tuning" }
        @if !gains.is_empty() {
            p class="soft" { "The fastest kernels against the planner's choice: " (times_as_fast(geometric_mean(gains))) " as fast, in the geometric mean of " (measured) "." }
        }
        (table(&["layer", "gain", "fastest, ms", "planned, ms", "tried", "wrong", "refused", ":fastest", ":planned"], html! {
            @for row in &report.tune {
                tr {
                    td { (row.title()) } td { (row.tried.gain.map_or("–".into(), times_as_fast)) }
                    td { (time(row.tried.winner_ms)) } td { (time(row.tried.planned_ms)) } td { (row.tried.tried) }
                    td class=(if row.tried.wrong.is_empty() { "" } else { "bad-text" }) { (row.tried.wrong.len()) }
                    td { @if row.tried.refused.is_empty() { "0" } @else { span title=(row.tried.refused.join("\n")) { (row.tried.refused.len()) } } }
                    td class="text" { code { (row.tried.winner) } } td class="text" { code { (row.tried.planned) } }
                }
            }
        }))
    }
}

fn device(report: &Report) -> Markup {
    let (limits, features) = (&report.adapter.limits, &report.adapter.features);
    let yes = |has: bool| if has { "yes" } else { "no" };
    let matrices: Vec<_> = features.cooperative_matrices.iter().map(ToString::to_string).collect();
    let facts = [
        ("kind", report.adapter.device_type.clone()),
        ("computes in f16", yes(features.shader_f16).into()),
        ("has a clock", yes(features.timestamp_query).into()),
        (
            "subgroups, threads",
            if features.subgroups {
                format!("{} to {}", features.subgroup_min_size, features.subgroup_max_size)
            } else {
                "no".into()
            },
        ),
        ("matrix units", if matrices.is_empty() { "none".into() } else { matrices.join("; ") }),
        ("a binding, MiB", mib(limits.max_storage_buffer_binding_size)),
        ("a buffer, MiB", mib(limits.max_buffer_size)),
        ("storage buffers of a shader", limits.max_storage_buffers_per_shader_stage.to_string()),
        ("workgroup memory, bytes", count(limits.max_compute_workgroup_storage_size.into())),
        ("threads of a workgroup", count(limits.max_compute_invocations_per_workgroup.into())),
    ];
    html! {
        h2 { "The device" }
        (table(&["", ""], html! { @for (what, value) in &facts { tr { td { (what) } td class="long" { (value) } } } }))
        @if let Some(roofline) = &report.roofline {
            (table(&["probe", "rate", ":reached by"], html! {
                @for a in &roofline.arithmetic {
                    tr {
                        td { @if let Some(side) = a.matrix { (side) "×" (side) " matrices, " (a.factors) " into " (a.sums) } @else { (a.factors) " multiply-adds" } }
                        td { (figure(a.gflops)) " GFLOP/s" } td class="long" { (a.configuration) }
                    }
                }
                @for (what, rate) in [("memory, read", &roofline.read), ("memory, copied", &roofline.copy)] {
                    tr { td { (what) } td { (figure(rate.gb_per_s)) " GB/s" } td class="long" { (rate.configuration) } }
                }
                tr { td { "an empty dispatch" } td { (figure(roofline.launch_us)) " µs" } td class="long" { "one of many in a pass" } }
            }))
        }
    }
}

fn steps(title: &str, rows: &[Problem]) -> Markup {
    html! {
        @if !rows.is_empty() {
            h2 { (title) }
            (table(&["step", ":why"], html! { @for row in rows { tr { td { (row.step) } td class="long" { (row.problem) } } } }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::data::Wrong;

    #[test]
    fn a_page_begins_with_the_verdict_and_holds_its_report() {
        let report = Report::example();
        let page = of_report(&report).unwrap();
        let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in {page}"));
        let order = [
            "<ul class=\"cards\">",
            "right on 10",
            "1.48×",
            "At a glance",
            "<svg ",
            "Networks",
            "Compared with the reference",
            "Tuning",
            "Steps that the device has no room",
        ];
        assert!(order.map(place).is_sorted(), "{page}");
        assert_eq!(serde_json::from_str::<Report>(data_in(&page).unwrap()).unwrap(), report);
        assert_eq!(data_in("{}"), None);
    }

    #[test]
    fn names_from_outside_are_text() {
        let hostile = "</script><script>alert('&')</script>\"><img>\n\u{1b}";
        let mut report = Report::example();
        report.adapter.name = hostile.into();
        report.adapter.driver = hostile.into();
        report.layers[0].layer = hostile.into();
        report.networks[0].network = hostile.into();
        report.networks[0].stages[0].stage = hostile.into();
        report.problems = vec![Problem { step: hostile.into(), problem: hostile.into() }];
        report.refused[0].problem = hostile.into();
        report.tune[0].tried.wrong = vec![hostile.into()];
        report.tune[0].tried.refused = vec![hostile.into()];
        report.verify[0].refusal = Some(hostile.into());
        let page = of_report(&report).unwrap();
        assert_eq!(page.matches("<script").count(), 1);
        assert_eq!(page.matches("</script").count(), 1);
        assert!(!page.contains("<img") && page.contains("&lt;/script&gt;"), "{page}");
        assert_eq!(serde_json::from_str::<Report>(data_in(&page).unwrap()).unwrap(), report);
        // Each finding stays one line.
        let summary = summary(&report);
        assert_eq!(summary.lines().count(), verdict(&report).len());
        assert!(!summary.contains('\u{1b}'), "{summary:?}");
    }

    #[test]
    fn what_is_wrong_comes_first() {
        let mut report = Report::example();
        assert!(!report.has_faults());
        report.verify[0].wrong = 3;
        let example =
            Wrong { case: "a layer".into(), problem: "y_h is NaN".into(), repeat: "octconv verify --seed 1".into() };
        report.verify[0].examples.push(example);
        let page = of_report(&report).unwrap();
        assert!(summary(&report).starts_with("WRONG on 3 of 10 random cases\n"));
        assert!(page.find("y_h is NaN").unwrap() < page.find("At a glance").unwrap(), "{page}");
        assert!(report.has_faults());
        // Even if a file says that no case ran.
        report.verify.iter_mut().for_each(|row| row.cases = 0);
        assert!(summary(&report).starts_with("WRONG on 3 of 0 random cases\n"));
        assert!(of_report(&report).unwrap().contains("<span class=\"bad-text\">3 of 0 wrong</span>"));
    }

    #[test]
    fn refused_cases_are_counted_apart() {
        let mut report = Report::example();
        report.verify[2].refused = 4;
        report.verify[2].refusal = Some("out of memory".into());
        let text = summary(&report);
        assert!(
            text.starts_with(
                "right on 10 random cases, all of them within the bound of rounding errors; 4 more were refused\n"
            ),
            "{text}"
        );
        let page = of_report(&report).unwrap();
        assert!(page.contains(", 4 refused") && page.contains("title=\"out of memory\""), "{page}");
        assert!(!page.contains("class=\"bad\"") && !report.has_faults());
    }

    #[test]
    fn failed_steps_and_wrong_candidates_are_faults() {
        let bad = "<li class=\"bad\"><strong>";
        let mut report = Report::example();
        let step = |step: &str| Problem { step: step.into(), problem: "it broke".into() };
        report.problems = vec![step("layer a f32"), step("layer b f32")];
        let page = of_report(&report).unwrap();
        assert!(
            page.contains(&format!("{bad}2 steps failed</strong>layer a f32: it broke; and 1 more</li>")),
            "{page}"
        );
        assert!(
            summary(&report).contains("\n2 steps failed layer a f32: it broke; and 1 more\n") && report.has_faults()
        );
        let mut report = Report::example();
        report.tune[0].tried.wrong.push("fused/direct/t8c4h4w: y_h differs".into());
        let page = of_report(&report).unwrap();
        assert!(page.contains(&format!("{bad}WRONG: 1 candidate</strong>")) && report.has_faults(), "{page}");
        assert!(page.find("y_h differs").unwrap() < page.find("At a glance").unwrap(), "{page}");
        // What has no room is told, and is no fault.
        let report = Report::example();
        let neutral = "<li class=\"\"><strong>1 step refused</strong>network resnet50 f32, batch 64: out of memory";
        assert!(of_report(&report).unwrap().contains(neutral) && !report.has_faults());
    }

    #[test]
    fn gains_are_those_that_were_measured() {
        let mut report = Report::example();
        let mut other = report.tune[0].clone();
        other.tried.gain = None;
        report.tune.push(other);
        let page = of_report(&report).unwrap();
        assert!(page.contains("1.11× as fast, in the geometric mean of 1 layer."), "{page}");
        report.tune.iter_mut().for_each(|row| row.tried.gain = None);
        assert!(!of_report(&report).unwrap().contains("geometric mean of 0"));
    }

    #[test]
    fn a_report_of_any_part_has_a_page() {
        let empty = |mut report: Report| {
            report.verify.clear();
            report.roofline = None;
            report
        };
        let mut report = empty(Report::example());
        report.layers.clear();
        assert!(of_report(&report).unwrap().contains("resnet50"));
        report.networks.clear();
        report.tune.clear();
        let page = of_report(&report).unwrap();
        assert!(page.contains("no case was compared") && !page.contains("<svg"), "{page}");
        let mut report = empty(Report::example());
        report.networks.clear();
        assert!(!of_report(&report).unwrap().contains("NaN"));
    }
}
