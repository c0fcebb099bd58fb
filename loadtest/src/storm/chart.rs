//! Charts as SVG: lines and steps over two axes, and bars. Nothing but text is needed to look at them.
//!
//! Colours are classes of the page's style (`s0` to `s7`, `bad`), so that it can suit dark and light screens.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;

/// Points of one line that are drawn: more than there are pixels would show nothing more.
const POINTS_MAX: usize = 1000;

/// Colours of series; then they begin anew.
const COLOURS: usize = 8;

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// For the legend.
    pub(super) name: String,
    /// By x, rising.
    pub(super) points: Vec<(f64, f64)>,
    /// Class of its colour.
    pub(super) class: String,
}

impl Series {
    /// A line in the colour of a position.
    pub(super) fn new(name: impl Into<String>, position: usize, points: Vec<(f64, f64)>) -> Series {
        Series {
            name: name.into(),
            points,
            class: format!("s{}", position % COLOURS),
        }
    }
}

/// Two axes that begin at 0, and where a value lies between them.
struct Plane {
    x: (f64, f64),
    y: (f64, f64),
}

impl Plane {
    /// Axes that reach these values.
    fn new(x_max: f64, y_max: f64) -> Plane {
        Plane {
            x: scale(x_max),
            y: scale(y_max),
        }
    }

    fn x_at(&self, x: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * x / self.x.1
    }

    fn y_at(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / self.y.1
    }

    /// A picture with the axes in it.
    fn open(&self, title: &str, x_unit: &str) -> String {
        let mut svg = open(title, HEIGHT);
        for y in ticks(self.y.0, self.y.1) {
            let at = self.y_at(y);
            put(
                &mut svg,
                &format!(
                    r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{at:.1}" y2="{at:.1}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                    WIDTH - RIGHT,
                    LEFT - 6.0,
                    at + 4.0,
                    number(y)
                ),
            );
        }
        for x in ticks(self.x.0, self.x.1) {
            put(
                &mut svg,
                &format!(
                    r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{} {x_unit}</text>"#,
                    self.x_at(x),
                    HEIGHT - BOTTOM + 18.0,
                    number(x)
                ),
            );
        }
        svg
    }
}

