//! The plots of a page, as SVG in it: their text can be selected, and their colours follow the reader's scheme.

use maud::{Markup, html};

use super::data::{Layer, Network, Report};

/// Units across a plot. Text is 11 of them high, so a plot can be read on a narrow screen.
const WIDTH: f64 = 440.0;

/// An axis: from numbers to places in the plot.
struct Axis {
    is_log: bool,
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// A logarithmic axis for these numbers, with some room at both ends.
    fn log(values: impl Iterator<Item = f64> + Clone, [start, end]: [f64; 2]) -> Self {
        let usable = values.filter(|value| value.is_finite() && *value > 0.0);
        let from = usable.clone().reduce(f64::min).unwrap_or(1.0) / 1.25;
        let to = usable.reduce(f64::max).unwrap_or(1.0) * 1.25;
        Self { is_log: true, from, to, start, end }
    }

    /// A linear axis from 0 to the largest of these numbers.
    fn linear(values: impl Iterator<Item = f64>, [start, end]: [f64; 2]) -> Self {
        let to = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        Self { is_log: false, from: 0.0, to: if to > 0.0 { to } else { 1.0 }, start, end }
    }

    fn at(&self, value: f64) -> f64 {
        let share = match self.is_log {
            true => (value / self.from).ln() / (self.to / self.from).ln(),
            false => (value - self.from) / (self.to - self.from),
        };
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        // A tenth of a unit is enough, and keeps the page small.
        (10.0 * (self.start + share * (self.end - self.start))).round() / 10.0
    }

