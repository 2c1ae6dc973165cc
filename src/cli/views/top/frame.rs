//! The screen, drawn.

use jiff::Timestamp;

use super::row::TopRow;
use super::state::{NodeState, Screen, SortKey, is_troubled};
use crate::cli::views::age;
use crate::ui::{Palette, Tone, visible};

/// The terminal that is drawn on.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Columns; the greatest number: nothing is cut.
    pub width: usize,
    /// Lines; none: as many as it takes.
    pub height: Option<usize>,
    /// Colours.
    pub palette: Palette,
    /// Now.
    pub now: Timestamp,
}

/// A column: its head, its least width, and whether it is of numbers.
#[derive(Debug, Clone, Copy)]
struct Column {
    head: &'static str,
    width: usize,
    number: bool,
}

const COLUMNS: [Column; 11] = [
    Column { head: "STATE", width: 10, number: false },
    Column { head: "HEALTH", width: 9, number: false },
    Column { head: "CPU%", width: 6, number: true },
    Column { head: "MEMORY", width: 8, number: true },
    Column { head: "READ/s", width: 8, number: true },
    Column { head: "WRITE/s", width: 8, number: true },
    Column { head: "TASKS", width: 5, number: true },
    Column { head: "RESTARTS", width: 8, number: true },
    Column { head: "EVENTS", width: 6, number: true },
    Column { head: "UPTIME", width: 7, number: true },
    Column { head: "LAST EVENT", width: 14, number: false },
];

/// What is left out first where the terminal is too narrow for all columns.
const DISPENSABLE: [&str; 10] = [
    "LAST EVENT",
    "TASKS",
    "EVENTS",
    "WRITE/s",
    "READ/s",
    "UPTIME",
    "HEALTH",
    "RESTARTS",
    "MEMORY",
    "CPU%",
];

/// The most that is shown of a name, where there is an edge at all.
const LONGEST_NAME: usize = 40;

/// The least that is shown of a name before a column is left out for it.
const SHORTEST_NAME: usize = 16;

const KEYS: &str =
    "q quit  c cpu  m memory  i io  r restarts  e events  n name  / filter  t trouble  space pause";

/// Draws the screen; returns its lines, none wider than the terminal. No number
/// is cut: a column that there is no room for is left out, the least important
/// first.
pub fn draw(screen: &Screen, frame: Frame) -> Vec<String> {
    let rows = screen.rows();
    let mut lines = vec![title(screen, rows.len(), frame)];
    for (name, node) in &screen.nodes {
        if let Some(line) = of_node(name, node, frame) {
            lines.push(line);
        }
    }
    lines.push(String::new());
    let several = screen.nodes.len() > 1;
    let names: Vec<String> = rows.iter().map(|(node, row)| label(node, row, several)).collect();
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let longest = if frame.width == usize::MAX { usize::MAX } else { LONGEST_NAME };
    let widest = widest.clamp("COMPONENT".len(), longest);
    let cells: Vec<Cells> = rows.iter().map(|(_, row)| cells(row, frame)).collect();
    let (columns, widest) = columns(&cells, widest, frame.width, sorted_by(screen.sort));
    lines.push(frame.palette.paint(Tone::Strong, &heads(&columns, widest, frame.width)));
    let room = frame.height.map(|height| height.saturating_sub(lines.len() + 1));
    let shown = rows.iter().zip(&names).zip(&cells).skip(screen.offset);
    for (((_, row), name), cells) in shown.take(room.unwrap_or(usize::MAX)) {
        lines.push(line(row, &fit(name, widest, false), (&columns, cells), frame));
    }
    if let Some(height) = frame.height {
        lines.resize(height.saturating_sub(1), String::new());
        lines.push(frame.palette.paint(Tone::Faint, &cut(KEYS, frame.width)));
        lines.truncate(height);
    }
    lines
}

/// Returns how many rows fit below what is above them.
pub fn page(screen: &Screen, height: usize) -> usize {
    let told = screen.nodes.iter().filter(|(_, node)| says_more(node)).count();
    height.saturating_sub(told + 4)
}

