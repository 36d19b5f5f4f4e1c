// npm's `openai`, unchanged: Chat Completions and Responses.

import assert from "node:assert/strict";

import OpenAI from "openai";

import { Attempts, BASE_URL, OPENAI_KEY, PATIENCE_MS, collect, it, rejects, runAll, unique } from "./cases.mjs";

const MODEL = "gpt-5.2";
const CITY = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const CHAT_TOOL = { type: "function", function: { name: "get_weather", parameters: CITY } };
const RESPONSES_TOOL = { type: "function", name: "get_weather", parameters: CITY };
const ASK_WEATHER = 'sim:tool get_weather {"city": "Ghent"}';

function connect({ retries = 0, attempts } = {}) {
  return new OpenAI({
    baseURL: `${BASE_URL}/v1`,
    apiKey: OPENAI_KEY,
    maxRetries: retries,
    timeout: PATIENCE_MS,
    fetch: attempts?.fetch ?? fetch,
  });
}

const chat = (prompt, more = {}) => ({
  model: MODEL,
  messages: typeof prompt === "string" ? [{ role: "user", content: prompt }] : prompt,
  ...more,
});

const said = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");

it("a chat is answered whole", async () => {
  const answer = await connect().chat.completions.create(chat("sim:say pelican"));
  const [choice] = answer.choices;
  assert.deepEqual([choice.message.content, choice.finish_reason], ["pelican", "stop"]);
  assert.ok(answer.usage.prompt_tokens > 0 && answer.usage.completion_tokens > 0);
  assert.ok(answer._request_id, "no x-request-id");
});

it("a streamed chat has no usage unless it is asked for", async () => {
  const chunks = await collect(connect().chat.completions.create(chat("sim:say the pelican flies", { stream: true })));
  assert.equal(said(chunks), "the pelican flies");
  assert.deepEqual(chunks.filter((chunk) => chunk.usage), []);
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
});

it("a streamed chat ends with its usage where it is asked for", async () => {
  const more = { stream: true, stream_options: { include_usage: true } };
  const chunks = await collect(connect().chat.completions.create(chat("sim:say the pelican flies", more)));
  const last = chunks.pop();
  assert.equal(said(chunks), "the pelican flies");
  assert.deepEqual([last.choices, chunks.filter((chunk) => chunk.usage)], [[], []]);
  assert.ok(last.usage.prompt_tokens > 0 && last.usage.completion_tokens > 0);
});

it("a chat's tool is called, streamed or not, and its result is answered", async () => {
  const client = connect();
  const first = (await client.chat.completions.create(chat(ASK_WEATHER, { tools: [CHAT_TOOL] }))).choices[0];
  assert.equal(first.finish_reason, "tool_calls");
  const [call] = first.message.tool_calls;
  assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ["get_weather", { city: "Ghent" }]);
  const result = { role: "tool", tool_call_id: call.id, content: "rain" };
  const conversation = [{ role: "user", content: ASK_WEATHER }, first.message, result];
  const second = (await client.chat.completions.create(chat(conversation, { tools: [CHAT_TOOL] }))).choices[0];
  assert.equal(second.finish_reason, "stop");

  const streamed = client.chat.completions.stream(chat(ASK_WEATHER, { tools: [CHAT_TOOL] }));
  const [again] = (await streamed.finalMessage()).tool_calls;
  assert.deepEqual([again.function.name, JSON.parse(again.function.arguments)], ["get_weather", { city: "Ghent" }]);
});

it("a response comes whole", async () => {
  const response = await connect().responses.create({ model: MODEL, input: "sim:say pelican" });
  assert.deepEqual([response.output_text, response.status], ["pelican", "completed"]);
  assert.ok(response.usage.input_tokens > 0 && response.usage.output_tokens > 0);
});

it("a streamed response comes in events and adds up", async () => {
  const call = { model: MODEL, input: "sim:say the pelican flies", stream: true };
  const events = await collect(connect().responses.create(call));
  assert.deepEqual([events.at(0).type, events.at(-1).type], ["response.created", "response.completed"]);
  const deltas = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta);
  assert.equal(deltas.join(""), "the pelican flies");
  assert.ok(events.at(-1).response.usage.output_tokens > 0);
});

it("a response's tool is called and its result is answered", async () => {
  const client = connect();
  const tools = [RESPONSES_TOOL];
  const first = await client.responses.create({ model: MODEL, input: ASK_WEATHER, tools });
  const call = first.output.find((item) => item.type === "function_call");
  assert.deepEqual([call.name, JSON.parse(call.arguments)], ["get_weather", { city: "Ghent" }]);
  const result = { type: "function_call_output", call_id: call.call_id, output: "rain" };
  const input = [{ role: "user", content: ASK_WEATHER }, ...first.output, result];
  assert.ok((await client.responses.create({ model: MODEL, input, tools })).output_text);
});