    /// Round numbers along the axis.
    fn ticks(&self) -> Vec<f64> {
        if !self.is_log {
            let step = round_step(self.to / 5.0);
            return (0..=10).map(|i| f64::from(i) * step).take_while(|tick| *tick <= self.to * 1.001).collect();
        }
        let decades = (self.to / self.from).log10();
        let within: &[f64] = match decades {
            ..0.45 => &[1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
            ..0.9 => &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
            ..2.5 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let first = self.from.log10().floor() as i32;
        let all = (first..=first + 40).flat_map(|power| within.iter().map(move |tick| tick * 10f64.powi(power)));
        all.skip_while(|tick| *tick < self.from).take_while(|tick| *tick <= self.to).collect()
    }
}

/// 1, 2 or 5 times a power of ten, no less than this.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= least * 0.999).unwrap_or(power)
}

/// Three significant digits, with commas between thousands.
pub fn figure(value: f64) -> String {
    /// Beyond it, digits are noise.
    const LONG: f64 = 1e15;
    match value.abs() {
        _ if !value.is_finite() => "–".into(),
        0.0 => "0".into(),
        ..0.001 => format!("{value:.1e}"),
        ..0.0995 => format!("{value:.4}"),
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        size if size < LONG => {
            let sign = if value < 0.0 { "-" } else { "" };
            format!("{sign}{}", crate::output::thousands(size.round() as u128))
        }
        _ => format!("{value:.2e}"),
    }
}

/// A tick's number, without zeros at its end.
fn tick(value: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (size, unit) = units.into_iter().find(|(size, _)| value >= *size).unwrap_or((1.0, ""));
    let number = (value / size * 1e4).round() / 1e4;
    format!("{number}{unit}")
}

fn svg(height: f64, label: &str, inside: Markup) -> Markup {
    html! { svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(label) { (inside) } }
}

/// Lines and numbers of both axes of a square plot, with what they count.
fn frame(x: &Axis, y: &Axis, names: [&str; 2]) -> Markup {
    html! {
        @for value in x.ticks() {
            line class="grid" x1=(x.at(value)) x2=(x.at(value)) y1=(y.start) y2=(y.end) {}
            text class="soft middle" x=(x.at(value)) y=(y.start + 15.0) { (tick(value)) }
        }
        @for value in y.ticks() {
            line class="grid" x1=(x.start) x2=(x.end) y1=(y.at(value)) y2=(y.at(value)) {}
            text class="soft end" x=(x.start - 6.0) y=(y.at(value) + 4.0) { (tick(value)) }
        }
        text class="soft end" x=(x.end) y=(y.start + 32.0) { (names[0]) }
        text class="soft" x="4" y="12" { (names[1]) }
    }
}

const HEIGHT: f64 = 330.0;
const ACROSS: [f64; 2] = [48.0, WIDTH - 10.0];
const UPWARDS: [f64; 2] = [HEIGHT - 40.0, 22.0];

fn point(x: f64, y: f64, class: &str, title: &str) -> Markup {
    html! { circle class=(class) cx=(x) cy=(y) r="3.5" { title { (title) } } }
}

/// For each layer how many times as fast octave is as plain and as unfused.
pub fn speedups(layers: &[&Layer]) -> Markup {
    const ROW: f64 = 19.0;
    const TOP: f64 = 22.0;
    let bottom = TOP + ROW * layers.len() as f64;
    let predicted = |layer: &Layer| layer.plain.macs as f64 / layer.octave.macs.max(1) as f64;
    let values = layers.iter().flat_map(|layer| {
        [layer.over_plain.lower, layer.over_plain.upper, layer.over_unfused.median, predicted(layer), 1.0]
    });
    // A letter has less than seven units, on average.
    let longest = layers.iter().map(|layer| layer.layer.chars().count()).max().unwrap_or(0).min(NAME);
    let axis = Axis::log(values, [12.0 + 6.6 * longest as f64, WIDTH - 16.0]);
    let rows = layers.iter().zip(0..).map(|(layer, row)| (layer, TOP + ROW * (f64::from(row) + 0.5)));
    svg(
        bottom + 24.0,
        "How many times as fast octave layers are",
        html! {
            @for value in axis.ticks() {
                line class=(if value == 1.0 { "axis" } else { "grid" }) x1=(axis.at(value)) x2=(axis.at(value)) y1=(TOP) y2=(bottom) {}
                text class="soft middle" x=(axis.at(value)) y=(bottom + 15.0) { (tick(value)) "×" }
                text class="soft middle" x=(axis.at(value)) y=(TOP - 8.0) { (tick(value)) "×" }
            }
            @for (layer, y) in rows {
                text class="end" x=(axis.start - 8.0) y=(y + 4.0) { (shortened(&layer.layer)) }
                rect class="mark" x=(axis.at(predicted(layer)) - 0.75) y=(y - 6.0) width="1.5" height="12" {
                    title { "multiply-adds alone: " (figure(predicted(layer))) "×" }
                }
                (point(axis.at(layer.over_unfused.median), y, "unfused", &format!("{}: {}× as fast as unfused", layer.layer, figure(layer.over_unfused.median))))
                line class="octave" x1=(axis.at(layer.over_plain.lower)) x2=(axis.at(layer.over_plain.upper)) y1=(y) y2=(y) {}
                (point(axis.at(layer.over_plain.median), y, "octave", &format!("{}: {}× as fast as plain", layer.layer, figure(layer.over_plain.median))))
            }
        },
    )
}

/// Milliseconds of each layer against its multiply-adds, octave and plain.
pub fn times(layers: &[&Layer]) -> Markup {
    let forms = layers.iter().flat_map(|layer| [&layer.octave, &layer.plain]);
    let x = Axis::log(forms.clone().map(|form| form.macs as f64), ACROSS);
    let y = Axis::log(forms.map(|form| form.ms.median), UPWARDS);
    svg(
        HEIGHT,
        "Time of layers against their multiply-adds",
        html! {
            (frame(&x, &y, ["multiply-adds", "ms"]))
            @for layer in layers {
                line class="link" x1=(x.at(layer.octave.macs as f64)) x2=(x.at(layer.plain.macs as f64))
                    y1=(y.at(layer.octave.ms.median)) y2=(y.at(layer.plain.ms.median)) {}
            }
            @for (form, class, layer) in layers.iter().flat_map(|layer| [(&layer.plain, "plain", layer), (&layer.octave, "octave", layer)]) {
                (point(x.at(form.macs as f64), y.at(form.ms.median), class, &format!("{} {class}: {} ms", layer.layer, figure(form.ms.median))))
            }
        },
    )
}

/// The roofline for a type, and where each layer lies under it.
pub fn roofline(report: &Report, layers: &[&Layer], dtype: &str) -> Option<Markup> {
    let (gflops, gb_per_s) = report.roofs(dtype)?;
    let forms = layers.iter().flat_map(|layer| [(layer, "plain", &layer.plain), (layer, "octave", &layer.octave)]);
    let forms: Vec<_> = forms
        .map(|(layer, class, form)| {
            let operations = 2.0 * form.macs as f64;
            (layer, class, operations / form.bytes.max(1) as f64, 1e-6 * operations / form.ms.median)
        })
        .collect();
    let ridge = gflops / gb_per_s;
    let x = Axis::log(forms.iter().map(|form| form.2).chain([ridge / 4.0, ridge * 4.0]), ACROSS);
    let y = Axis::log(forms.iter().map(|form| form.3).chain([gflops]), UPWARDS);
    let low = (x.from * gb_per_s).max(y.from);
    let line = [(low / gb_per_s, low), (ridge, gflops), (x.to, gflops)];
    let line: Vec<_> = line.iter().map(|(a, b)| format!("{},{}", x.at(*a), y.at(*b))).collect();
    Some(svg(
        HEIGHT,
        "Roofline",
        html! {
            (frame(&x, &y, ["operations per byte", "GFLOP/s"]))
            polyline class="roof" points=(line.join(" ")) {}
            text class="end" x=(x.end) y=(y.at(gflops) - 6.0) { (figure(gflops)) " GFLOP/s" }
            text x=(x.at(low / gb_per_s) + 16.0) y=(y.at(low) + 3.0) { (figure(gb_per_s)) " GB/s" }
            @for (layer, class, intensity, rate) in &forms {
                (point(x.at(*intensity), y.at(*rate), class, &format!("{} {class}: {} GFLOP/s", layer.layer, figure(*rate))))
            }
        },
    ))
}

/// The stages of a network, octave and plain.
pub fn stages(network: &Network) -> Markup {
    const ROW: f64 = 38.0;
    let height = ROW * network.stages.len() as f64;
    let longest = network.stages.iter().map(|stage| stage.stage.chars().count()).max().unwrap_or(0).min(NAME);
    let values = network.stages.iter().flat_map(|stage| [stage.octave_ms.median, stage.plain_ms.median]);
    let x = Axis::linear(values, [12.0 + 6.6 * longest as f64, WIDTH - 70.0]);
    svg(
        height + 24.0,
        "Stages of the network",
        html! {
            @for value in x.ticks() {
                line class="grid" x1=(x.at(value)) x2=(x.at(value)) y1="0" y2=(height) {}
                text class="soft middle" x=(x.at(value)) y=(height + 15.0) { (tick(value)) }
            }
            text class="soft end" x=(WIDTH - 4.0) y=(height + 15.0) { "ms" }
            @for (stage, top) in network.stages.iter().zip(0..).map(|(stage, row)| (stage, ROW * f64::from(row))) {
                text class="end" x=(x.start - 8.0) y=(top + 23.0) { (shortened(&stage.stage)) }
                @for (ms, class, y) in [(stage.octave_ms.median, "octave", top + 5.0), (stage.plain_ms.median, "plain", top + 19.0)] {
                    rect class=(class) x=(x.start) y=(y) width=(x.at(ms) - x.start) height="13" rx="1.5" {}
                    text class="soft" x=(x.at(ms) + 5.0) y=(y + 10.5) { (figure(ms)) }
                }
                rect class="mark" x=(x.at(stage.plain_ms.median * stage.macs_ratio) - 0.75) y=(top + 3.0) width="1.5" height="17" {
                    title { "plain × " (figure(stage.macs_ratio)) ", the ratio of the multiply-adds" }
                }
            }
        },
    )
}

/// Pictures a second against the batch, octave and plain. `rows`: one per batch.
pub fn batches(rows: &[&Network]) -> Markup {
    let rate = |row: &Network, ms: f64| 1e3 * f64::from(row.size.batch) / ms;
    let lines = [
        ("octave", rows.iter().map(|row| (row.size.batch, rate(row, row.octave.ms.median))).collect::<Vec<_>>()),
        ("plain", rows.iter().map(|row| (row.size.batch, rate(row, row.plain.ms.median))).collect::<Vec<_>>()),
    ];
    let x = Axis::log(rows.iter().map(|row| row.size.batch.into()), ACROSS);
    let y = Axis::linear(lines.iter().flat_map(|(_, line)| line.iter().map(|point| 1.05 * point.1)), UPWARDS);
    svg(
        HEIGHT,
        "Pictures a second against the batch",
        html! {
            (frame(&x, &y, ["batch", "pictures a second"]))
            @for (class, line) in &lines {
                polyline class=(class) points=(line.iter().map(|(batch, rate)| format!("{},{}", x.at((*batch).into()), y.at(*rate))).collect::<Vec<_>>().join(" ")) {}
                @for (batch, rate) in line {
                    (point(x.at((*batch).into()), y.at(*rate), class, &format!("batch {batch}, {class}: {} a second", figure(*rate))))
                }
            }
        },
    )
}

/// The most letters of a name in a plot.
const NAME: usize = 30;

fn shortened(name: &str) -> String {
    match name.char_indices().nth(NAME) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_or_so() {
        let shown = [0.0, 0.01234, 0.5, 1.234, 12.34, 123.4, 1234.5, 1e9, f64::NAN, f64::INFINITY].map(figure);
        assert_eq!(shown, ["0", "0.0123", "0.50", "1.23", "12.3", "123", "1,235", "1,000,000,000", "–", "–"]);
        let shown = [-0.0, -0.01234, -1.234, -1234.5, -1e9, 1e300, -1e300].map(figure);
        assert_eq!(shown, ["0", "-0.0123", "-1.23", "-1,235", "-1,000,000,000", "1.00e300", "-1.00e300"]);
        assert_eq!([0.2, 1.25, 50.0, 2000.0, 5e9].map(tick), ["0.2", "1.25", "50", "2k", "5G"]);
    }

    #[test]
    fn axes_take_any_numbers() {
        for values in [vec![], vec![3.0], vec![1e-9, 1e12], vec![f64::NAN, 0.0, f64::INFINITY, -1.0]] {
            for axis in
                [Axis::log(values.iter().copied(), [10.0, 90.0]), Axis::linear(values.iter().copied(), [10.0, 90.0])]
            {
                assert!(axis.ticks().len() <= 24, "{:?}", axis.ticks());
                for value in values.iter().chain(&axis.ticks()) {
                    assert!((10.0..=90.0).contains(&axis.at(*value)), "{value}");
                }
            }
        }
        // So far apart that the numbers have room.
        for most in [1.2, 1.6, 2.0, 3.0, 5.0, 7.0, 30.0, 200.0, 1e6] {
            let axis = Axis::log([0.8, most].into_iter(), [130.0, WIDTH - 16.0]);
            let places: Vec<_> = axis.ticks().iter().map(|tick| axis.at(*tick)).collect();
            assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= 30.0), "{most}: {places:?}");
        }
        let axis = Axis::log([1.0, 100.0].into_iter(), [0.0, 100.0]);
        assert!((axis.at(10.0) - 50.0).abs() < 0.1);
        assert_eq!(axis.ticks(), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
    }
}