fn title(screen: &Screen, rows: usize, frame: Frame) -> String {
    let order = if screen.reversed { ", reversed" } else { "" };
    let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let mut title = format!(
        "mcp top  {}  {}  by {}{order}",
        counted(screen.nodes.len(), "node"),
        counted(rows, "component"),
        screen.sort.as_str()
    );
    if screen.typing || !screen.filter.is_empty() {
        let cursor = if screen.typing { "_" } else { "" };
        let filter = visible(&screen.filter);
        title.extend(["  filter: ", &filter, cursor]);
    }
    if screen.troubled {
        title.push_str("  in trouble only");
    }
    if screen.paused {
        title.push_str("  PAUSED");
    }
    cut(&title, frame.width)
}

fn says_more(node: &NodeState) -> bool {
    let missing = |node: &NodeState| {
        node.sample.as_ref().is_some_and(|sample| !sample.missing_controllers.is_empty())
    };
    node.lost.is_some() || node.sample.is_none() || missing(node)
}

/// Says what is to be known of a node; none: nothing.
fn of_node(name: &str, node: &NodeState, frame: Frame) -> Option<String> {
    let name = visible(name);
    if let Some((since, why)) = &node.lost {
        let ago = age::since(*since, frame.now).map(age::largest_two).unwrap_or_default();
        let text = format!("{name}: lost {ago} ago, trying again: {}", visible(why));
        return Some(frame.palette.paint(Tone::Bad, &cut(&text, frame.width)));
    }
    let Some(sample) = &node.sample else {
        return Some(cut(&format!("{name}: waiting for its first answer"), frame.width));
    };
    if sample.missing_controllers.is_empty() {
        return None;
    }
    let missing: Vec<_> = sample.missing_controllers.iter().map(|name| visible(name)).collect();
    let text = format!(
        "{name}: its systemd has no controller for {}: not shown (mcp doctor -n {name})",
        missing.join(", ")
    );
    Some(frame.palette.paint(Tone::Unsure, &cut(&text, frame.width)))
}

fn label(node: &str, row: &TopRow, several: bool) -> String {
    let path = if row.service == row.component {
        visible(&row.service).into_owned()
    } else {
        format!("{}/{}", visible(&row.service), visible(&row.component))
    };
    if several { format!("{} {path}", visible(node)) } else { path }
}

/// What the columns say of one component, in their order.
type Cells = [String; COLUMNS.len()];

/// Returns the columns of the order of rows.
fn sorted_by(sort: SortKey) -> &'static [&'static str] {
    match sort {
        SortKey::Cpu => &["CPU%"],
        SortKey::Memory => &["MEMORY"],
        SortKey::Io => &["READ/s", "WRITE/s"],
        SortKey::Restarts => &["RESTARTS"],
        SortKey::Events => &["EVENTS"],
        SortKey::Name => &[],
    }
}

/// Returns the columns that there is room for, each as wide as what it says,
/// with their places in the cells; and the room for names. What is `kept` goes
/// last.
fn columns(
    cells: &[Cells],
    widest: usize,
    width: usize,
    kept: &[&str],
) -> (Vec<(usize, Column)>, usize) {
    let grown = |(at, column): (usize, &Column)| {
        let said = cells.iter().filter_map(|cells| cells.get(at));
        let said = said.map(|cell| cell.chars().count()).max().unwrap_or(0);
        (at, Column { width: column.width.max(said), ..*column })
    };
    let mut columns: Vec<(usize, Column)> = COLUMNS.iter().enumerate().map(grown).collect();
    let (first, last): (Vec<&str>, Vec<&str>) =
        DISPENSABLE.iter().partition(|head| !kept.contains(head));
    let mut dispensable = first.into_iter().chain(last);
    let needed = |columns: &[(usize, Column)]| -> usize {
        columns.iter().map(|(_, column)| column.width + 2).sum()
    };
    while needed(&columns) + widest.min(SHORTEST_NAME) > width {
        let Some(head) = dispensable.next() else { break };
        columns.retain(|(_, column)| column.head != head);
    }
    let left = width.saturating_sub(needed(&columns));
    (columns, widest.min(left.max("COMPONENT".len())))
}

fn heads(columns: &[(usize, Column)], widest: usize, width: usize) -> String {
    let mut line = fit("COMPONENT", widest, false);
    for (_, column) in columns {
        line.push_str("  ");
        line.push_str(&fit(column.head, column.width, column.number));
    }
    cut(&line, width).trim_end().to_owned()
}

