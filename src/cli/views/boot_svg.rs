//! A boot as a drawing: one SVG file that needs nothing else (no script, no
//! style sheet, no font of its own).
//!
//! Names and messages come from the node's journal: every text is escaped,
//! and numbers are all that is not text.

use super::boot_bars::{drawn_ms, groups};
use super::boot_report::{BootUnitView, BootView, seconds};
use crate::ui::visible;

const ROW: usize = 20;
const LABELS: u64 = 300;
const BARS: u64 = 640;
const MARGIN: u64 = 20;

/// Returns the drawing.
pub fn drawing(boot: &BootView) -> String {
    let drawn = drawn_ms(boot);
    let mut rows = Rows { text: String::new(), top: 70, drawn };
    for (title, units) in groups(boot) {
        rows.title(&title);
        for unit in units {
            rows.unit(unit, boot.chain.iter().any(|link| link.unit == unit.unit));
        }
    }
    let width = MARGIN * 2 + LABELS + BARS;
    let height = rows.top + ROW;
    let mut svg = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    let at = boot.began_at.as_deref().unwrap_or_default();
    let title = format!("{}: boot of {at} ({})", boot.node, boot.boot_id);
    line(&mut svg, &text_at(MARGIN, 24, "font-size=\"16\"", &title));
    for tenth in 0..=10_u64 {
        let x = MARGIN + LABELS + BARS * tenth / 10;
        line(
            &mut svg,
            &format!("<line x1=\"{x}\" y1=\"56\" x2=\"{x}\" y2=\"{height}\" stroke=\"#e0e0e0\"/>"),
        );
        let label = seconds(drawn * tenth / 10);
        line(&mut svg, &text_at(x, 50, "text-anchor=\"middle\" fill=\"#606060\"", &label));
    }
    svg.push_str(&rows.text);
    svg.push_str("</svg>\n");
    svg
}

fn line(text: &mut String, element: &str) {
    text.push_str(element);
    text.push('\n');
}

fn text_at(x: u64, y: usize, attributes: &str, text: &str) -> String {
    format!("<text x=\"{x}\" y=\"{y}\" {attributes}>{}</text>", escaped(text))
}

/// Rows, from the top down.
struct Rows {
    text: String,
    top: usize,
    drawn: u64,
}

impl Rows {
    fn title(&mut self, title: &str) {
        self.top += ROW;
        let title = text_at(MARGIN, self.top, "font-weight=\"bold\"", title);
        line(&mut self.text, &title);
    }

    fn unit(&mut self, unit: &BootUnitView, critical: bool) {
        self.top += ROW;
        let weight = if critical { "font-weight=\"bold\"" } else { "" };
        let told = format!("{}: {}", unit.unit, state(unit));
        line(&mut self.text, &format!("<g><title>{}</title>", escaped(&told)));
        let label = text_at(MARGIN + 12, self.top, weight, &unit.unit);
        line(&mut self.text, &label);
        for attempt in &unit.attempts {
            let from = self.x(attempt.from_ms);
            let to = attempt.to_ms.map_or(MARGIN + LABELS + BARS, |ms| self.x(ms));
            let fill = match attempt.ended.as_str() {
                "ready" => "#2e7d32",
                "failed" => "#c62828",
                _ => "#f9a825",
            };
            let (y, width) = (self.top - 12, (to - from).max(2));
            let bar = format!(
                "<rect x=\"{from}\" y=\"{y}\" width=\"{width}\" height=\"14\" fill=\"{fill}\"/>"
            );
            line(&mut self.text, &bar);
        }
        line(&mut self.text, "</g>");
    }

    fn x(&self, ms: u64) -> u64 {
        MARGIN + LABELS + ms.min(self.drawn).saturating_mul(BARS) / self.drawn
    }
}

fn state(unit: &BootUnitView) -> String {
    let mut text = match unit.ready_ms {
        Some(ms) => format!("ready at {}", seconds(ms)),
        None => unit.outcome.clone(),
    };
    if unit.failures() > 0 {
        text.push_str(&format!(", {} failed", unit.failures()));
    }
    if let Some(said) = &unit.said {
        text.push_str(&format!("; {said}"));
    }
    text
}

/// Escapes text for XML (W3C XML 1.0, sections 2.2 and 2.4); characters that
/// XML cannot hold are shown like in a terminal.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::boot_report::tests::boot;
    use super::*;

    #[test]
    fn texts_of_the_journal_cannot_become_markup() {
        let mut boot = boot();
        boot.node = "</text><script>alert(1)</script>".to_owned();
        let svg = drawing(&boot);
        assert!(!svg.contains("<script"), "{svg}");
        assert!(svg.contains("&lt;/text&gt;&lt;script&gt;"));
        assert!(svg.contains("&lt;b&gt;&amp;&quot;foreign^G.service"));
        assert!(!svg.contains(|c: char| c.is_control() && c != '\n'));
        let elements = svg.matches('<').count();
        assert_eq!(elements, svg.matches('>').count());
    }

    #[test]
    fn every_try_is_a_rectangle_within_the_drawing() {
        let boot = boot();
        let svg = drawing(&boot);
        let tries: usize =
            groups(&boot).iter().flat_map(|(_, u)| u).map(|u| u.attempts.len()).sum();
        assert_eq!(svg.matches("height=\"14\"").count(), tries);
        for at in svg.split("<rect x=\"").skip(1) {
            let x: u64 = at.split('"').next().unwrap().parse().unwrap();
            assert!((MARGIN + LABELS..=MARGIN + LABELS + BARS).contains(&x), "{x}");
        }
    }
}
