//! Requests as coding assistants send them, of a given length to the byte.

/// What is asked, and how long the body is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    path: &'static str,
    /// Begins the body, up to the text of the prompt.
    opening: &'static str,
    /// The end of the body, after the text.
    closing: &'static str,
    streamed_closing: &'static str,
    prompt: &'static str,
    stream: bool,
    body_bytes: usize,
    /// What says whose conversation and task it is: headers, each with its line's end.
    names: &'static str,
}

/// As a coding assistant says it, and whoever uses our headers.
const NAMES: &str =
    "x-claude-code-session-id: 6f1c0f1e-6a43-4c0c-9f6c-2f1f4f0c7d11\r\nx-tidegate-task: bench\r\n";

/// The length of a short conversation's body.
const SHORT: usize = 2_048;

impl Shape {
    pub(super) const fn anthropic() -> Self {
        Self {
            path: "/v1/messages",
            opening: r#"{"model":"claude-opus-5-5","max_tokens":1024,"messages":[{"role":"user","content":""#,
            closing: r#""}]}"#,
            streamed_closing: r#""}],"stream":true}"#,
            prompt: "",
            stream: false,
            body_bytes: SHORT,
            names: NAMES,
        }
    }

    pub(super) const fn openai() -> Self {
        Self {
            path: "/v1/chat/completions",
            opening: r#"{"model":"gpt-5.2","max_completion_tokens":1024,"messages":[{"role":"user","content":""#,
            closing: r#""}]}"#,
            // The client asks for usage, as most do that count it.
            streamed_closing: r#""}],"stream":true,"stream_options":{"include_usage":true}}"#,
            ..Self::anthropic()
        }
    }

    pub(super) const fn streamed(mut self) -> Self {
        self.stream = true;
        self
    }

    /// As an SDK sends it: nobody says what it belongs to, so that each call begins a task.
    pub(super) const fn unnamed(mut self) -> Self {
        self.names = "";
        self
    }

    pub(super) const fn of_bytes(mut self, body_bytes: usize) -> Self {
        self.body_bytes = body_bytes;
        self
    }

    /// With words for the emulated provider at the prompt's end.
    pub(super) const fn asking(mut self, prompt: &'static str) -> Self {
        self.prompt = prompt;
        self
    }

    /// The whole request. It names a session, an agent's task and a credential, unless it shall not, so that all of identity,
    /// limits and budgets is in its path.
    pub(super) fn bytes(&self, host: &str) -> Vec<u8> {
        let closing = if self.stream {
            self.streamed_closing
        } else {
            self.closing
        };
        let fixed = self.opening.len() + self.prompt.len() + closing.len();
        let words = "the tide tables of the harbour, day by day; "
            .chars()
            .cycle();
        let filling: String = words.take(self.body_bytes.saturating_sub(fixed)).collect();
        let body = [self.opening, filling.as_str(), self.prompt, closing].concat();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\naccept: application/json\r\n\
             user-agent: tidegate-bench\r\nanthropic-version: 2023-06-01\r\n{}\r\n{}content-length: {}\r\n\r\n",
            self.path,
            self.credential(),
            self.names,
            body.len(),
        );
        [head.into_bytes(), body.into_bytes()].concat()
    }

    fn credential(&self) -> &'static str {
        if self.path.ends_with("/messages") {
            "x-api-key: sk-ant-api03-made-up-for-benches"
        } else {
            "authorization: Bearer sk-made-up-for-benches"
        }
    }
}

#[cfg(test)]
mod tests;
