"""PyPI's `anthropic`, unchanged."""

import asyncio

import anthropic
from cases import ANTHROPIC_KEY, BASE_URL, PATIENCE_SECONDS, Attempts, case, equal, raises, run, unique

MODEL = "claude-opus-5-5"
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASK_WEATHER = 'sim:tool get_weather {"city": "Ghent"}'


def connect(retries=0, attempts=None, key=ANTHROPIC_KEY):
    hooks = {"request": [attempts.hook]} if attempts is not None else {}
    return anthropic.Anthropic(
        base_url=BASE_URL,
        api_key=key,
        max_retries=retries,
        timeout=PATIENCE_SECONDS,
        http_client=anthropic.DefaultHttpxClient(event_hooks=hooks),
    )


def ask(prompt, **more):
    """The arguments of a call; `prompt` is a text or whole messages."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return {"model": MODEL, "max_tokens": 1024, "messages": messages} | more


def text(message):
    return "".join(block.text for block in message.content if block.type == "text")


@case
def an_answer_comes_whole():
    message = connect().messages.create(**ask("sim:say pelican"))
    equal(text(message), "pelican")
    equal((message.role, message.model, message.stop_reason), ("assistant", MODEL, "end_turn"))
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0, message.usage
    assert message._request_id, "no request-id"


@case
def a_streamed_answer_comes_in_events_and_adds_up():
    with connect().messages.stream(**ask("sim:say the pelican flies over the harbour")) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_message()
    equal(text(message), "the pelican flies over the harbour")
    equal((kinds[0], kinds[-1]), ("message_start", "message_stop"))
    assert "content_block_delta" in kinds, kinds
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0, message.usage


@case
def the_raw_events_of_a_stream_come_in_their_order():
    events = [event.type for event in connect().messages.create(**ask("sim:say heron", stream=True))]
    known = [it for it in events if it != "ping"]
    equal(known[:2], ["message_start", "content_block_start"])
    equal(known[-3:], ["content_block_stop", "message_delta", "message_stop"])


@case
def a_tool_is_called_and_its_result_is_answered():
    client = connect()
    first = client.messages.create(**ask(ASK_WEATHER, tools=[WEATHER]))
    equal(first.stop_reason, "tool_use")
    (call,) = [block for block in first.content if block.type == "tool_use"]
    equal((call.name, call.input), ("get_weather", {"city": "Ghent"}))
    second = client.messages.create(**ask(after(first, call), tools=[WEATHER]))
    equal(second.stop_reason, "end_turn")
    assert text(second), second


@case
def a_tool_is_called_in_a_stream():
    with connect().messages.stream(**ask(ASK_WEATHER, tools=[WEATHER])) as stream:
        message = stream.get_final_message()
    equal(message.stop_reason, "tool_use")
    (call,) = [block for block in message.content if block.type == "tool_use"]
    equal((call.name, call.input), ("get_weather", {"city": "Ghent"}))


def after(message, call):
    """The conversation up to the tool's result."""
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
    return [
        {"role": "user", "content": ASK_WEATHER},
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in message.content]},
        {"role": "user", "content": [result]},
    ]


@case
def each_error_keeps_its_status_its_type_and_its_request_id():
    known = {
        400: (anthropic.BadRequestError, "invalid_request_error"),
        401: (anthropic.AuthenticationError, "authentication_error"),
        403: (anthropic.PermissionDeniedError, "permission_error"),
        404: (anthropic.NotFoundError, "not_found_error"),
        413: (anthropic.APIStatusError, "request_too_large"),
        429: (anthropic.RateLimitError, "rate_limit_error"),
        500: (anthropic.InternalServerError, "api_error"),
        529: (anthropic.InternalServerError, "overloaded_error"),
    }
    for status, (kind, word) in known.items():
        for more in ({}, {"stream": True}):
            prompt = ask(f"sim:fault {status} {unique()}", **more)
            error = raises(kind, lambda call=prompt: connect().messages.create(**call))
            equal((error.status_code, error.body["error"]["type"]), (status, word))
            assert error.request_id, f"{status} without request-id"


@case
def a_fault_asked_for_in_a_header_arrives():
    headers = {"x-sim-fault": "529"}
    error = raises(
        anthropic.InternalServerError,
        lambda: connect().messages.create(**ask("hello"), extra_headers=headers),
    )
    equal(error.status_code, 529)


@case
def an_overloaded_provider_is_asked_again_until_it_answers():
    for fault in ("529*2", "500*2"):
        attempts = Attempts()
        client = connect(retries=3, attempts=attempts)
        message = client.messages.create(**ask(f"sim:fault {fault} {unique()}"))
        equal(len(attempts), 3)
        equal(message.stop_reason, "end_turn")


