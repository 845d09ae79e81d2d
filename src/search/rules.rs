//! The rules that tell a good answer from a bad one, and the meaning of a bad one.

use reqwest::StatusCode;
use serde_json::Value;

use super::outcome::FailureKind;
use super::pointer::{Pointers, written};

/// The rules for a provider's answers.
#[derive(Debug, Clone, Default)]
pub(super) struct AnswerRules {
    /// All conditions hold in a good answer. Without conditions, a 2xx status is enough.
    pub(super) success: Vec<Condition>,
    /// Pointers to the code of an answer.
    pub(super) code: Pointers,
    /// Pointers to the error message.
    pub(super) message: Pointers,
    /// Pointers to the array of results.
    pub(super) items: Pointers,
    pub(super) terminal: Codes,
    pub(super) limited: Codes,
    pub(super) retryable: Codes,
    pub(super) empty: Codes,
}

/// A condition: the value at the pointer is one of these.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    /// A JSON pointer.
    pub(super) at: String,
    /// The allowed values as text. `200` and `"200"` are equal.
    pub(super) is: Vec<String>,
}

/// HTTP status codes, and codes in the body.
#[derive(Debug, Clone, Default)]
pub(super) struct Codes {
    pub(super) status: Vec<u16>,
    pub(super) code: Vec<String>,
}

impl AnswerRules {
    /// Whether the answer is good.
    pub(super) fn holds(&self, status: StatusCode, body: &Value) -> bool {
        status.is_success() && self.success.iter().all(|condition| condition.holds(body))
    }

    /// Returns the code in a body.
    pub(super) fn code_of(&self, body: &Value) -> Option<String> {
        self.code.text(body)
    }

    /// Returns the meaning of a bad answer. A code in the body comes before the status. A status in the file comes
    /// before the meaning of the status in HTTP.
    pub(super) fn meaning(&self, status: StatusCode, code: Option<&str>) -> FailureKind {
        let classes = [
            (&self.empty, FailureKind::Empty),
            (&self.terminal, FailureKind::Terminal),
            (&self.limited, FailureKind::Limited),
            (&self.retryable, FailureKind::Server),
        ];
        let by_code = |codes: &Codes| code.is_some_and(|code| codes.code.iter().any(|known| known == code));
        let by_status = |codes: &Codes| codes.status.contains(&status.as_u16());
        let found = classes
            .iter()
            .find(|(codes, _)| by_code(codes))
            .or_else(|| classes.iter().find(|(codes, _)| by_status(codes)));
        match (found, status.as_u16()) {
            (Some((_, kind)), _) => *kind,
            (None, 401..=403) => FailureKind::Terminal,
            (None, 429) => FailureKind::Limited,
            (None, 408 | 425 | 500..) => FailureKind::Server,
            (None, _) => FailureKind::Refused,
        }
    }
}

impl Condition {
    fn holds(&self, body: &Value) -> bool {
        let found = body.pointer(&self.at).and_then(written);
        found.is_some_and(|found| self.is.contains(&found))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> AnswerRules {
        let strings = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        AnswerRules {
            success: vec![
                Condition {
                    at: "/code".to_owned(),
                    is: strings(&["200", "0"]),
                },
                Condition {
                    at: "/ok".to_owned(),
                    is: strings(&["true"]),
                },
            ],
            code: Pointers::new(strings(&["/code"])).unwrap(),
            terminal: Codes {
                status: vec![432],
                code: strings(&["601"]),
            },
            limited: Codes {
                status: vec![],
                code: strings(&["302"]),
            },
            empty: Codes {
                status: vec![422],
                code: vec![],
            },
            ..AnswerRules::default()
        }
    }

    #[test]
    fn all_conditions_hold_in_a_good_answer() {
        let holds = |status: u16, body: Value| rules().holds(StatusCode::from_u16(status).unwrap(), &body);
        assert!(holds(200, json!({"code": 200, "ok": true})));
        assert!(holds(200, json!({"code": "0", "ok": "true"})));
        for (status, body) in [
            (200, json!({"code": 200, "ok": false})),
            (200, json!({"code": 500, "ok": true})),
            (200, json!({"ok": true})),
            (200, json!([])),
            (502, json!({"code": 200, "ok": true})),
        ] {
            assert!(!holds(status, body));
        }
    }

    #[test]
    fn a_code_comes_before_a_status_and_a_listed_status_before_http() {
        let meaning =
            |status: u16, code: Option<&str>| rules().meaning(StatusCode::from_u16(status).unwrap(), code);
        for (status, code, kind) in [
            (200, Some("601"), FailureKind::Terminal),
            (200, Some("302"), FailureKind::Limited),
            (422, Some("601"), FailureKind::Terminal),
            (422, None, FailureKind::Empty),
            (432, None, FailureKind::Terminal),
            (401, None, FailureKind::Terminal),
            (429, None, FailureKind::Limited),
            (408, None, FailureKind::Server),
            (503, Some("7"), FailureKind::Server),
            (400, None, FailureKind::Refused),
            (200, Some("7"), FailureKind::Refused),
        ] {
            assert_eq!(meaning(status, code), kind, "{status} {code:?}");
        }
    }
}