fn cells(row: &TopRow, frame: Frame) -> Cells {
    let up = row.state == "running";
    let uptime = age::since(row.since_ms, frame.now).filter(|_| up).map(age::largest_two);
    let dash = || "-".to_owned();
    [
        visible(&row.state).into_owned(),
        visible(&row.health).into_owned(),
        row.cpu.map_or_else(dash, |cpu| format!("{:.1}", cpu * 100.0)),
        row.memory_bytes.map_or_else(dash, octets),
        row.io_read_bytes_s.map_or_else(dash, rate),
        row.io_written_bytes_s.map_or_else(dash, rate),
        row.tasks.map_or_else(dash, |tasks| tasks.to_string()),
        row.restarts.to_string(),
        row.events.to_string(),
        uptime.unwrap_or_else(dash),
        row.last_event.as_deref().map_or_else(dash, |kind| visible(kind).into_owned()),
    ]
}

fn line(
    row: &TopRow,
    name: &str,
    (columns, cells): (&[(usize, Column)], &Cells),
    frame: Frame,
) -> String {
    let tone = match (is_troubled(row), row.state.as_str()) {
        (true, "starting" | "stopping") => Tone::Unsure,
        (true, _) => Tone::Bad,
        (false, "running") => Tone::Good,
        (false, _) => Tone::Faint,
    };
    let mut text = cut(name, frame.width);
    let mut left = frame.width.saturating_sub(name.chars().count());
    for (at, column) in columns {
        let cell = cells.get(*at).map_or("", String::as_str);
        let fitted = format!("  {}", fit(cell, column.width, column.number));
        let fitted = cut(&fitted, left);
        left = left.saturating_sub(fitted.chars().count());
        let paints = matches!(column.head, "STATE" | "HEALTH");
        text.push_str(&if paints { frame.palette.paint(tone, &fitted) } else { fitted });
    }
    text.trim_end().to_owned()
}

/// Cuts a text to a width.
fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}

/// Pads or cuts a text to a width.
fn fit(text: &str, width: usize, right: bool) -> String {
    let text = cut(text, width);
    if right { format!("{text:>width$}") } else { format!("{text:<width$}") }
}

