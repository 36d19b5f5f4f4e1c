//! The scan and the rewrite against a parser, over bodies of any spelling.

use proptest::prelude::*;

use super::*;

/// Writes JSON with its members in any order, white space anywhere and escapes where none is
/// needed, as `choices` says.
struct Writer<'a> {
    choices: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    out: String,
}

impl Writer<'_> {
    fn choice(&mut self) -> u8 {
        *self.choices.next().unwrap()
    }

    fn space(&mut self) {
        let space = ["", "", "", " ", "\n\t", "                                "];
        let choice = usize::from(self.choice());
        self.out.push_str(space[choice % space.len()]);
    }

    fn text(&mut self, text: &str) {
        if !self.choice().is_multiple_of(4) {
            self.out.push_str(&Value::from(text).to_string());
            return;
        }
        self.out.push('"');
        let mut units = [0; 2];
        for it in text.chars() {
            if self.choice().is_multiple_of(2) {
                for unit in it.encode_utf16(&mut units) {
                    write!(self.out, "\\u{unit:04X}").unwrap();
                }
            } else {
                let quoted = Value::from(it.to_string()).to_string();
                self.out.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
        self.out.push('"');
    }

    fn value(&mut self, value: &Value) {
        self.space();
        match value {
            Value::String(text) => self.text(text),
            Value::Array(values) => {
                self.out.push('[');
                for (at, value) in values.iter().enumerate() {
                    self.out.push_str(if at == 0 { "" } else { "," });
                    self.value(value);
                }
                self.space();
                self.out.push(']');
            }
            Value::Object(members) => {
                self.out.push('{');
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_cached_key(|_| self.choice());
                for (at, (key, value)) in members.into_iter().enumerate() {
                    self.out.push_str(if at == 0 { "" } else { "," });
                    self.space();
                    self.text(key);
                    self.space();
                    self.out.push(':');
                    self.value(value);
                }
                self.space();
                self.out.push('}');
            }
            plain => self.out.push_str(&plain.to_string()),
        }
        self.space();
    }
}

fn written(value: &Value, choices: &[u8]) -> String {
    let mut writer = Writer {
        choices: choices.iter().cycle(),
        out: String::new(),
    };
    writer.value(value);
    writer.out
}

/// A content block, the references in it and the dearest write.
fn block() -> impl Strategy<Value = (Value, u32, CacheWrite)> {
    let cache = prop_oneof![
        Just((None, CacheWrite::None)),
        Just((Some(json!({"type": "ephemeral"})), CacheWrite::FiveMinutes)),
        Just((
            Some(json!({"type": "ephemeral", "ttl": "1h"})),
            CacheWrite::OneHour
        )),
    ];
    let tricky = "\"\\}], \"cache_control\":{\"ttl\":\"1h\"},\"url\":\"https://x\"";
    let url = json!({"type": "url", "url": "https://x"});
    let file = json!({"type": "document", "source": {"type": "file", "file_id": "f"}});
    let input = json!({"url": "https://x", "cache_control": 1});
    let kind = prop_oneof![
        "[ -~]{0,200}".prop_map(|it| (json!({"type": "text", "text": it}), 0)),
        Just((json!({"type": "text", "text": tricky}), 0)),
        Just((json!({"type": "image", "source": url}), 1)),
        Just((
            json!({"type": "image", "source": {"type": "base64", "data": "AA=="}}),
            0
        )),
        Just((json!({"type": "tool_use", "name": "n", "input": input}), 0)),
        Just((json!({"type": "tool_result", "content": [file]}), 1)),
        Just((json!({"type": "tool_result", "content": tricky}), 0)),
    ];
    (kind, cache).prop_map(|((mut block, references), (control, write))| {
        if let Some(control) = control {
            block["cache_control"] = control;
        }
        (block, references, write)
    })
}

/// A body, and what is to be found in it.
struct Body {
    json: Value,
    expected: RequestFacts,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.json)
    }
}