@case
def a_rate_limit_is_waited_for_as_long_as_the_provider_says():
    attempts = Attempts()
    client = connect(retries=1, attempts=attempts)
    client.messages.create(**ask(f"sim:fault 429=2*1 {unique()}"))
    equal(len(attempts), 2)
    assert 2.0 <= attempts.gap() < 4.0, attempts.gap()


@case
def a_wrong_request_is_not_asked_again():
    for status in (400, 401, 403, 404):
        attempts = Attempts()
        client = connect(retries=3, attempts=attempts)
        raises(anthropic.APIStatusError, lambda: client.messages.create(**ask(f"sim:fault {status} {unique()}")))
        equal((status, len(attempts)), (status, 1))


@case
def a_provider_that_resets_the_connection_is_asked_again():
    client = connect(retries=2)
    message = client.messages.create(**ask(f"sim:fault reset*1 {unique()}"))
    equal(message.stop_reason, "end_turn")


@case
def a_stream_that_is_lost_midway_never_looks_whole():
    # After which the answer is incomplete, however the loss is told.
    for fault in ("error-event", "cut-mid-stream", "reset-mid-stream", "close-mid-event"):
        kinds = []

        def read(fault=fault, kinds=kinds):
            call = ask(f"sim:fault {fault} {unique()}", stream=True)
            kinds.extend(event.type for event in connect().messages.create(**call))

        try:
            read()
        except Exception as error:  # which one depends on how it was lost
            assert not isinstance(error, AssertionError), error
        assert "message_stop" not in kinds, (fault, kinds)


@case
def an_error_event_in_a_stream_is_an_error_of_the_sdk():
    call = ask(f"sim:fault error-event {unique()}", stream=True)
    error = raises(anthropic.APIStatusError, lambda: list(connect().messages.create(**call)))
    assert error.body["error"]["type"], error.body


@case
def a_stream_can_be_left_midway_and_the_client_goes_on():
    client = connect()
    for _ in range(5):
        with client.messages.create(**ask(f"sim:fault stall-mid-stream=3 {unique()}", stream=True)) as stream:
            equal(next(iter(stream)).type, "message_start")
    equal(text(client.messages.create(**ask("sim:say still here"))), "still here")


@case
def a_stream_that_stalls_ends_at_the_clients_own_time_limit():
    call = ask(f"sim:fault stall-mid-stream=2 {unique()}", stream=True, timeout=1.0)
    # The SDK passes the transport's time-out on as it is once a stream is open.
    error = raises(Exception, lambda: list(connect().messages.create(**call)))
    assert "imed out" in str(error) or "imeout" in type(error).__name__, repr(error)


@case
def tokens_are_counted_before_a_call():
    counted = connect().messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "hello " * 100}])
    assert counted.input_tokens > 50, counted


@case
def models_are_listed_and_looked_up():
    client = connect()
    page = client.models.list(limit=1000)
    ids = [model.id for model in page.data]
    assert MODEL in ids, ids
    equal(client.models.retrieve(MODEL).id, MODEL)


@case
def the_providers_limit_headers_pass():
    raw = connect().messages.with_raw_response.create(**ask("sim:say heron"))
    for name in ("request-id", "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-input-tokens-limit"):
        assert raw.headers.get(name), f"no {name} in {sorted(raw.headers)}"
    equal(text(raw.parse()), "heron")


@case
def a_prefix_that_was_cached_is_read_again():
    client = connect()
    long = f"{unique()} " + "the tide tables of the harbour of Ostend, day by day. " * 400
    system = [{"type": "text", "text": long, "cache_control": {"type": "ephemeral"}}]
    first = client.messages.create(**ask("sim:say one", system=system)).usage
    second = client.messages.create(**ask("sim:say two", system=system)).usage
    assert first.cache_creation_input_tokens > 1024, first
    equal(second.cache_read_input_tokens, first.cache_creation_input_tokens)


@case
def a_large_body_passes():
    message = connect().messages.create(**ask("x" * 2_000_000 + "\nsim:say got it"))
    equal(text(message), "got it")
    assert message.usage.input_tokens > 100_000, message.usage


@case
def answers_of_calls_side_by_side_are_not_mixed_up():
    async def all_of_them():
        client = anthropic.AsyncAnthropic(base_url=BASE_URL, api_key=ANTHROPIC_KEY, max_retries=0, timeout=PATIENCE_SECONDS)

        async def one(number):
            async with client.messages.stream(**ask(f"sim:say heron number {number}")) as stream:
                return text(await stream.get_final_message())

        answers = await asyncio.gather(*(one(number) for number in range(50)))
        await client.close()
        return answers

    equal(asyncio.run(all_of_them()), [f"heron number {number}" for number in range(50)])


if __name__ == "__main__":
    run()
