//! What is on the screen, and what a key does to it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::row::{SampleView, TopRow};

/// By what rows are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum SortKey {
    /// Processors
    #[default]
    Cpu,
    /// Memory
    Memory,
    /// Reading and writing
    Io,
    /// Restarts
    Restarts,
    /// Events of the last hour
    Events,
    /// Node, service and component
    Name,
}

impl SortKey {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Io => "io",
            Self::Restarts => "restarts",
            Self::Events => "events",
            Self::Name => "name",
        }
    }
}

/// A key that was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// The key that ends a line.
    Enter,
    /// The key that takes a character back.
    Backspace,
    /// The key that leaves.
    Escape,
    /// Ctrl-C.
    Interrupt,
    /// One up.
    Up,
    /// One down.
    Down,
    /// A screenful up.
    PageUp,
    /// A screenful down.
    PageDown,
}

/// What comes after a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The screen is drawn anew.
    Draw,
    /// It is over.
    Quit,
}

/// What is known of a node.
#[derive(Debug, Clone, Default)]
pub struct NodeState {
    /// Its last sample.
    pub sample: Option<SampleView>,
    /// Since when it is lost, in milliseconds since the Unix epoch, and why.
    pub lost: Option<(i64, String)>,
}

/// The screen.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is switched by a key of its own")]
pub struct Screen {
    /// The nodes.
    pub nodes: BTreeMap<String, NodeState>,
    /// By what rows are sorted.
    pub sort: SortKey,
    /// Whether the other way round.
    pub reversed: bool,
    /// What a name must hold to be shown.
    pub filter: String,
    /// Whether the filter is being typed.
    pub typing: bool,
    /// Whether only what is not well is shown.
    pub troubled: bool,
    /// How many rows are passed over.
    pub offset: usize,
    /// Whether new samples are not shown.
    pub paused: bool,
    /// How many rows fit.
    pub page: usize,
}

impl Screen {
    /// Takes a sample.
    pub fn sample(&mut self, sample: SampleView) {
        let node = self.nodes.entry(sample.node.clone()).or_default();
        node.lost = None;
        if !self.paused || node.sample.is_none() {
            node.sample = Some(sample);
        }
    }

    /// Takes that a node is lost.
    pub fn lose(&mut self, node: &str, now_ms: i64, why: String) {
        let node = self.nodes.entry(node.to_owned()).or_default();
        let since = node.lost.as_ref().map_or(now_ms, |(since, _)| *since);
        node.lost = Some((since, why));
    }

    /// Does what a key asks for.
    pub fn press(&mut self, key: Key) -> Next {
        if key == Key::Interrupt {
            return Next::Quit;
        }
        if self.typing {
            self.edit(key);
            return Next::Draw;
        }
        let page = self.page.max(1);
        match key {
            Key::Char('q') => return Next::Quit,
            Key::Char('c') => self.sort_by(SortKey::Cpu),
            Key::Char('m') => self.sort_by(SortKey::Memory),
            Key::Char('i') => self.sort_by(SortKey::Io),
            Key::Char('r') => self.sort_by(SortKey::Restarts),
            Key::Char('e') => self.sort_by(SortKey::Events),
            Key::Char('n') => self.sort_by(SortKey::Name),
            Key::Char('/') => self.typing = true,
            Key::Char('t') => self.troubled = !self.troubled,
            Key::Char(' ') => self.paused = !self.paused,
            Key::Escape => self.filter.clear(),
            Key::Up | Key::Char('k') => self.offset = self.offset.saturating_sub(1),
            Key::Down | Key::Char('j') => self.offset = self.offset.saturating_add(1),
            Key::PageUp => self.offset = self.offset.saturating_sub(page),
            Key::PageDown => self.offset = self.offset.saturating_add(page),
            Key::Char(_) | Key::Enter | Key::Backspace | Key::Interrupt => {}
        }
        let rows = self.rows().len();
        self.offset = self.offset.min(rows.saturating_sub(page));
        Next::Draw
    }

    fn edit(&mut self, key: Key) {
        match key {
            Key::Char(c) => self.filter.push(c),
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Enter => self.typing = false,
            Key::Escape => {
                self.filter.clear();
                self.typing = false;
            }
            Key::Interrupt | Key::Up | Key::Down | Key::PageUp | Key::PageDown => {}
        }
        self.offset = 0;
    }

    fn sort_by(&mut self, sort: SortKey) {
        self.reversed = self.sort == sort && !self.reversed;
        self.sort = sort;
        self.offset = 0;
    }

    /// Returns the rows to be shown, in order, each with its node.
    pub fn rows(&self) -> Vec<(&str, &TopRow)> {
        let all = self.nodes.iter().filter_map(|(node, state)| {
            let sample = state.sample.as_ref().filter(|_| state.lost.is_none())?;
            Some(sample.components.iter().map(move |row| (node.as_str(), row)))
        });
        let shown = |(node, row): &(&str, &TopRow)| {
            let name = format!("{node}/{}/{}", row.service, row.component);
            name.contains(&self.filter) && (!self.troubled || is_troubled(row))
        };
        let mut rows: Vec<(&str, &TopRow)> = all.flatten().filter(shown).collect();
        rows.sort_by(|a, b| {
            let order = compare(self.sort, a.1, b.1);
            let order = order.then_with(|| name(a).cmp(&name(b)));
            if self.reversed { order.reverse() } else { order }
        });
        rows
    }
}

