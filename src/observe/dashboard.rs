//! The panel of a run: its progress, its rate, and a line for each route. Pure: a snapshot and a width become lines.

use super::amounts::{money, percent, seconds, short_time, thousands};
use super::event::{InputPosition, RouteTraffic, SlowestCall, Snapshot};
use super::panel::{BarPart, PanelContent};
use super::rate::{MovingRate, TimeLeft};
use super::styled::{StyledLine, Tone};
use crate::domain::ids::shortened;

/// The longest name of a run or a route, in characters.
const NAME: usize = 24;

/// From this width on, routes are written with whole words.
const WIDE: usize = 110;

/// Routes that are shown. More are counted.
const ROUTES: usize = 8;

/// A call in flight is named from this age on, in seconds.
const SLOW: u64 = 3;

/// The widest bar.
const BAR: usize = 60;

/// A bar with less room is left out.
const SHORTEST_BAR: usize = 5;

/// Returns the text of the panel for a window of so many columns.
pub(super) fn dashboard(run: &str, snapshot: &Snapshot, rate: &MovingRate, columns: usize) -> PanelContent {
    let columns = columns.saturating_sub(1);
    let (bar, first) = heading(run, snapshot, columns);
    let mut lines = vec![first];
    lines.extend(details(snapshot, rate, columns));
    lines.extend(routes(&snapshot.routes, columns));
    for wait in &snapshot.waits {
        let mut line = StyledLine::default();
        line.push(Tone::Waiting, wait);
        lines.push(line);
    }
    PanelContent { bar, lines }
}

/// The run's name and the bar, and the text behind it: the finished requests. The name is in the text if there is no bar.
fn heading(run: &str, snapshot: &Snapshot, columns: usize) -> (Option<BarPart>, StyledLine) {
    let mut name = StyledLine::default();
    name.push(Tone::Strong, &shortened(run, NAME.min(columns / 3)));
    let mut counts = StyledLine::default();
    if snapshot.total_known && snapshot.total > 0 {
        let share = percent(snapshot.finished, snapshot.total);
        counts.push(Tone::Strong, &format!(" {share:>3}%"));
        counts.push(
            Tone::Plain,
            &format!("  {} of {}", snapshot.finished, snapshot.total),
        );
        failed(&mut counts, snapshot.failed);
        let room = columns.saturating_sub(name.width() + counts.width() + BarPart::FRAME);
        if room >= SHORTEST_BAR {
            let bar = BarPart {
                before: name,
                columns: room.min(BAR),
                position: snapshot.finished,
                length: snapshot.total,
            };
            return (Some(bar), counts);
        }
    } else if snapshot.total_known {
        // A worker does not know the input.
        counts.push(Tone::Plain, &format!("  {} finished here", snapshot.finished_now));
        failed(&mut counts, snapshot.failed);
    } else {
        counts.push(Tone::Plain, &format!("  {} done", snapshot.finished));
        failed(&mut counts, snapshot.failed);
        counts.push(Tone::Plain, &format!(" · {}", reading(snapshot)));
    }
    name.append(counts);
    (None, name)
}

fn failed(line: &mut StyledLine, failed: u64) {
    if failed > 0 {
        line.push(Tone::Plain, " · ");
        line.push(Tone::Bad, &format!("{failed} failed"));
    }
}

/// How far the input is read.
fn reading(snapshot: &Snapshot) -> String {
    let lines = snapshot.total;
    match snapshot.input {
        Some(InputPosition {
            bytes,
            length: Some(length),
        }) if length > 0 => format!("{lines} lines read, {}% of the input", percent(bytes, length)),
        _ => format!("{lines} lines read so far"),
    }
}

/// Time, work and the slowest call: on one line where they fit side by side, else on a line each. The lines depend on
/// the width alone, so that the panel does not change its height with each number.
fn details(snapshot: &Snapshot, rate: &MovingRate, columns: usize) -> Vec<StyledLine> {
    const TIME: usize = 44;
    const WORK: usize = 54;
    const SLOWEST: usize = 60;
    let mut lines = vec![StyledLine::from(times(snapshot, rate).as_str())];
    let mut taken = TIME;
    let slowest = snapshot
        .slowest
        .as_ref()
        .filter(|call| call.age.as_secs() >= SLOW);
    for (width, text) in [(WORK, Some(work(snapshot))), (SLOWEST, slowest.map(slowest_call))] {
        let Some(text) = text else { continue };
        match lines.last_mut() {
            Some(line) if taken + width <= columns => {
                line.push(Tone::Plain, &format!(" · {text}"));
                taken += width;
            }
            _ => {
                lines.push(StyledLine::from(text.as_str()));
                taken = width;
            }
        }
    }
    lines
}

