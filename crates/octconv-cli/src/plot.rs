//! Draws what `octconv bench` has timed: octave, plain, and what the multiply-adds predict.

use std::fmt::Display;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::output::one_line;
use crate::target::Target;

/// A layer, or a stage of a network.
pub struct Bar {
    pub name: String,
    pub octave_ms: f64,
    pub plain_ms: f64,
    /// Median over the rounds of the plain time over the octave time. The quotient of the medians differs a little.
    pub speedup: f64,
    /// The octave form's multiply-adds over the plain one's.
    pub macs_ratio: f64,
}

const PLAIN: RGBColor = RGBColor(176, 176, 176);
const OCTAVE: RGBColor = RGBColor(0, 114, 178);
const PREDICTED: RGBColor = RGBColor(213, 94, 0);
const INK: RGBColor = RGBColor(32, 32, 32);

const WIDTH: u32 = 960;
/// Height of a pair of bars in pixels.
const ROW: u32 = 36;
/// Pixels above the bars: title, subtitle, legend.
const TOP: u32 = 88;
/// Pixels below them: the axis, its labels and its name.
const BOTTOM: u32 = 48;
/// Pixels for the figures after the longest bar.
const RIGHT: u32 = 120;
/// Characters of a name that are shown.
const NAME: usize = 32;

/// Writes an SVG with the bars from top to bottom, and milliseconds along the bottom.
pub fn write(file: &Target, title: &str, subtitle: &str, bars: &[Bar]) -> Result<()> {
    file.write(draw(title, subtitle, bars)?.as_bytes())
}

fn draw(title: &str, subtitle: &str, bars: &[Bar]) -> Result<String> {
    let mut svg = String::new();
    let height = TOP + BOTTOM + ROW * bars.len() as u32;
    let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    draw_on(&root, title, subtitle, bars).map_err(|error| anyhow!("drawing the plot: {error}"))?;
    drop(root);
    Ok(svg)
}

type Failure = Box<dyn std::error::Error>;

fn draw_on(root: &DrawingArea<SVGBackend, Shift>, title: &str, subtitle: &str, bars: &[Bar]) -> Result<(), Failure> {
    root.fill(&WHITE)?;
    let text = |at: (i32, i32), size: u32, anchor: HPos, text: &dyn Display| {
        let style = ("sans-serif", size).into_font().color(&INK).pos(Pos::new(anchor, VPos::Center));
        root.draw(&Text::new(one_line(&text.to_string()), at, style))
    };
    text((16, 20), 19, HPos::Left, &title)?;
    text((16, 43), 14, HPos::Left, &subtitle)?;
    let legend = [
        (16, OCTAVE, "octave: ms, and its speed over plain"),
        (300, PLAIN, "plain: ms"),
        (400, PREDICTED, "plain x ratio of multiply-adds"),
    ];
    for (left, colour, name) in legend {
        let width = if colour == PREDICTED { 3 } else { 14 };
        root.draw(&Rectangle::new([(left, 60), (left + width, 74)], colour.filled()))?;
        text((left + width + 6, 67), 14, HPos::Left, &name)?;
    }

    let longest = bars.iter().map(|bar| shown(&bar.name).chars().count()).max().unwrap_or(0);
    let left = 24 + 8 * longest as u32;
    let slowest = bars.iter().flat_map(|bar| [bar.octave_ms, bar.plain_ms]).fold(0.0, f64::max);
    let end = if slowest > 0.0 { slowest } else { 1.0 };
    let area = root.margin(TOP, 0, 0, RIGHT);
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(BOTTOM)
        .y_label_area_size(left)
        .build_cartesian_2d(0.0..end, 0.0..bars.len().max(1) as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .y_labels(0)
        .x_labels(8)
        .x_desc("milliseconds (median)")
        .x_label_formatter(&|ms| format!("{ms}"))
        .label_style(("sans-serif", 14).into_font().color(&INK))
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK.mix(0.6))
        .draw()?;

    for (bar, row) in bars.iter().zip(0..) {
        // The axis points upwards.
        let y = |share: f64| bars.len() as f64 - f64::from(row) - share;
        let predicted = bar.plain_ms * bar.macs_ratio;
        chart.draw_series([
            Rectangle::new([(0.0, y(0.12)), (bar.octave_ms, y(0.50))], OCTAVE.filled()),
            Rectangle::new([(0.0, y(0.50)), (bar.plain_ms, y(0.88))], PLAIN.filled()),
        ])?;
        let [top, bottom] = [0.06, 0.56].map(|share| chart.backend_coord(&(predicted, y(share))));
        root.draw(&Rectangle::new([(top.0 - 1, top.1), (top.0 + 2, bottom.1)], PREDICTED.filled()))?;

        let axis = chart.backend_coord(&(0.0, y(0.5)));
        text((axis.0 - 8, axis.1), 14, HPos::Right, &shown(&bar.name))?;
        let speedup = format!("{}, {:.2}x", figure(bar.octave_ms), bar.speedup);
        for (ms, share, label) in [(bar.octave_ms, 0.31, speedup), (bar.plain_ms, 0.69, figure(bar.plain_ms))] {
            // Clear of the mark, if that stands just after the bar.
            let (x, y) = chart.backend_coord(&(ms, y(share)));
            let mark = if share < 0.5 && (-2..60).contains(&(top.0 - x)) { top.0 + 2 } else { x };
            text((mark + 5, y), 12, HPos::Left, &label)?;
        }
    }
    root.present()?;
    Ok(())
}

/// Three significant digits, or so.
fn figure(ms: f64) -> String {
    let digits = if ms < 1.0 {
        3
    } else if ms < 10.0 {
        2
    } else {
        1
    };
    format!("{ms:.digits$}")
}

fn shown(name: &str) -> String {
    match name.char_indices().nth(NAME) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, octave_ms: f64, plain_ms: f64) -> Bar {
        Bar { name: name.into(), octave_ms, plain_ms, speedup: 1.5, macs_ratio: 0.4375 }
    }

    #[test]
    fn each_row_has_its_name_and_bars() {
        let bars: Vec<_> = (0..19).map(|i| bar(&format!("layer {i} <&>"), 1.0 + f64::from(i), 20.0)).collect();
        let svg = draw("title", "subtitle", &bars).unwrap();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        for i in 0..19 {
            assert!(svg.contains(&format!("layer {i} &lt;&amp;&gt;")), "{svg}");
        }
        let filled = |colour: &str| svg.matches(&format!("fill=\"{colour}\" stroke=\"none\"")).count();
        // One more of each in the legend.
        assert_eq!(["#0072B2", "#B0B0B0", "#D55E00"].map(filled), [20; 3]);
    }

    #[test]
    fn odd_rows_are_drawn() {
        for bars in [vec![], vec![bar(&"long ".repeat(99), 0.0, 0.0)], vec![bar("a\u{1b}[0m\n", 1e-6, 1e9)]] {
            let svg = draw("t\u{0}", "", &bars).unwrap();
            assert!(svg.trim_end().ends_with("</svg>") && !svg.contains(['\u{0}', '\u{1b}']) && !svg.contains("NaN"));
        }
    }
}
