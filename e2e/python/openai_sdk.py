"""PyPI's `openai`, unchanged: Chat Completions and Responses."""

import asyncio
import json

import openai
from cases import BASE_URL, OPENAI_KEY, PATIENCE_SECONDS, Attempts, case, equal, raises, run, unique

MODEL = "gpt-5.2"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT_TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}
RESPONSES_TOOL = {"type": "function", "name": "get_weather", "parameters": CITY}
ASK_WEATHER = 'sim:tool get_weather {"city": "Ghent"}'


def connect(retries=0, attempts=None):
    hooks = {"request": [attempts.hook]} if attempts is not None else {}
    return openai.OpenAI(
        base_url=f"{BASE_URL}/v1",
        api_key=OPENAI_KEY,
        max_retries=retries,
        timeout=PATIENCE_SECONDS,
        http_client=openai.DefaultHttpxClient(event_hooks=hooks),
    )


def chat(prompt, **more):
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return {"model": MODEL, "messages": messages} | more


@case
def a_chat_is_answered_whole():
    answer = connect().chat.completions.create(**chat("sim:say pelican"))
    (choice,) = answer.choices
    equal((choice.message.content, choice.finish_reason), ("pelican", "stop"))
    usage = answer.usage
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0, usage
    equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
    assert answer._request_id, "no x-request-id"


@case
def a_streamed_chat_has_no_usage_unless_it_is_asked_for():
    chunks = list(connect().chat.completions.create(**chat("sim:say the pelican flies", stream=True)))
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks), "the pelican flies")
    equal([chunk.usage for chunk in chunks if chunk.usage], [])
    equal(chunks[-1].choices[0].finish_reason, "stop")


@case
def a_streamed_chat_ends_with_its_usage_where_it_is_asked_for():
    more = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = connect().chat.completions.create(**chat("sim:say the pelican flies", **more))
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks), "the pelican flies")
    equal((last.choices, [chunk.usage for chunk in chunks if chunk.usage]), ([], []))
    assert last.usage.prompt_tokens > 0 and last.usage.completion_tokens > 0, last