fn name<'a>(row: &(&'a str, &'a TopRow)) -> (&'a str, &'a str, &'a str) {
    (row.0, row.1.service.as_str(), row.1.component.as_str())
}

/// Tells whether a person should look at a component.
pub fn is_troubled(row: &TopRow) -> bool {
    !matches!(row.state.as_str(), "running" | "stopped" | "done") || row.health == "unhealthy"
}

/// The most comes first; what is not known comes last.
fn compare(sort: SortKey, a: &TopRow, b: &TopRow) -> Ordering {
    let io = |row: &TopRow| match (row.io_read_bytes_s, row.io_written_bytes_s) {
        (None, None) => None,
        (read, written) => Some(read.unwrap_or_default() + written.unwrap_or_default()),
    };
    let float = |a: Option<f64>, b: Option<f64>| b.partial_cmp(&a).unwrap_or(Ordering::Equal);
    match sort {
        SortKey::Cpu => float(a.cpu, b.cpu),
        SortKey::Memory => b.memory_bytes.cmp(&a.memory_bytes),
        SortKey::Io => float(io(a), io(b)),
        SortKey::Restarts => b.restarts.cmp(&a.restarts),
        SortKey::Events => b.events.cmp(&a.events),
        SortKey::Name => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::agent_v1 as proto;

    fn full() -> Screen {
        let row = |service: &str, cpu: Option<f64>, restarts| proto::TopComponent {
            service: service.into(),
            component: "web".into(),
            state: if restarts > 5 { "restarting" } else { "running" }.into(),
            cpu,
            restarts,
            ..proto::TopComponent::default()
        };
        let components = vec![row("a", Some(0.1), 0), row("b", None, 9), row("c", Some(1.5), 1)];
        let mut screen = Screen::default();
        let sample = proto::TopSample { components, ..proto::TopSample::default() };
        screen.sample(SampleView::new("rift", sample));
        screen
    }

    fn shown(screen: &Screen) -> String {
        screen.rows().iter().map(|(_, row)| row.service.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn press(screen: &mut Screen, keys: &str) -> Next {
        keys.chars().map(|c| screen.press(Key::Char(c))).last().unwrap()
    }

    #[test]
    fn keys_sort_and_the_same_key_turns_the_order() {
        let mut screen = full();
        assert_eq!(shown(&screen), "c a b");
        press(&mut screen, "c");
        assert_eq!(shown(&screen), "b a c");
        press(&mut screen, "r");
        assert_eq!(shown(&screen), "b c a");
        press(&mut screen, "n");
        assert_eq!(shown(&screen), "a b c");
        press(&mut screen, "t");
        assert_eq!(shown(&screen), "b");
        assert_eq!(press(&mut screen, "q"), Next::Quit);
        assert_eq!(screen.press(Key::Interrupt), Next::Quit);
    }

    #[test]
    fn what_is_typed_into_the_filter_is_no_command() {
        let mut screen = full();
        assert_eq!(press(&mut screen, "/rift/c"), Next::Draw);
        assert_eq!((shown(&screen).as_str(), screen.typing), ("c", true));
        assert_eq!(press(&mut screen, "q"), Next::Draw);
        assert_eq!(shown(&screen), "");
        screen.press(Key::Backspace);
        screen.press(Key::Enter);
        assert_eq!((shown(&screen).as_str(), screen.typing), ("c", false));
        screen.press(Key::Escape);
        assert_eq!(shown(&screen), "c a b");
        press(&mut screen, "/x");
        assert_eq!(screen.press(Key::Interrupt), Next::Quit);
    }

    #[test]
    fn scrolling_ends_with_the_rows() {
        let mut screen = full();
        screen.page = 2;
        for _ in 0..9 {
            screen.press(Key::Down);
        }
        assert_eq!(screen.offset, 1);
        screen.press(Key::PageUp);
        assert_eq!(screen.offset, 0);
    }

    #[test]
    fn a_lost_node_keeps_no_rows_and_comes_back() {
        let mut screen = full();
        screen.lose("rift", 5, "gone".to_owned());
        screen.lose("rift", 9, "still gone".to_owned());
        assert_eq!(screen.nodes["rift"].lost, Some((5, "still gone".to_owned())));
        assert_eq!(shown(&screen), "");
        let empty = proto::TopSample::default();
        screen.sample(SampleView::new("rift", empty));
        assert_eq!(screen.nodes["rift"].lost, None);
        // Paused, it is known to be back, and what was shown stays.
        let mut again = full();
        press(&mut again, " ");
        again.sample(SampleView::new("rift", proto::TopSample::default()));
        assert_eq!(shown(&again), "c a b");
    }
}