it("each error keeps its status and its request id", async () => {
  const known = {
    400: OpenAI.BadRequestError,
    401: OpenAI.AuthenticationError,
    403: OpenAI.PermissionDeniedError,
    404: OpenAI.NotFoundError,
    429: OpenAI.RateLimitError,
    500: OpenAI.InternalServerError,
    503: OpenAI.InternalServerError,
  };
  for (const [status, kind] of Object.entries(known)) {
    for (const stream of [false, true]) {
      const prompt = `sim:fault ${status} ${unique()}`;
      const calls = [
        () => connect().chat.completions.create(chat(prompt, { stream })),
        () => connect().responses.create({ model: MODEL, input: prompt, stream }),
      ];
      for (const call of calls) {
        const error = await rejects(kind, call);
        assert.equal(error.status, Number(status));
        assert.ok(error.error.message && error.requestID, `${status}: ${JSON.stringify(error.error)}`);
      }
    }
  }
});

it("an overloaded provider is asked again until it answers", async () => {
  for (const fault of ["503*2", "500*2"]) {
    const attempts = new Attempts();
    const client = connect({ retries: 3, attempts });
    const answer = await client.chat.completions.create(chat(`sim:fault ${fault} ${unique()}`));
    assert.deepEqual([attempts.times.length, answer.choices[0].finish_reason], [3, "stop"]);
  }
});

it("a rate limit is waited for as long as the provider says", async () => {
  const attempts = new Attempts();
  await connect({ retries: 1, attempts }).chat.completions.create(chat(`sim:fault 429=2*1 ${unique()}`));
  assert.equal(attempts.times.length, 2);
  // A timer of Node.js may fire a millisecond early.
  assert.ok(attempts.gap >= 1_995 && attempts.gap < 4_000, `${attempts.gap} ms`);
});

it("a wrong request is not asked again", async () => {
  for (const status of [400, 401, 403, 404]) {
    const attempts = new Attempts();
    const client = connect({ retries: 3, attempts });
    await rejects(OpenAI.APIError, () => client.chat.completions.create(chat(`sim:fault ${status} ${unique()}`)));
    assert.deepEqual([status, attempts.times.length], [status, 1]);
  }
});

it("a stream that is lost midway never looks whole", async () => {
  for (const fault of ["error-event", "cut-mid-stream", "reset-mid-stream", "close-mid-event"]) {
    const ends = [];
    try {
      const stream = await connect().chat.completions.create(chat(`sim:fault ${fault} ${unique()}`, { stream: true }));
      for await (const chunk of stream) ends.push(...chunk.choices.map((choice) => choice.finish_reason));
    } catch (error) {
      assert.ok(!(error instanceof assert.AssertionError), error); // which one depends on how it was lost
    }
    assert.deepEqual([fault, ends.filter(Boolean)], [fault, []]);
  }
});

it("a stream can be left midway and the client goes on", async () => {
  const client = connect();
  for (let round = 0; round < 5; round += 1) {
    const prompt = `sim:fault stall-mid-stream=3 ${unique()}`;
    for await (const chunk of await client.chat.completions.create(chat(prompt, { stream: true }))) {
      assert.ok(chunk.id);
      break;
    }
    const controller = new AbortController();
    const call = { model: MODEL, input: prompt, stream: true };
    const stream = await client.responses.create(call, { signal: controller.signal });
    for await (const event of stream) {
      assert.ok(event.type);
      controller.abort();
    }
  }
  assert.equal((await client.responses.create({ model: MODEL, input: "sim:say still here" })).output_text, "still here");
});

it("models are listed and looked up", async () => {
  const client = connect();
  const ids = (await collect(client.models.list())).map((model) => model.id);
  assert.ok(ids.length > 0, "no models");
  assert.equal((await client.models.retrieve(ids[0])).id, ids[0]);
});

it("the provider's limit headers pass", async () => {
  const { response, data } = await connect().chat.completions.create(chat("sim:say heron")).withResponse();
  for (const name of ["x-request-id", "x-ratelimit-remaining-requests", "x-ratelimit-reset-tokens"])
    assert.ok(response.headers.get(name), `no ${name}`);
  assert.equal(data.choices[0].message.content, "heron");
});

it("answers of calls side by side are not mixed up", async () => {
  const client = connect();
  const numbers = Array.from({ length: 50 }, (_, number) => number);
  const one = async (number) =>
    said(await collect(client.chat.completions.create(chat(`sim:say heron number ${number}`, { stream: true }))));
  assert.deepEqual(await Promise.all(numbers.map(one)), numbers.map((number) => `heron number ${number}`));
});

await runAll();