@case
def a_chats_tool_is_called_and_its_result_is_answered():
    client = connect()
    first = client.chat.completions.create(**chat(ASK_WEATHER, tools=[CHAT_TOOL])).choices[0]
    equal(first.finish_reason, "tool_calls")
    (call,) = first.message.tool_calls
    equal((call.function.name, json.loads(call.function.arguments)), ("get_weather", {"city": "Ghent"}))
    conversation = [
        {"role": "user", "content": ASK_WEATHER},
        first.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    second = client.chat.completions.create(**chat(conversation, tools=[CHAT_TOOL])).choices[0]
    equal(second.finish_reason, "stop")
    assert second.message.content, second


@case
def a_chats_tool_is_called_in_a_stream():
    chunks = connect().chat.completions.create(**chat(ASK_WEATHER, tools=[CHAT_TOOL], stream=True))
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    equal("".join(call.function.name or "" for call in calls), "get_weather")
    equal(json.loads("".join(call.function.arguments or "" for call in calls)), {"city": "Ghent"})


@case
def a_response_comes_whole():
    response = connect().responses.create(model=MODEL, input="sim:say pelican")
    equal((response.output_text, response.status), ("pelican", "completed"))
    assert response.usage.input_tokens > 0 and response.usage.output_tokens > 0, response.usage


@case
def a_streamed_response_comes_in_events_and_adds_up():
    events = list(connect().responses.create(model=MODEL, input="sim:say the pelican flies", stream=True))
    kinds = [event.type for event in events]
    equal((kinds[0], kinds[-1]), ("response.created", "response.completed"))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    equal("".join(deltas), "the pelican flies")
    equal(events[-1].response.output_text, "the pelican flies")
    assert events[-1].response.usage.output_tokens > 0, events[-1].response.usage


@case
def a_responses_tool_is_called_and_its_result_is_answered():
    client = connect()
    for more in ({}, {"stream": True}):
        first = client.responses.create(model=MODEL, input=ASK_WEATHER, tools=[RESPONSES_TOOL], **more)
        if more:
            first = list(first)[-1].response
        (call,) = [item for item in first.output if item.type == "function_call"]
        equal((call.name, json.loads(call.arguments)), ("get_weather", {"city": "Ghent"}))
        conversation = [
            {"role": "user", "content": ASK_WEATHER},
            {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
            {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
        ]
        second = client.responses.create(model=MODEL, input=conversation, tools=[RESPONSES_TOOL])
        assert second.output_text, second


@case
def each_error_keeps_its_status_and_its_request_id():
    known = {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        403: openai.PermissionDeniedError,
        404: openai.NotFoundError,
        429: openai.RateLimitError,
        500: openai.InternalServerError,
        503: openai.InternalServerError,
    }
    for status, kind in known.items():
        for more in ({}, {"stream": True}):
            prompt = f"sim:fault {status} {unique()}"
            client = connect()
            calls = (
                lambda prompt=prompt, more=more: client.chat.completions.create(**chat(prompt, **more)),
                lambda prompt=prompt, more=more: client.responses.create(model=MODEL, input=prompt, **more),
            )
            for call in calls:
                error = raises(kind, call)
                equal(error.status_code, status)
                assert error.body["message"], error.body
                assert error.request_id, f"{status} without x-request-id"


@case
def a_spending_cap_is_told_by_its_code():
    call = chat(f"sim:fault spend-cap {unique()}")
    error = raises(openai.RateLimitError, lambda: connect().chat.completions.create(**call))
    equal(error.type, "insufficient_quota")
    assert error.code, error.body


@case
def an_overloaded_provider_is_asked_again_until_it_answers():
    for fault in ("503*2", "500*2"):
        attempts = Attempts()
        answer = connect(retries=3, attempts=attempts).chat.completions.create(**chat(f"sim:fault {fault} {unique()}"))
        equal((len(attempts), answer.choices[0].finish_reason), (3, "stop"))


@case
def a_rate_limit_is_waited_for_as_long_as_the_provider_says():
    attempts = Attempts()
    connect(retries=1, attempts=attempts).chat.completions.create(**chat(f"sim:fault 429=2*1 {unique()}"))
    equal(len(attempts), 2)
    assert 2.0 <= attempts.gap() < 4.0, attempts.gap()


@case
def a_wrong_request_is_not_asked_again():
    for status in (400, 401, 403, 404):
        attempts = Attempts()
        client = connect(retries=3, attempts=attempts)
        raises(openai.APIStatusError, lambda: client.chat.completions.create(**chat(f"sim:fault {status} {unique()}")))
        equal((status, len(attempts)), (status, 1))


@case
def a_provider_that_resets_the_connection_is_asked_again():
    answer = connect(retries=2).chat.completions.create(**chat(f"sim:fault reset*1 {unique()}"))
    equal(answer.choices[0].finish_reason, "stop")


@case
def a_stream_that_is_lost_midway_never_looks_whole():
    for fault in ("error-event", "cut-mid-stream", "reset-mid-stream", "close-mid-event"):
        ends = []

        def read(fault=fault, ends=ends):
            for chunk in connect().chat.completions.create(**chat(f"sim:fault {fault} {unique()}", stream=True)):
                ends.extend(choice.finish_reason for choice in chunk.choices if choice.finish_reason)

        try:
            read()
        except Exception as error:  # which one depends on how it was lost
            assert not isinstance(error, AssertionError), error
        equal((fault, ends), (fault, []))


@case
def a_stream_can_be_left_midway_and_the_client_goes_on():
    client = connect()
    for _ in range(5):
        prompt = f"sim:fault stall-mid-stream=3 {unique()}"
        with client.chat.completions.create(**chat(prompt, stream=True)) as stream:
            assert next(iter(stream)).id
        with client.responses.create(model=MODEL, input=prompt, stream=True) as stream:
            equal(next(iter(stream)).type, "response.created")
    equal(client.responses.create(model=MODEL, input="sim:say still here").output_text, "still here")


@case
def models_are_listed_and_looked_up():
    client = connect()
    ids = [model.id for model in client.models.list()]
    assert ids, "no models"
    equal(client.models.retrieve(ids[0]).id, ids[0])


@case
def the_providers_limit_headers_pass():
    raw = connect().chat.completions.with_raw_response.create(**chat("sim:say heron"))
    for name in ("x-request-id", "x-ratelimit-remaining-requests", "x-ratelimit-reset-tokens"):
        assert raw.headers.get(name), f"no {name} in {sorted(raw.headers)}"
    equal(raw.parse().choices[0].message.content, "heron")


@case
def answers_of_calls_side_by_side_are_not_mixed_up():
    async def all_of_them():
        client = openai.AsyncOpenAI(base_url=f"{BASE_URL}/v1", api_key=OPENAI_KEY, max_retries=0, timeout=PATIENCE_SECONDS)

        async def one(number):
            stream = await client.chat.completions.create(**chat(f"sim:say heron number {number}", stream=True))
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        answers = await asyncio.gather(*(one(number) for number in range(50)))
        await client.close()
        return answers

    equal(asyncio.run(all_of_them()), [f"heron number {number}" for number in range(50)])


if __name__ == "__main__":
    run()