/// Writes octets in binary units.
fn octets(number: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (size, unit) in UNITS {
        if number >= size {
            let tenths = number.saturating_mul(10) / size;
            return if tenths < 100 {
                format!("{}.{}{unit}", tenths / 10, tenths % 10)
            } else {
                format!("{}{unit}", tenths / 10)
            };
        }
    }
    format!("{number}B")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is not negative, and a cast of a float saturates"
)]
fn rate(octets_a_second: f64) -> String {
    octets(octets_a_second as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::views::top::row::SampleView;
    use crate::rpc::agent_v1 as proto;

    fn frame(width: usize, height: Option<usize>) -> Frame {
        let now = Timestamp::from_millisecond(1_000_000).unwrap();
        Frame { width, height, palette: Palette::PLAIN, now }
    }

    fn screen() -> Screen {
        let busy = proto::TopComponent {
            service: "shop".into(),
            component: "api".into(),
            state: "running".into(),
            health: "healthy".into(),
            restarts: 2,
            since_ms: 400_000,
            cpu: Some(1.234),
            memory: Some(300 << 20),
            io_read: Some(0.0),
            io_written: Some(5_300.0),
            tasks: Some(12),
            events: 3,
            last_event: "restarted".into(),
            ..proto::TopComponent::default()
        };
        let down = proto::TopComponent {
            service: "mcq".into(),
            component: "mcq".into(),
            state: "failed".into(),
            health: "none".into(),
            ..proto::TopComponent::default()
        };
        let components = vec![down, busy];
        let mut screen = Screen::default();
        screen
            .sample(SampleView::new("rift", proto::TopSample { components, ..Default::default() }));
        screen
    }

    #[test]
    fn a_screen_is_as_large_as_the_terminal() {
        let lines = draw(&screen(), frame(130, Some(8)));
        assert_eq!(lines.len(), 8);
        insta::assert_snapshot!(lines.join("\n"), @r"
        mcp top  1 node  2 components  by cpu

        COMPONENT  STATE       HEALTH       CPU%    MEMORY    READ/s   WRITE/s  TASKS  RESTARTS  EVENTS   UPTIME  LAST EVENT
        shop/api   running     healthy     123.4    300MiB        0B    5.1KiB     12         2       3    10m0s  restarted
        mcq        failed      none            -         -         -         -      -         0       0        -  -


        q quit  c cpu  m memory  i io  r restarts  e events  n name  / filter  t trouble  space pause
        ");
    }

    #[test]
    fn lost_nodes_and_missing_controllers_are_told() {
        let mut screen = screen();
        let missing = vec!["memory".to_owned(), "io".to_owned()];
        let sample = proto::TopSample { missing, ..Default::default() };
        screen.sample(SampleView::new("lab", sample));
        screen.lose("svc", 940_000, "no agent \u{1b}[31manswers".to_owned());
        screen.nodes.entry("new".to_owned()).or_default();
        screen.filter = "shop".to_owned();
        screen.typing = true;
        insta::assert_snapshot!(draw(&screen, frame(70, Some(12))).join("\n"), @r"
        mcp top  4 nodes  1 component  by cpu  filter: shop_
        lab: its systemd has no controller for memory, io: not shown (mcp doct
        new: waiting for its first answer
        svc: lost 1m0s ago, trying again: no agent ^[[31manswers

        COMPONENT      STATE       HEALTH       CPU%    MEMORY  RESTARTS
        rift shop/api  running     healthy     123.4    300MiB         2



        
        q quit  c cpu  m memory  i io  r restarts  e events  n name  / filter
        ");
    }

    #[test]
    fn no_number_is_cut_however_narrow_the_terminal() {
        let mut screen = screen();
        insta::assert_snapshot!(draw(&screen, frame(100, None))[2..].join("\n"), @r"
        COMPONENT  STATE       HEALTH       CPU%    MEMORY    READ/s   WRITE/s  RESTARTS  EVENTS   UPTIME
        shop/api   running     healthy     123.4    300MiB        0B    5.1KiB         2       3    10m0s
        mcq        failed      none            -         -         -         -         0       0        -
        ");
        let huge = proto::TopComponent {
            service: "a-service-with-a-long-name".into(),
            component: "and-a-component".into(),
            state: "running".into(),
            cpu: Some(12_345.6),
            restarts: 1_234_567_890,
            events: 12_345_678,
            memory: Some(1023 << 20),
            last_event: "schedule_succeeded".into(),
            ..proto::TopComponent::default()
        };
        let sample = proto::TopSample { components: vec![huge], ..Default::default() };
        screen.sample(SampleView::new("rift", sample));
        let numbers = ["1234560.0", "1023MiB", "1234567890", "12345678"];
        for width in 30..200 {
            let lines = draw(&screen, frame(width, None));
            let (heads, row) = (&lines[2], &lines[3]);
            let heads: Vec<&str> = heads.split("  ").filter(|head| !head.is_empty()).collect();
            let cells = row.split_whitespace().skip(2).count();
            assert!(heads.len() >= 2 && cells < heads.len(), "{width}: {lines:?}");
            for cut in row
                .split_whitespace()
                .filter(|cell| cell.starts_with("12") || cell.starts_with("10"))
            {
                assert!(numbers.contains(&cut), "{width}: {cut} in {row}");
            }
        }
        screen.sort = SortKey::Events;
        let narrow = draw(&screen, frame(60, None));
        assert!(narrow[2].contains("EVENTS") && narrow[3].contains("12345678"), "{narrow:?}");
    }

    #[test]
    fn a_tiny_terminal_is_not_overrun() {
        for (width, height) in [(0, 0), (1, 1), (5, 3), (20, 4)] {
            let lines = draw(&screen(), frame(width, Some(height)));
            assert!(lines.len() <= height, "{width}x{height}: {lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
        }
        assert_eq!(draw(&screen(), frame(200, None)).len(), 5);
        let painted = draw(&screen(), Frame { palette: Palette::COLOUR, ..frame(40, Some(6)) });
        assert!(painted[3].contains("\u{1b}[32m"), "{painted:?}");
    }

    #[test]
    fn octets_are_short() {
        for (number, text) in
            [(0, "0B"), (1023, "1023B"), (1024, "1.0KiB"), (10 << 20, "10MiB"), (3 << 40, "3.0TiB")]
        {
            assert_eq!(octets(number), text);
        }
    }
}
