//! From what was seen to a picture.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{
    Axis, Bar, BarChart, BarGroup, Block, Chart, Dataset, Gauge, GraphType, Paragraph,
};

use super::State;
use crate::progress::BIN_ENDS_MS;

const GOOD: Color = Color::Green;
const BAD: Color = Color::Red;
const FAINT: Color = Color::DarkGray;

/// Draws all of it into a frame of any size.
pub fn draw(frame: &mut Frame<'_>, state: &State) {
    let people = u16::try_from(state.fleets.len().max(state.servers.len())).unwrap_or(u16::MAX);
    let [head, gauge, curve, middle, bottom, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(6),
        Constraint::Length(7),
        Constraint::Length(people.saturating_add(2).clamp(3, 10)),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(title(state), head);
    frame.render_widget(done(state), gauge);
    over_time(frame, state, curve);
    let [times, failures] =
        Layout::horizontal([Constraint::Percentage(65), Constraint::Percentage(35)]).areas(middle);
    frame.render_widget(boot_times(state, times), times);
    frame.render_widget(causes(state), failures);
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(bottom);
    frame.render_widget(fleets(state), left);
    frame.render_widget(servers(state), right);
    let help = Line::from("q: end now, with a report of what was found").style(FAINT);
    frame.render_widget(help, foot);
}

fn title(state: &State) -> Line<'_> {
    let numbers = format!(
        "  {:.1} s  {:.0} boots/s (at most {:.0})  {} under way  {} moved",
        state.elapsed.as_secs_f64(),
        state.boots_per_s,
        state.boots_per_s_max,
        state.now.under_way(),
        state.now.moved
    );
    Line::from(vec![
        Span::styled(&state.title, Modifier::BOLD),
        Span::raw(numbers),
    ])
}

fn done(state: &State) -> Gauge<'_> {
    let (booted, failed) = (state.now.booted(), state.now.failed());
    let ratio = f64::from(booted) / f64::from(state.clients.max(1));
    Gauge::default()
        .ratio(ratio.clamp(0.0, 1.0))
        .label(format!(
            "{booted} of {} booted, {failed} failed",
            state.clients
        ))
        .gauge_style(if failed > 0 { BAD } else { GOOD })
}

fn over_time(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let end = state.elapsed.as_secs_f64().max(1.0);
    let top = f64::from(state.clients.max(1));
    let line = |points, color| {
        Dataset::default()
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(color)
            .data(points)
    };
    let mut curves = vec![line(&state.booted, GOOD)];
    if state.now.failed() > 0 {
        curves.push(line(&state.failed, BAD));
    }
    let chart = Chart::new(curves)
        .block(Block::bordered().title("boots done over time"))
        .x_axis(Axis::default().style(FAINT).bounds([0.0, end]).labels([
            "0".to_owned(),
            format!("{:.1} s", end / 2.0),
            format!("{end:.1} s"),
        ]))
        .y_axis(
            Axis::default()
                .style(FAINT)
                .bounds([0.0, top])
                .labels(["0".to_owned(), format!("{top:.0}")]),
        );
    frame.render_widget(chart, area);
}

fn boot_times(state: &State, area: Rect) -> BarChart<'static> {
    let counts = &state.now.boot_times;
    // The bins between the first and the last that are not empty.
    let first = counts.iter().position(|count| *count > 0).unwrap_or(0);
    let last = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
    let shown = counts.get(first..=last).unwrap_or_default();
    let bars: Vec<Bar<'_>> = shown
        .iter()
        .enumerate()
        .map(|(index, count)| {
            Bar::default()
                .value(u64::from(*count))
                .text_value(count.to_string())
                .label(Line::from(bin_label(first + index)))
        })
        .collect();
    let room = area.width.saturating_sub(2) / u16::try_from(bars.len().max(1)).unwrap_or(1);
    BarChart::default()
        .block(Block::bordered().title("boot times"))
        .bar_width(room.saturating_sub(1).clamp(1, 8))
        .bar_style(Style::from(GOOD))
        .data(BarGroup::default().bars(&bars))
}

/// Until when the boots of a bin took.
fn bin_label(bin: usize) -> String {
    match BIN_ENDS_MS.get(bin) {
        Some(millis) if *millis < 1000 => format!("<{millis}ms"),
        Some(millis) => format!("<{}s", millis / 1000),
        None => "more".to_owned(),
    }
}

