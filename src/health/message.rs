//! What is sent: one alert as PagerDuty, Slack or a webhook of one's own wants to read it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

/// The address for events of PagerDuty's accounts in the United States.
pub const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// As lenient with a key's last bits as the receivers' libraries are.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    PagerDuty,
    Slack,
    Webhook,
}

impl Kind {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "pagerduty" => Some(Self::PagerDuty),
            "slack" => Some(Self::Slack),
            "webhook" => Some(Self::Webhook),
            _ => None,
        }
    }
}

/// One alert at one moment, as the database tells it.
#[derive(Debug, Deserialize)]
pub struct Alert {
    /// The same for each try of the same message: the receiver's key against doubles.
    pub message_id: String,
    /// The same for all events of one alert.
    pub dedup_key: String,
    pub event: Event,
    pub severity: Severity,
    pub issue: String,
    pub summary: String,
    pub source: String,
    /// RFC 3339.
    pub since: String,
    #[serde(default)]
    pub details: Value,
    #[serde(default)]
    pub steps: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    Trigger,
    /// It has become worse than when it was told.
    Escalate,
    Acknowledge,
    Resolve,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Critical,
    Warning,
    Info,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Escalate => "escalate",
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
        }
    }

    /// Whether somebody is to act on it.
    fn is_news(self) -> bool {
        matches!(self, Self::Trigger | Self::Escalate)
    }
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// A body and the headers beside `Content-Type: application/json`.
#[derive(Debug)]
pub struct Message {
    pub body: String,
    pub headers: Vec<(&'static str, String)>,
}

/// The message for one kind of receiver. `now`: seconds since 1970, which a webhook's signature covers.
pub fn message(kind: Kind, secret: &str, alert: &Alert, now: u64) -> Message {
    match kind {
        Kind::PagerDuty => Message { body: pagerduty(secret, alert).to_string(), headers: Vec::new() },
        Kind::Slack => Message { body: slack(alert).to_string(), headers: Vec::new() },
        Kind::Webhook => webhook(secret, alert, now),
    }
}

/// PagerDuty, Events API v2.
fn pagerduty(routing_key: &str, alert: &Alert) -> Value {
    let news = alert.event.is_news();
    let mut event = json!({
        "routing_key": routing_key,
        "event_action": if news { "trigger" } else { alert.event.name() },
        "dedup_key": cut(&alert.dedup_key, 255),
        "client": "StormOps",
    });
    if news {
        event["payload"] = json!({
            "summary": cut(&alert.summary, 1024),
            "source": alert.source,
            "severity": alert.severity.name(),
            "timestamp": alert.since,
            "component": "stormops",
            "class": alert.issue,
            "custom_details": { "evidence": alert.details, "runbook": alert.steps },
        });
    }
    event
}

/// Slack, incoming webhook: `text` for notifications, blocks for the eye.
fn slack(alert: &Alert) -> Value {
    let mark = match (alert.event, alert.severity) {
        (Event::Resolve, _) => ":white_check_mark: resolved",
        (Event::Acknowledge, _) => ":eyes: acknowledged",
        (_, Severity::Critical) => ":rotating_light: critical",
        (_, Severity::Warning) => ":warning: warning",
        (_, Severity::Info) => ":information_source: info",
    };
    let summary = escape(&cut(&alert.summary, 1000));
    let mut lines = vec![format!("{mark}: *{summary}*"), format!("{} since {}", escape(&alert.source), alert.since)];
    if alert.event.is_news() {
        lines.extend(facts(&alert.details).map(|facts| escape(&cut(&facts, 1000))));
        lines.extend(alert.steps.iter().enumerate().map(|(i, step)| format!("{}. {}", i + 1, escape(step))));
    }
    // Slack refuses a block's text above 3000 characters.
    let text = cut_escaped(&lines.join("\n"), 2900);
    json!({
        "text": format!("{mark}: {summary}"),
        "blocks": [{ "type": "section", "text": { "type": "mrkdwn", "text": text } }],
    })
}

/// What is known about it, in one line.
fn facts(details: &Value) -> Option<String> {
    let known = details.as_object()?.iter().filter_map(|(name, value)| match value {
        Value::String(text) => Some(format!("{name}: {text}")),
        Value::Number(_) | Value::Bool(_) => Some(format!("{name}: {value}")),
        _ => None,
    });
    Some(known.collect::<Vec<_>>().join(", ")).filter(|facts| !facts.is_empty())
}

/// The three characters with a meaning in Slack's text: so that no name can mention @channel or make a link.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The first `most` characters, of the last escape all or nothing: `&` stands for itself in no escaped text.
fn cut_escaped(text: &str, most: usize) -> String {
    let mut text = cut(text, most);
    if let Some(last) = text.rfind('&').filter(|last| !text[*last..].contains(';')) {
        text.truncate(last);
    }
    text
}

/// A webhook as "Standard Webhooks" describes it: HMAC-SHA256 over id, time and body.
fn webhook(secret: &str, alert: &Alert, now: u64) -> Message {
    let body = json!({
        "type": format!("stormops.alert.{}", alert.event.name()),
        "timestamp": alert.since,
        "data": {
            "dedup_key": alert.dedup_key, "event": alert.event.name(), "severity": alert.severity.name(),
            "issue": alert.issue, "summary": alert.summary, "source": alert.source, "since": alert.since,
            "evidence": alert.details, "runbook": alert.steps,
        },
    })
    .to_string();
    let signature = signature(secret, &alert.message_id, now, &body);
    Message {
        headers: vec![
            ("webhook-id", alert.message_id.clone()),
            ("webhook-timestamp", now.to_string()),
            ("webhook-signature", signature),
        ],
        body,
    }
}

fn signature(secret: &str, id: &str, now: u64, body: &str) -> String {
    let key = secret.strip_prefix("whsec_").and_then(|key| BASE64.decode(key).ok());
    let key = key.unwrap_or_else(|| secret.as_bytes().to_vec());
    // An HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return String::new() };
    mac.update(format!("{id}.{now}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
}

/// The first `most` characters.
fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(event: &str) -> Alert {
        serde_json::from_value(json!({
            "message_id": "msg_1", "dedup_key": "t/low_lift", "event": event, "severity": "critical",
            "issue": "low_lift", "summary": "lift <!channel> & 2 points", "source": "ABC Roofing",
            "since": "2026-05-01T00:00:00Z", "details": {"lift": 0.02}, "steps": ["Verify <policy>"],
        }))
        .unwrap()
    }

    #[test]
    fn signature_of_the_standard_webhooks_specification() {
        // Standard Webhooks, "Verifying signatures", and the test of its reference libraries.
        let signed = signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn pagerduty_gets_a_payload_with_a_trigger_only() {
        let sent: Value = serde_json::from_str(&message(Kind::PagerDuty, "R0UTE", &alert("trigger"), 0).body).unwrap();
        assert_eq!(sent["routing_key"], "R0UTE");
        assert_eq!(sent["event_action"], "trigger");
        assert_eq!(sent["payload"]["severity"], "critical");
        assert_eq!(sent["payload"]["custom_details"]["evidence"]["lift"], 0.02);
        let sent = pagerduty("R0UTE", &alert("resolve"));
        assert_eq!((&sent["dedup_key"], sent.get("payload")), (&json!("t/low_lift"), None));
    }

    #[test]
    fn a_name_cannot_speak_slack() {
        let sent = slack(&alert("trigger"));
        let text = sent["blocks"][0]["text"]["text"].as_str().unwrap();
        assert!(
            text.contains("lift &lt;!channel&gt; &amp; 2 points")
                && text.contains("\nlift: 0.02\n1. Verify &lt;policy&gt;"),
            "{text}"
        );
        assert!(!text.contains("<!"), "{text}");
        let mut long = alert("trigger");
        long.steps = vec!["x".repeat(500); 20];
        assert!(slack(&long)["blocks"][0]["text"]["text"].as_str().unwrap().chars().count() <= 3000);
        // Wherever the end falls, it cuts no escape in two.
        for start in 0..6 {
            long.steps = vec![format!("{}{}", "x".repeat(start), "<".repeat(3000))];
            let sent = slack(&long);
            let text = sent["blocks"][0]["text"]["text"].as_str().unwrap();
            assert!(text.ends_with("&lt;") && text.chars().count() > 2890, "{}", &text[text.len() - 9..]);
        }
    }

    #[test]
    fn a_webhook_is_signed_over_what_is_sent() {
        let sent = message(Kind::Webhook, "plain secret", &alert("acknowledge"), 7);
        assert_eq!(sent.headers[0], ("webhook-id", "msg_1".to_owned()));
        assert_eq!(sent.headers[2].1, signature("plain secret", "msg_1", 7, &sent.body));
        assert!(!sent.body.contains("plain secret"));
    }
}
