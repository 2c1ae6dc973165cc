//! The table `[monitor]`.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::reader::Reader;
use super::tables::Text;
use crate::agent::monitor::EventKind;
use crate::agent::monitor::settings::{MonitorSettings, Span, Webhook, WebhookUrl};

/// The keys of the table.
pub(super) const KEYS: &[&str] = &[
    "interval",
    "alert_command",
    "cooldown",
    "flap_threshold",
    "flap_window",
    "retention",
    "webhook",
];

/// The longest pause between two looks at everything.
const LONGEST: Span = Span::seconds(24 * 3600);

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MonitorTable {
    interval: Text,
    alert_command: Option<Spanned<Vec<String>>>,
    cooldown: Text,
    flap_threshold: Option<Spanned<u32>>,
    flap_window: Text,
    retention: Text,
    webhook: Vec<WebhookTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookTable {
    url: Spanned<String>,
    token_file: Text,
    ca_cert: Text,
    #[serde(default)]
    kinds: Vec<Spanned<String>>,
}

impl Reader<'_> {
    pub(super) fn monitor(&mut self, table: MonitorTable) -> Option<MonitorSettings> {
        let usual = MonitorSettings::default();
        let mut span = |key: &str, text: &Text, default| self.value_or(key, text, default);
        let interval = span("monitor.interval", &table.interval, usual.interval);
        let cooldown = span("monitor.cooldown", &table.cooldown, usual.cooldown);
        let flap_window = span("monitor.flap_window", &table.flap_window, usual.flap_window);
        let retention = span("monitor.retention", &table.retention, usual.retention);
        if interval.is_some_and(|interval| interval.get() > LONGEST.get()) {
            let at = table.interval.as_ref().map_or(0, |text| text.span().start);
            self.problem(at, "monitor.interval", "the interval is at most 24h");
        }
        let threshold = table.flap_threshold.as_ref();
        if let Some(threshold) = threshold.filter(|number| *number.get_ref() == 0) {
            let at = threshold.span().start;
            self.problem(at, "monitor.flap_threshold", "the threshold is at least 1");
        }
        let alert_command = self.alert_command(table.alert_command);
        let webhooks: Vec<_> = table.webhook.iter().map(|hook| self.webhook(hook)).collect();
        Some(MonitorSettings {
            interval: interval?,
            alert_command,
            cooldown: cooldown?,
            flap_threshold: threshold.map_or(usual.flap_threshold, |number| *number.get_ref()),
            flap_window: flap_window?,
            retention: retention?,
            webhooks: webhooks.into_iter().collect::<Option<_>>()?,
        })
    }

    fn alert_command(&mut self, words: Option<Spanned<Vec<String>>>) -> Vec<String> {
        const KEY: &str = "monitor.alert_command";
        let Some(words) = words else { return Vec::new() };
        let at = words.span().start;
        let words = words.into_inner();
        if words.iter().any(|word| word.contains('\0')) {
            self.problem(at, KEY, "a word of a command cannot hold the character NUL");
        }
        if let Some(program) = words.first()
            && !Path::new(program).is_absolute()
        {
            let message =
                "the first word is the program, with its whole path; no shell reads the command";
            self.problem(at, KEY, message);
        }
        words
    }

    fn webhook(&mut self, table: &WebhookTable) -> Option<Webhook> {
        let url: Option<WebhookUrl> = self.value("monitor.webhook.url", &table.url);
        let token_file = self.path("monitor.webhook.token_file", &table.token_file);
        let ca_cert = self.path("monitor.webhook.ca_cert", &table.ca_cert);
        let kinds: Vec<Option<EventKind>> =
            table.kinds.iter().map(|kind| self.value("monitor.webhook.kinds", kind)).collect();
        let kinds = kinds.into_iter().collect::<Option<_>>()?;
        Some(Webhook { url: url?, token_file, ca_cert, kinds })
    }
}
