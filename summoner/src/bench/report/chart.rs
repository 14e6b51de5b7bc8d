//! A small chart, written as SVG by hand: axes with units, linear or logarithmic, lines, dots and a legend.

use std::fmt::Write as _;

/// The whole picture, in pixels.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
/// The frame of the axes in it.
const LEFT: f64 = 78.0;
const RIGHT: f64 = 730.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 470.0;
/// Distance of the legend's entries.
const ENTRY: f64 = 38.0;

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Equal distances.
    Linear,
    /// Equal ratios; for values above zero.
    Logarithmic,
}

/// One axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// How.
    pub scale: Scale,
    /// The least and the greatest value shown.
    pub range: (f64, f64),
}

impl Axis {
    /// An axis that has room for `values`; a linear one begins at zero.
    #[must_use]
    pub fn fitting(label: &str, scale: Scale, values: impl IntoIterator<Item = f64>) -> Self {
        let usable = |value: &f64| value.is_finite() && (scale == Scale::Linear || *value > 0.0);
        let (low, high) = values
            .into_iter()
            .filter(usable)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        let range = match scale {
            _ if low > high => (1.0, 10.0),
            Scale::Linear => (0.0, if high > 0.0 { high * 1.05 } else { 1.0 }),
            Scale::Logarithmic => (low / 1.2, high * 1.2),
        };
        Self { label: label.to_owned(), scale, range }
    }

    /// Where a value is, from 0 at the least to 1 at the greatest.
    fn place(&self, value: f64) -> f64 {
        let (low, high) = self.range;
        match self.scale {
            Scale::Linear => (value - low) / (high - low),
            Scale::Logarithmic => (value / low).ln() / (high / low).ln(),
        }
    }

    /// Where lines are drawn.
    fn ticks(&self) -> Vec<f64> {
        let (low, high) = self.range;
        let inside = |value: &f64| (low..=high).contains(value);
        match self.scale {
            Scale::Linear => {
                let rough = (high - low) / 6.0;
                let power = 10_f64.powf(rough.log10().floor());
                let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
                let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(rough);
                let first = (low / step).ceil();
                (0..20_u8).map(|index| (first + f64::from(index)) * step).filter(inside).collect()
            }
            Scale::Logarithmic => {
                let decades = (-12..=12_i32).map(|exponent| 10_f64.powi(exponent));
                // Many decades: the powers of ten are enough.
                let steps: &[f64] = if high / low > 3e4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                decades
                    .flat_map(|decade| steps.iter().map(move |step| step * decade))
                    .filter(inside)
                    .collect()
            }
        }
    }
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A line from point to point.
    Line,
    /// The same, broken: for what is only compared with.
    Dashed,
    /// A dot at each point.
    Dots,
}

/// One series of points.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// A second line in the legend.
    pub remark: String,
    /// How it is drawn.
    pub style: Style,
    /// Its colour.
    pub colour: &'static str,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// Colours that people with any kind of colour vision tell apart (Okabe and Ito, "Color universal design").
pub mod colour {
    /// For what matters most.
    pub const BLUE: &str = "#0072b2";
    /// A lighter blue.
    pub const SKY: &str = "#56b4e9";
    /// Bluish green.
    pub const GREEN: &str = "#009e73";
    /// Orange.
    pub const ORANGE: &str = "#e69f00";
    /// Vermilion.
    pub const RED: &str = "#d55e00";
    /// Reddish purple.
    pub const PINK: &str = "#cc79a7";
    /// A darker yellow, so that it shows on white.
    pub const OLIVE: &str = "#b8a800";
    /// Dark grey.
    pub const GREY: &str = "#555555";
}

/// A chart.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// Of what, when, where.
    pub subtitle: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What is drawn, the last on top.
    pub series: Vec<Series>,
}

impl Chart {
    /// The picture.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             font-family=\"system-ui, 'Helvetica Neue', Arial, sans-serif\" font-size=\"13\" fill=\"#333\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        text(
            &mut svg,
            LEFT,
            32.0,
            "font-size=\"18\" font-weight=\"600\" fill=\"#111\"",
            &self.title,
        );
        text(&mut svg, LEFT, 54.0, "fill=\"#666\"", &self.subtitle);
        self.axes(&mut svg);
        let (width, height) = (RIGHT - LEFT, BOTTOM - TOP);
        element(
            &mut svg,
            format_args!(
                "<clipPath id=\"frame\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{width}\" height=\"{height}\"/></clipPath>"
            ),
        );
        for (index, series) in self.series.iter().enumerate() {
            self.series(&mut svg, series);
            legend(&mut svg, series, index);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (LEFT + self.x.place(x) * (RIGHT - LEFT), BOTTOM - self.y.place(y) * (BOTTOM - TOP))
    }

    fn axes(&self, svg: &mut String) {
        const GRID: &str = "stroke=\"#e4e4e4\"";
        const AXIS: &str = "stroke=\"#888\"";
        for tick in self.x.ticks() {
            let x = LEFT + self.x.place(tick) * (RIGHT - LEFT);
            stroke(svg, (x, TOP), (x, BOTTOM), GRID);
            text(svg, x, BOTTOM + 20.0, "text-anchor=\"middle\"", &number(tick));
        }
        for tick in self.y.ticks() {
            let y = BOTTOM - self.y.place(tick) * (BOTTOM - TOP);
            stroke(svg, (LEFT, y), (RIGHT, y), GRID);
            text(svg, LEFT - 8.0, y + 4.5, "text-anchor=\"end\"", &number(tick));
        }
        stroke(svg, (LEFT, BOTTOM), (RIGHT, BOTTOM), AXIS);
        stroke(svg, (LEFT, TOP), (LEFT, BOTTOM), AXIS);
        let (middle, height) = ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
        text(svg, middle, BOTTOM + 46.0, "text-anchor=\"middle\"", &self.x.label);
        let turned = format!("text-anchor=\"middle\" transform=\"rotate(-90 22 {height})\"");
        text(svg, 22.0, height, &turned, &self.y.label);
    }

    fn series(&self, svg: &mut String, series: &Series) {
        let places = series.points.iter().map(|point| self.place(*point));
        let places = places.filter(|(x, y)| x.is_finite() && y.is_finite());
        let colour = series.colour;
        svg.push_str("<g clip-path=\"url(#frame)\">");
        if series.style == Style::Dots {
            for (x, y) in places {
                element(
                    svg,
                    format_args!(
                        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"{colour}\" fill-opacity=\"0.45\"/>"
                    ),
                );
            }
        } else {
            let mut points = String::new();
            for (x, y) in places {
                let _ = write!(points, "{x:.1},{y:.1} ");
            }
            let dashes = dashes(series.style);
            let points = points.trim_end();
            element(
                svg,
                format_args!(
                    "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linejoin=\"round\"{dashes}/>"
                ),
            );
        }
        svg.push_str("</g>\n");
    }
}