/// Elapsed time, rate and the rest.
fn times(snapshot: &Snapshot, rate: &MovingRate) -> String {
    let left = snapshot.total.saturating_sub(snapshot.finished);
    let known = rate.left(left).filter(|_| snapshot.total_known);
    let parts = [
        Some(seconds(snapshot.elapsed)),
        Some(per_second(rate.per_second())),
        known.map(|left: TimeLeft| format!("{} left", left.shown())),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// A rate with a unit in which it is no small fraction.
pub(super) fn per_second(rate: f64) -> String {
    if rate >= 1.0 || rate <= 0.0 {
        format!("{rate:.1}/s")
    } else {
        format!("{:.1}/min", rate * 60.0)
    }
}

/// Calls, steps, tokens and money.
pub(super) fn work(snapshot: &Snapshot) -> String {
    let mut parts = vec![format!("{} running", snapshot.running)];
    // Tasks of a queue with several tasks are settled long before the request is finished.
    if snapshot.tasks > snapshot.finished_now {
        parts.push(format!("{} steps done", snapshot.tasks));
    }
    parts.push(format!("{} tokens", thousands(snapshot.usage.total())));
    parts.push(money(snapshot.cost));
    parts.join(" · ")
}

fn slowest_call(call: &SlowestCall) -> String {
    let request = call
        .request
        .as_ref()
        .map_or_else(String::new, |request| format!("`{request}` "));
    format!(
        "slowest call: {request}on {}, {}",
        call.route,
        short_time(call.age)
    )
}

/// The routes with calls, or with something that calls wait for.
fn routes(all: &[RouteTraffic], columns: usize) -> Vec<StyledLine> {
    let used: Vec<&RouteTraffic> = all.iter().filter(|route| is_used(route)).collect();
    let shown = used.get(..ROUTES).unwrap_or(&used);
    let name = |route: &RouteTraffic| StyledLine::from(shortened(&route.route, NAME).as_str()).width();
    let names = shown.iter().map(|route| name(route)).max().unwrap_or(0);
    let rows: Vec<Vec<String>> = shown.iter().map(|route| cells(route, columns >= WIDE)).collect();
    let mut lines = Vec::new();
    for (route, cells) in shown.iter().zip(&rows) {
        let mut line = StyledLine::from("  ");
        line.push(Tone::Strong, &shortened(&route.route, NAME));
        line.push(Tone::Plain, &" ".repeat(names - name(route)));
        for (place, cell) in cells.iter().enumerate() {
            let widest = rows
                .iter()
                .map(|row| row[place].chars().count())
                .max()
                .unwrap_or(0);
            // A column that has no room is left out, in every line alike.
            if widest > 0 && line.width() + 2 + widest <= columns {
                line.push(Tone::Plain, &format!("  {cell:<widest$}"));
            }
        }
        lines.extend(with_wait(line, route, columns));
    }
    if used.len() > shown.len() {
        let more = format!("  and {} more routes", used.len() - shown.len());
        lines.push(StyledLine::from(more.as_str()));
    }
    lines
}

fn is_used(route: &RouteTraffic) -> bool {
    route.in_flight > 0
        || route.requests > 0
        || route.answered > 0
        || route.state != "closed"
        || route.wait.is_some()
}

/// In flight, requests, durations, tokens; the first ones matter most.
fn cells(route: &RouteTraffic, is_wide: bool) -> Vec<String> {
    let requests = match (route.rpm, is_wide) {
        (Some(rpm), true) => format!("{} of {rpm} requests/min", route.requests),
        (Some(rpm), false) => format!("{}/{rpm} rpm", route.requests),
        (None, true) => format!("{} requests/min", route.requests),
        (None, false) => format!("{} rpm", route.requests),
    };
    let durations = match (route.p50, route.p95) {
        (Some(p50), Some(p95)) => format!("p50 {}  p95 {}", short_time(p50), short_time(p95)),
        _ => String::new(),
    };
    let tokens = route.tpm.map_or_else(String::new, |tpm| {
        let (used, most) = (thousands(route.tokens), thousands(tpm));
        if is_wide {
            format!("{used} of {most} tokens/min")
        } else {
            format!("{used}/{most} tpm")
        }
    });
    vec![
        format!("{} in flight", route.in_flight),
        requests,
        durations,
        tokens,
    ]
}

/// Adds what the calls of the route wait for: at the end of its line, or below it where it has no room.
fn with_wait(mut line: StyledLine, route: &RouteTraffic, columns: usize) -> Vec<StyledLine> {
    let Some(wait) = &route.wait else {
        return vec![line.trimmed()];
    };
    let tone = if matches!(route.state, "open" | "latched") {
        Tone::Bad
    } else {
        Tone::Waiting
    };
    let mut below = StyledLine::from("    ");
    below.push(tone, wait);
    if line.width() + below.width() <= columns {
        line.push(Tone::Plain, "  ");
        line.push(tone, wait);
        return vec![line];
    }
    vec![line.trimmed(), below]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::domain::usage::{Cost, Usage};
    use crate::observe::event::CallAge;
    use crate::observe::panel::{Panel, PanelWindow, TerminalTraits, TestWindow, WindowSize};
    use crate::observe::styled::painted_width;

    const NARROW: usize = 60;
    const BROAD: usize = 200;

    fn route(name: &str) -> RouteTraffic {
        RouteTraffic {
            route: name.to_owned(),
            in_flight: 0,
            requests: 0,
            rpm: None,
            tokens: 0,
            tpm: None,
            answered: 0,
            p50: None,
            p95: None,
            slowest: None,
            state: "closed",
            wait: None,
        }
    }

    /// A run of three routes: one at its limits, one that is down, one without calls.
    fn busy() -> Snapshot {
        let age = Duration::from_secs(41);
        Snapshot {
            total: 800,
            total_known: true,
            finished: 497,
            failed: 3,
            finished_now: 497,
            tasks: 1_204,
            running: 20,
            queues: 20,
            memory_limit: None,
            usage: Usage {
                input_tokens: 2_100_000,
                ..Usage::default()
            },
            cost: Cost(431_200_000_000),
            elapsed: Duration::from_secs(724),
            input: None,
            routes: vec![
                RouteTraffic {
                    in_flight: 12,
                    requests: 58,
                    rpm: Some(60),
                    tokens: 81_000,
                    tpm: Some(100_000),
                    answered: 480,
                    p50: Some(Duration::from_millis(2_100)),
                    p95: Some(Duration::from_millis(14_400)),
                    slowest: Some(CallAge { queue: None, age }),
                    wait: Some("2 wait for its limits".to_owned()),
                    ..route("primary")
                },
                RouteTraffic {
                    requests: 5,
                    state: "open",
                    wait: Some("down, tried again in 41 s: connection refused by the server".to_owned()),
                    ..route("fallback")
                },
                route("local"),
            ],
            slowest: Some(SlowestCall {
                request: Some("q17".to_owned()),
                route: "primary".to_owned(),
                age,
            }),
            waits: vec!["12 answers wait for the disk".to_owned()],
        }
    }

    /// A rate after one snapshot a second, of a run that finishes so many requests a second.
    fn steady(each: u64, snapshot: &Snapshot) -> MovingRate {
        let mut rate = MovingRate::default();
        for second in 1..=snapshot.elapsed.as_secs() {
            rate.take(&Snapshot {
                elapsed: Duration::from_secs(second),
                finished_now: second * each,
                ..Snapshot::default()
            });
        }
        rate
    }

    /// The lines as `indicatif` draws them.
    fn shown(snapshot: &Snapshot, columns: usize, colours: bool) -> String {
        let window = TestWindow::new(WindowSize { columns, rows: 24 });
        let traits = TerminalTraits {
            colours,
            keeps_lines: false,
        };
        let mut panel = Panel::new(Arc::clone(&window) as Arc<dyn PanelWindow>, traits);
        panel.show(dashboard(
            "requests.jsonl",
            snapshot,
            &steady(1, snapshot),
            columns,
        ));
        window.take().strip_suffix('\n').unwrap().to_owned()
    }

    #[test]
    fn sixty_columns_hold_the_whole_panel() {
        let text = shown(&busy(), NARROW, false);
        insta::assert_snapshot!(text, @r"
        requests.jsonl [========>     ]  62%  497 of 800 · 3 failed
        12 min 4 s · 1.0/s · 4–7 min left
        20 running · 1204 steps done · 2.1M tokens · $0.4312
        slowest call: `q17` on primary, 41 s
          primary   12 in flight  58/60 rpm  p50 2.1 s  p95 14 s
            2 wait for its limits
          fallback  0 in flight   5 rpm
            down, tried again in 41 s: connection refused by the s…
        12 answers wait for the disk
        ");
        assert!(text.lines().all(|line| line.chars().count() < NARROW), "{text}");
    }

    #[test]
    fn two_hundred_columns_have_whole_words() {
        insta::assert_snapshot!(shown(&busy(), BROAD, false), @r"
        requests.jsonl [=====================================>                      ]  62%  497 of 800 · 3 failed
        12 min 4 s · 1.0/s · 4–7 min left · 20 running · 1204 steps done · 2.1M tokens · $0.4312 · slowest call: `q17` on primary, 41 s
          primary   12 in flight  58 of 60 requests/min  p50 2.1 s  p95 14 s  81k of 100k tokens/min  2 wait for its limits
          fallback  0 in flight   5 requests/min                                                      down, tried again in 41 s: connection refused by the server
        12 answers wait for the disk
        ");
    }

    #[test]
    fn colours_are_added_to_the_same_text() {
        for columns in [NARROW, BROAD] {
            let coloured = shown(&busy(), columns, true);
            assert!(coloured.contains("\x1b[31m3 failed\x1b[0m"), "{coloured}");
            let mut plain = coloured;
            for code in ["0", "1", "31", "32", "35"] {
                plain = plain.replace(&format!("\x1b[{code}m"), "");
            }
            assert_eq!(plain, shown(&busy(), columns, false));
        }
    }

    #[test]
    fn a_run_that_reads_its_input_says_how_far() {
        let reading = Snapshot {
            total: 1_200,
            total_known: false,
            finished: 12,
            failed: 0,
            input: Some(InputPosition {
                bytes: 34,
                length: Some(100),
            }),
            ..busy()
        };
        let heading = |snapshot: &Snapshot| shown(snapshot, NARROW, false).lines().next().unwrap().to_owned();
        assert_eq!(
            heading(&reading),
            "requests.jsonl  12 done · 1200 lines read, 34% of the input"
        );
        let piped = Snapshot {
            input: None,
            ..reading.clone()
        };
        assert_eq!(
            heading(&piped),
            "requests.jsonl  12 done · 1200 lines read so far"
        );
        let worker = Snapshot {
            total: 0,
            total_known: true,
            finished_now: 12,
            ..reading
        };
        assert_eq!(heading(&worker), "requests.jsonl  12 finished here");
    }

    #[test]
    fn every_width_holds_its_lines() {
        for columns in 10..220 {
            let text = shown(&busy(), columns, true);
            assert!(text.lines().all(|line| painted_width(line) < columns), "{text}");
            assert!(text.lines().count() >= 5, "{text}");
        }
    }

    #[test]
    fn many_routes_are_counted() {
        let routes: Vec<RouteTraffic> = (0..ROUTES + 2)
            .map(|number| RouteTraffic {
                in_flight: 1,
                ..route(&format!("r{number}"))
            })
            .collect();
        let lines = super::routes(&routes, 80);
        assert_eq!(lines.len(), ROUTES + 1);
        assert_eq!(lines[ROUTES].painted(false), "  and 2 more routes");
    }

    #[test]
    fn a_slow_rate_is_given_a_minute() {
        assert_eq!(
            [0.0, 0.05, 0.99, 2.0].map(per_second),
            ["0.0/s", "3.0/min", "59.4/min", "2.0/s"]
        );
    }
}