fn causes(state: &State) -> Paragraph<'_> {
    let line =
        |(cause, clients): (&String, &u32)| Line::from(format!("{clients:>6}  {cause}")).style(BAD);
    let mut causes: Vec<_> = state.now.causes.iter().collect();
    causes.sort_by_key(|(_, clients)| std::cmp::Reverse(**clients));
    let mut lines: Vec<Line<'_>> = causes.into_iter().map(line).collect();
    if lines.is_empty() {
        lines.push(Line::from("none").style(FAINT));
    }
    Paragraph::new(lines).block(Block::bordered().title("failures"))
}

fn fleets(state: &State) -> Paragraph<'_> {
    let line =
        |((name, profile, clients), (booted, failed)): (&(String, String, u32), &(u32, u32))| {
            let mut text = format!("{name} ({profile})  {booted} of {clients}");
            if *failed > 0 {
                text += &format!(", {failed} failed");
            }
            Line::from(text)
        };
    let lines: Vec<Line<'_>> = state
        .fleets
        .iter()
        .zip(&state.now.fleets)
        .map(line)
        .collect();
    Paragraph::new(lines).block(Block::bordered().title("fleets"))
}

fn servers(state: &State) -> Paragraph<'_> {
    let line = |((name, address), served): (&(String, String), &u32)| {
        Line::from(format!("{name} {address}  booted {served}"))
    };
    let lines: Vec<Line<'_>> = state
        .servers
        .iter()
        .zip(&state.now.served)
        .map(line)
        .collect();
    Paragraph::new(lines).block(Block::bordered().title("servers"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::progress::Snapshot;
    use crate::scenario::{Changes, Scenario};

    const SCENARIO: &str = r#"
        title = "Monday"
        server = [
            { name = "primary", address = "127.0.0.1:6901" },
            { name = "secondary", address = "127.0.0.1:6902" },
        ]
        file_set = [{ name = "thin", boot = [{ name = "kernel" }] }]
        fleet = [
            { name = "line A", profile = "ipxe", clients = 60, files = "thin" },
            { name = "line B", profile = "uefi", clients = 40, files = "thin" },
        ]
    "#;

    fn state() -> State {
        let scenario = Scenario::parse(SCENARIO.to_owned(), "monday.toml".as_ref()).unwrap();
        State::new(&scenario.plan(&Changes::default()).unwrap())
    }

    fn picture(state: &State, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        let quoted = terminal.backend().to_string();
        let lines = quoted.lines().map(|line| line.trim_matches('"').trim_end());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn halfway() -> State {
        let mut state = state();
        for step in 0_u32..=10 {
            let mut boot_times = vec![0; BIN_ENDS_MS.len() + 1];
            boot_times[9] = 3 * step;
            boot_times[10] = 2 * step;
            let snapshot = Snapshot {
                started: 100,
                moved: step,
                fleets: vec![(4 * step, 0), (step, step / 5)],
                served: vec![3 * step, 2 * step],
                boot_times,
                causes: [("stalled".to_owned(), step / 5)].into(),
            };
            state.see(Duration::from_millis(200) * step, &snapshot);
        }
        state
    }

    #[test]
    fn the_picture_of_a_storm_halfway() {
        let drawn = picture(&halfway(), 80, 24);
        let expected = include_str!("halfway.txt");
        assert_eq!(drawn.trim_end(), expected.trim_end(), "\n{drawn}");
    }

    #[test]
    fn any_size_can_be_drawn_on_before_and_during_a_run() {
        for state in [state(), halfway()] {
            for (width, height) in [(1, 1), (5, 3), (20, 10), (300, 100)] {
                picture(&state, width, height);
            }
        }
    }

    #[test]
    fn a_long_run_keeps_its_curve_and_no_more_memory() {
        let mut state = state();
        for look in 0_u32..10_000 {
            let snapshot = Snapshot {
                fleets: vec![(look, 0), (0, 0)],
                ..Snapshot::default()
            };
            state.see(Duration::from_millis(200) * look, &snapshot);
        }
        assert!((300..=601).contains(&state.booted.len()));
        assert_eq!(state.booted[0], (0.0, 0.0));
        assert!(state.booted.is_sorted_by(|a, b| a.0 < b.0));
        assert!((4.9..5.1).contains(&state.boots_per_s));
        assert!(state.lately.len() < 10);
    }
}