type Message = (&'static str, Vec<(Value, u32, CacheWrite)>);

fn body() -> impl Strategy<Value = Body> {
    let role = prop::sample::select(&["user", "assistant", "system"][..]);
    let messages = prop::collection::vec((role, prop::collection::vec(block(), 0..4)), 0..5);
    let extra = any::<i32>().prop_map(Value::from);
    let extra = prop::collection::btree_map("x[a-z\"\\\\]{0,9}", extra, 0..4);
    let cap = prop::option::of(1..=u64::from(u32::MAX));
    let stream = prop::option::of(any::<bool>());
    let thinking = prop::option::of(1_u64..1 << 20);
    let top = ("[ -~é]{1,30}", cap, stream, thinking, extra);
    (top, messages).prop_map(|((model, cap, stream, thinking, extra), messages)| {
        let mut json = json!({"model": model, "extra": extra});
        let mut expected = RequestFacts {
            model,
            choices: 1,
            stream: stream.unwrap_or(false),
            thinking_budget: thinking,
            ..RequestFacts::default()
        };
        json["messages"] = with_messages(messages, &mut expected);
        if let Some(value) = cap {
            json["max_tokens"] = value.into();
            let digits = 0..0;
            expected.output_cap = Some(OutputCap { value, digits });
        }
        if let Some(stream) = stream {
            json["stream"] = stream.into();
        }
        if let Some(budget) = thinking {
            json["thinking"] = json!({"type": "enabled", "budget_tokens": budget, "x": [{}]});
        }
        Body { json, expected }
    })
}

fn with_messages(messages: Vec<Message>, expected: &mut RequestFacts) -> Value {
    expected.messages = u32::try_from(messages.len()).unwrap();
    let mut list = Vec::new();
    for (role, blocks) in messages {
        if role != "system" {
            let is_result = |it: &(Value, u32, CacheWrite)| it.0["type"] == "tool_result";
            expected.ends_in_tool_result = role == "user" && blocks.iter().any(is_result);
        }
        expected.references += blocks.iter().map(|it| it.1).sum::<u32>();
        let write = blocks.iter().map(|it| it.2).max();
        expected.cache_write = expected.cache_write.max(write.unwrap_or_default());
        let blocks: Vec<Value> = blocks.into_iter().map(|it| it.0).collect();
        list.push(json!({"role": role, "content": blocks}));
    }
    list.into()
}

fn spelling() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..64)
}

fn stream_options() -> impl Strategy<Value = Option<Value>> {
    prop::option::of(prop_oneof![
        Just(json!(null)),
        Just(json!({})),
        Just(json!({"x": 1})),
        Just(json!({"include_usage": false, "x": 1})),
        Just(json!({"include_usage": true})),
    ])
}

proptest! {
    #[test]
    fn the_facts_are_those_a_parser_finds(body in body(), spelling in spelling()) {
        let text = written(&body.json, &spelling);
        prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &body.json);
        let facts = scan(Anthropic, text.as_bytes()).unwrap();
        let mut expected = body.expected;
        let model = format!("\"{}\"", &text[facts.model_span.clone()]);
        prop_assert_eq!(&serde_json::from_str::<String>(&model).unwrap(), &facts.model);
        if let (Some(found), Some(expected)) = (&facts.output_cap, &mut expected.output_cap) {
            prop_assert_eq!(&text[found.digits.clone()], expected.value.to_string());
            expected.digits = found.digits.clone();
        }
        let messages = body.json["messages"].as_array().unwrap();
        let only_system = messages.iter().all(|it| it["role"] == "system");
        prop_assert_eq!(facts.conversation == 0, only_system);
        expected.model_span = facts.model_span.clone();
        expected.conversation = facts.conversation;
        expected.places = facts.places.clone();
        prop_assert_eq!(facts, expected);
    }

    #[test]
    fn a_rewritten_body_differs_in_the_named_values_only(
        body in body(), spelling in spelling(), options in stream_options(),
        cap in prop::option::of(1_u64..99_999), model in prop::option::of("[ -~]{1,20}"),
        include_usage: bool,
    ) {
        let mut original = body.json;
        if let Some(options) = options {
            original["stream_options"] = options;
        }
        let text = written(&original, &spelling);
        let facts = scan(OpenAiChat, text.as_bytes()).unwrap();
        let change = Rewrite { output_cap: cap, model: model.as_deref(), include_usage };
        let changed = rewrite(OpenAiChat, text.as_bytes(), &facts, &change);
        let mut expected = original.clone();
        if let Some(cap) = cap {
            let is_there = original.get("max_tokens").is_some();
            let key = if is_there { "max_tokens" } else { "max_completion_tokens" };
            expected[key] = cap.into();
        }
        if let Some(model) = model {
            expected["model"] = model.into();
        }
        if include_usage && facts.stream {
            expected["stream_options"]["include_usage"] = true.into();
        }
        prop_assert_eq!(changed.is_none(), expected == original);
        let changed = changed.unwrap_or_else(|| text.into_bytes());
        prop_assert_eq!(serde_json::from_slice::<Value>(&changed).unwrap(), expected);
        // What is sent is understood again, and as it was meant.
        let again = scan(OpenAiChat, &changed).unwrap().output_cap.map(|it| it.value);
        prop_assert_eq!(again, cap.or(facts.output_cap.map(|it| it.value)));
    }
}
