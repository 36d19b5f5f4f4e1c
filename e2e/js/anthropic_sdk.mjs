// npm's `@anthropic-ai/sdk`, unchanged.

import assert from "node:assert/strict";

import Anthropic from "@anthropic-ai/sdk";

import { ANTHROPIC_KEY, Attempts, BASE_URL, PATIENCE_MS, collect, it, rejects, runAll, unique } from "./cases.mjs";

const MODEL = "claude-opus-5-5";
const WEATHER = {
  name: "get_weather",
  description: "The weather of a city",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const ASK_WEATHER = 'sim:tool get_weather {"city": "Ghent"}';

function connect({ retries = 0, attempts } = {}) {
  return new Anthropic({
    baseURL: BASE_URL,
    apiKey: ANTHROPIC_KEY,
    maxRetries: retries,
    timeout: PATIENCE_MS,
    fetch: attempts?.fetch ?? fetch,
  });
}

const ask = (prompt, more = {}) => ({
  model: MODEL,
  max_tokens: 1024,
  messages: typeof prompt === "string" ? [{ role: "user", content: prompt }] : prompt,
  ...more,
});

const text = (message) => message.content.map((block) => (block.type === "text" ? block.text : "")).join("");

it("an answer comes whole", async () => {
  const message = await connect().messages.create(ask("sim:say pelican"));
  assert.equal(text(message), "pelican");
  assert.deepEqual([message.role, message.model, message.stop_reason], ["assistant", MODEL, "end_turn"]);
  assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
  assert.ok(message._request_id, "no request-id");
});

it("a streamed answer comes in events and adds up", async () => {
  const stream = connect().messages.stream(ask("sim:say the pelican flies over the harbour"));
  const kinds = (await collect(stream)).map((event) => event.type);
  assert.equal(text(await stream.finalMessage()), "the pelican flies over the harbour");
  assert.deepEqual([kinds.at(0), kinds.at(-1)], ["message_start", "message_stop"]);
  assert.ok(kinds.includes("content_block_delta"));
});

it("a tool is called, streamed or not, and its result is answered", async () => {
  const client = connect();
  for (const streamed of [false, true]) {
    const call = ask(ASK_WEATHER, { tools: [WEATHER] });
    const first = streamed ? await client.messages.stream(call).finalMessage() : await client.messages.create(call);
    assert.equal(first.stop_reason, "tool_use");
    const use = first.content.find((block) => block.type === "tool_use");
    assert.deepEqual([use.name, use.input], ["get_weather", { city: "Ghent" }]);
    const result = { type: "tool_result", tool_use_id: use.id, content: "rain" };
    const conversation = [
      { role: "user", content: ASK_WEATHER },
      { role: "assistant", content: first.content },
      { role: "user", content: [result] },
    ];
    const second = await client.messages.create(ask(conversation, { tools: [WEATHER] }));
    assert.equal(second.stop_reason, "end_turn");
    assert.ok(text(second));
  }
});

it("each error keeps its status, its type and its request id", async () => {
  const known = {
    400: [Anthropic.BadRequestError, "invalid_request_error"],
    401: [Anthropic.AuthenticationError, "authentication_error"],
    403: [Anthropic.PermissionDeniedError, "permission_error"],
    404: [Anthropic.NotFoundError, "not_found_error"],
    429: [Anthropic.RateLimitError, "rate_limit_error"],
    500: [Anthropic.InternalServerError, "api_error"],
    529: [Anthropic.InternalServerError, "overloaded_error"],
  };
  for (const [status, [kind, word]] of Object.entries(known)) {
    for (const stream of [false, true]) {
      const call = ask(`sim:fault ${status} ${unique()}`, { stream });
      const error = await rejects(kind, () => connect().messages.create(call));
      assert.deepEqual([error.status, error.error.error.type], [Number(status), word]);
      assert.ok(error.requestID, `${status} without request-id`);
    }
  }
});

it("an overloaded provider is asked again until it answers", async () => {
  for (const fault of ["529*2", "500*2"]) {
    const attempts = new Attempts();
    const message = await connect({ retries: 3, attempts }).messages.create(ask(`sim:fault ${fault} ${unique()}`));
    assert.deepEqual([attempts.times.length, message.stop_reason], [3, "end_turn"]);
  }
});

it("a rate limit is waited for as long as the provider says", async () => {
  const attempts = new Attempts();
  await connect({ retries: 1, attempts }).messages.create(ask(`sim:fault 429=2*1 ${unique()}`));
  assert.equal(attempts.times.length, 2);
  // A timer of Node.js may fire a millisecond early.
  assert.ok(attempts.gap >= 1_995 && attempts.gap < 4_000, `${attempts.gap} ms`);
});

it("a wrong request is not asked again", async () => {
  for (const status of [400, 401, 403, 404]) {
    const attempts = new Attempts();
    const client = connect({ retries: 3, attempts });
    await rejects(Anthropic.APIError, () => client.messages.create(ask(`sim:fault ${status} ${unique()}`)));
    assert.deepEqual([status, attempts.times.length], [status, 1]);
  }
});

it("a provider that resets the connection is asked again", async () => {
  const message = await connect({ retries: 2 }).messages.create(ask(`sim:fault reset*1 ${unique()}`));
  assert.equal(message.stop_reason, "end_turn");
});

it("a stream that is lost midway is an error", async () => {
  for (const fault of ["error-event", "cut-mid-stream", "reset-mid-stream"]) {
    const kinds = [];
    await rejects(Error, async () => {
      const stream = await connect().messages.create(ask(`sim:fault ${fault} ${unique()}`, { stream: true }));
      for await (const event of stream) kinds.push(event.type);
    });
    assert.ok(!kinds.includes("message_stop"), `${fault}: ${kinds}`);
  }
});

it("a stream can be left midway and the client goes on", async () => {
  const client = connect();
  for (let round = 0; round < 5; round += 1) {
    const stream = await client.messages.create(ask(`sim:fault stall-mid-stream=3 ${unique()}`, { stream: true }));
    for await (const event of stream) {
      assert.equal(event.type, "message_start");
      break;
    }
    const aborted = client.messages.stream(ask(`sim:fault stall-mid-stream=3 ${unique()}`));
    aborted.on("streamEvent", () => aborted.abort());
    await rejects(Anthropic.APIUserAbortError, () => aborted.finalMessage());
  }
  assert.equal(text(await client.messages.create(ask("sim:say still here"))), "still here");
});

it("tokens are counted before a call", async () => {
  const messages = [{ role: "user", content: "hello ".repeat(100) }];
  const counted = await connect().messages.countTokens({ model: MODEL, messages });
  assert.ok(counted.input_tokens > 50, JSON.stringify(counted));
});

it("models are listed and looked up", async () => {
  const client = connect();
  const ids = (await client.models.list({ limit: 1000 })).data.map((model) => model.id);
  assert.ok(ids.includes(MODEL), ids.join(" "));
  assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
});

it("the provider's limit headers pass", async () => {
  const { response, data } = await connect().messages.create(ask("sim:say heron")).withResponse();
  for (const name of ["request-id", "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-input-tokens-limit"])
    assert.ok(response.headers.get(name), `no ${name}`);
  assert.equal(text(data), "heron");
});

it("answers of calls side by side are not mixed up", async () => {
  const client = connect();
  const numbers = Array.from({ length: 50 }, (_, number) => number);
  const one = async (number) => text(await client.messages.stream(ask(`sim:say heron number ${number}`)).finalMessage());
  const answers = await Promise.all(numbers.map(one));
  assert.deepEqual(answers, numbers.map((number) => `heron number ${number}`));
});

await runAll();