const fn dashes(style: Style) -> &'static str {
    match style {
        Style::Dashed => " stroke-dasharray=\"6 4\"",
        Style::Line | Style::Dots => "",
    }
}

fn legend(svg: &mut String, series: &Series, index: usize) {
    let y = TOP + 8.0 + ENTRY * f64::from(u8::try_from(index).unwrap_or(u8::MAX));
    let x = RIGHT + 22.0;
    let colour = series.colour;
    match series.style {
        Style::Dots => element(
            svg,
            format_args!("<circle cx=\"{}\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"/>", x + 12.0),
        ),
        style => {
            let rest = format!("stroke=\"{colour}\" stroke-width=\"3\"{}", dashes(style));
            stroke(svg, (x, y), (x + 24.0, y), &rest);
        }
    }
    text(svg, x + 32.0, y + 4.5, "", &series.name);
    text(svg, x + 32.0, y + 20.0, "fill=\"#777\" font-size=\"11.5\"", &series.remark);
}

/// Writing to a string cannot fail.
fn element(svg: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = svg.write_fmt(arguments);
    svg.push('\n');
}

fn stroke(svg: &mut String, (x, y): (f64, f64), (to_x, to_y): (f64, f64), rest: &str) {
    element(
        svg,
        format_args!(
            "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{to_x:.1}\" y2=\"{to_y:.1}\" {rest}/>"
        ),
    );
}

fn text(svg: &mut String, x: f64, y: f64, rest: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    element(svg, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" {rest}>{content}</text>"));
}

/// A tick's number, without what rounding left behind.
fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale, low: f64, high: f64) -> Axis {
        Axis { label: String::new(), scale, range: (low, high) }
    }

    #[test]
    fn ticks_are_round_numbers() {
        let shown = |axis: Axis| axis.ticks().into_iter().map(number).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(axis(Scale::Linear, 0.0, 1.0)), "0 0.2 0.4 0.6 0.8 1");
        assert_eq!(shown(axis(Scale::Linear, 0.0, 1050.0)), "0 200 400 600 800 1000");
        assert_eq!(shown(axis(Scale::Logarithmic, 0.15, 12.0)), "0.2 0.5 1 2 5 10");
        assert_eq!(shown(axis(Scale::Logarithmic, 0.5, 1e6)), "1 10 100 1000 10000 100000 1000000");
    }

    #[test]
    fn an_axis_has_room_for_its_values() {
        let linear = Axis::fitting("", Scale::Linear, [3.0, 10.0]);
        assert_eq!(linear.range, (0.0, 10.5));
        let logarithmic = Axis::fitting("", Scale::Logarithmic, [0.0, 0.5, 2.0]);
        assert!(logarithmic.range.0 > 0.4 && logarithmic.range.0 < 0.5, "{:?}", logarithmic.range);
        assert!((logarithmic.place(1.0) - 0.5).abs() < 1e-9);
        assert_eq!(Axis::fitting("", Scale::Logarithmic, []).range, (1.0, 10.0));
        assert_eq!(Axis::fitting("", Scale::Linear, [0.0]).range, (0.0, 1.0));
    }

    #[test]
    fn a_chart_is_well_formed() {
        let series = |style| Series {
            name: "a < b & c".to_owned(),
            remark: "n = 2".to_owned(),
            style,
            colour: colour::BLUE,
            points: vec![(1.0, 0.0), (f64::NAN, 1.0), (10.0, 1.0)],
        };
        let chart = Chart {
            title: "T".to_owned(),
            subtitle: String::new(),
            x: axis(Scale::Logarithmic, 1.0, 10.0),
            y: axis(Scale::Linear, 0.0, 1.0),
            series: [Style::Line, Style::Dashed, Style::Dots].map(series).to_vec(),
        };
        let svg = chart.svg();
        assert!(svg.contains("a &lt; b &amp; c") && !svg.contains("NaN"), "{svg}");
        assert!(svg.contains("points=\"78.0,470.0 730.0,76.0\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3, "two points and the legend's");
        for tag in ["text", "g", "clipPath", "svg"] {
            let closed = svg.matches(&format!("</{tag}>")).count();
            let opened = svg.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, closed, "{tag}");
        }
    }
}