/// Lines that hold their value until the next point. `y_max` is the top of the picture; axes begin at 0.
pub(super) fn steps(title: &str, x_unit: &str, y_max: f64, series: &[Series]) -> String {
    let x_max = series
        .iter()
        .filter_map(|line| line.points.last())
        .fold(0.0_f64, |max, (x, _)| max.max(*x));
    let plane = Plane::new(x_max, y_max);
    let mut svg = plane.open(title, x_unit);
    for line in series.iter().filter(|line| !line.points.is_empty()) {
        let mut path = format!("M{:.1},{:.1}", plane.x_at(0.0), plane.y_at(0.0));
        for (x, y) in thinned(&line.points) {
            write!(path, "H{:.1}V{:.1}", plane.x_at(x), plane.y_at(y)).expect("memory");
        }
        write!(path, "H{:.1}", WIDTH - RIGHT).expect("memory");
        let (class, name) = (&line.class, escaped(&line.name));
        put(
            &mut svg,
            &format!(r#"<path class="line {class}" d="{path}"><title>{name}</title></path>"#),
        );
    }
    svg.push_str("</svg>\n");
    if series.len() > 1 {
        svg.push_str("<p class=\"legend\">");
        for line in series {
            write!(
                svg,
                "<span class=\"{}\">{}</span> ",
                line.class,
                escaped(&line.name)
            )
            .expect("memory");
        }
        svg.push_str("</p>\n");
    }
    svg
}

/// Bars side by side, one for each span of time: `points` are the starts and counts, `width` is that of each.
pub(super) fn columns(title: &str, x_max: f64, width: f64, points: &[(f64, f64)]) -> String {
    let top = points.iter().fold(0.0_f64, |max, (_, y)| max.max(*y));
    let plane = Plane::new(x_max, top);
    let mut svg = plane.open(title, "s");
    for (x, y) in points.iter().filter(|(_, y)| *y > 0.0) {
        let (from, to) = (plane.x_at(*x), plane.x_at(*x + width));
        put(
            &mut svg,
            &format!(
                r#"<rect class="s0" x="{from:.1}" y="{:.1}" width="{:.1}" height="{:.1}"/>"#,
                plane.y_at(*y),
                (to - from - 0.5).max(0.5),
                HEIGHT - BOTTOM - plane.y_at(*y)
            ),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// One bar below the other, each with its name and number.
pub(super) fn bars(title: &str, class: &str, bars: &[(String, u32)]) -> String {
    const ROW: f64 = 26.0;
    const NAMES: f64 = 220.0;
    let rows = u32::try_from(bars.len()).unwrap_or(u32::MAX);
    let mut svg = open(title, f64::from(rows) * ROW + 8.0);
    let top = bars
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(0)
        .max(1);
    let mut y = 4.0;
    for (name, count) in bars {
        let width = (WIDTH - NAMES - 90.0) * f64::from(*count) / f64::from(top);
        put(
            &mut svg,
            &format!(
                r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text><rect class="{class}" x="{NAMES}" y="{y:.1}" width="{width:.1}" height="{:.1}"/><text x="{:.1}" y="{:.1}">{count}</text>"#,
                NAMES - 8.0,
                y + ROW / 2.0 + 4.0,
                escaped(name),
                ROW - 6.0,
                NAMES + width + 6.0,
                y + ROW / 2.0 + 4.0
            ),
        );
        y += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

/// A text, safe between tags and in attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // What no document may hold.
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

fn open(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\"><title>{}</title>\n",
        escaped(title)
    )
}

fn put(svg: &mut String, line: &str) {
    svg.push_str(line);
    svg.push('\n');
}

/// As many of the points as can be told apart, the last among them.
fn thinned(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    let stride = points.len().div_ceil(POINTS_MAX).max(1);
    let last = points.len().saturating_sub(1);
    let keep = move |(index, point): (usize, &(f64, f64))| {
        (index % stride == 0 || index == last).then_some(*point)
    };
    points.iter().enumerate().filter_map(keep)
}

/// A step of 1, 2 or 5 times a power of ten that makes four to ten of it, and the end of the axis.
fn scale(max: f64) -> (f64, f64) {
    let max = if max.is_finite() && max > 0.0 {
        max
    } else {
        1.0
    };
    let power = 10_f64.powf((max / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| max / step <= 6.0)
        .unwrap_or(10.0 * power);
    (step, (max / step).ceil() * step)
}

fn ticks(step: f64, max: f64) -> impl Iterator<Item = f64> {
    (0..=12_u8)
        .map(move |index| f64::from(index) * step)
        .take_while(move |at| *at <= max + step / 2.0)
}

/// As few digits as it needs.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_a_round_number_at_or_above_the_highest_value() {
        for (max, expected) in [
            (10_000.0, (2000.0, 10_000.0)),
            (7.3, (2.0, 8.0)),
            (0.34, (0.1, 0.4)),
            (0.0, (0.2, 1.0)),
        ] {
            let (step, end) = scale(max);
            assert!(
                (step - expected.0).abs() < 1e-9 && (end - expected.1).abs() < 1e-9,
                "{max}: {step} {end}"
            );
            assert!((3..=7).contains(&ticks(step, end).count()), "{max}");
        }
        assert_eq!(
            (number(0.30000000000000004), number(10.0)),
            ("0.3".to_owned(), "10".to_owned())
        );
    }

    #[test]
    fn names_cannot_break_the_page() {
        assert_eq!(
            escaped("<a b=\"c\">&'\u{1}"),
            "&lt;a b=&quot;c&quot;&gt;&amp;&#39;\u{fffd}"
        );
    }

    #[test]
    fn a_line_of_many_points_is_thinned_and_keeps_its_end() {
        let points: Vec<(f64, f64)> = (0..5001_u32).map(|x| (f64::from(x), 1.0)).collect();
        let thin: Vec<_> = thinned(&points).collect();
        assert!(thin.len() <= POINTS_MAX + 1);
        assert_eq!(thin.last(), points.last());
    }
}
