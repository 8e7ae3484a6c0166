"""The Batch API as a way to schedule: every request answered once or failed with its reason, whatever comes back."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from batch_server import BatchServer, answered, honest, questions, refused, unasked
from batched_model import batched, right
from faulty_server import completion

from introspect.backend import FolderJobs, Message, Request, ask, request_key
from introspect.errors import BackendError, ConfigError, FatalBackendError


def test_requests_go_out_in_one_file_and_come_back_as_replies_with_log_probabilities(tmp_path: Path) -> None:
    asked = questions(20)
    with BatchServer() as server:
        model = batched(server, tmp_path)
        replies = ask(model, asked)
        assert right(replies, asked)
        assert all(set(reply.answer_logprobs) == {"A", "B"} for reply in replies)
        assert all(reply.provenance["batch"] == "batch_0" for reply in replies)
        assert replies[0].usage.prompt_tokens == 10
        assert server.created == 1
        assert server.sent == [request_key(model.info, request) for request in asked]  # the custom id is the cache key


def test_equal_requests_are_sent_once(tmp_path: Path) -> None:
    asked = questions(3)
    with BatchServer() as server:
        assert right(ask(batched(server, tmp_path), asked + asked), asked + asked)
        assert len(server.sent) == 3


def test_nothing_is_sent_where_nothing_is_asked(tmp_path: Path) -> None:
    with BatchServer() as server:
        assert ask(batched(server, tmp_path), []) == []
        assert server.calls == []


def test_files_keep_within_the_limits_of_requests_and_bytes(tmp_path: Path) -> None:
    asked = questions(25)
    with BatchServer(polls=3) as server:
        assert right(ask(batched(server, tmp_path / "a", most_requests=10, concurrency=2), asked), asked)
        assert server.created == 3
        assert server.most_under_way <= 2
        assert right(ask(batched(server, tmp_path / "b", most_bytes=2000), asked), asked)
        assert max(map(len, (server.files[b["input_file_id"]] for b in server.batches.values()))) <= 10 * 400
        assert all(len(server.files[f]) <= 2000 for f in list(server.names)[3:])


def test_a_request_that_no_file_can_hold_fails_with_its_size(tmp_path: Path) -> None:
    large = Request(messages=(Message(role="user", content="x" * 5000),))
    with BatchServer() as server:
        few, many = ask(batched(server, tmp_path, most_bytes=2000), [*questions(1), large])
        assert few.status == "completed"
        assert (many.status, len(server.sent)) == ("failed", 1)
        assert "a batch takes 2,000" in many.reason


def test_answers_may_come_in_any_order_twice_and_with_strangers_between(tmp_path: Path) -> None:
    def results(server, lines):
        rows = [answered(line) for line in lines]
        twice = [
            {**row, "response": {**row["response"], "body": completion({"model": "m", "messages": []})}} for row in rows
        ]
        rng = random.Random(1)
        rng.shuffle(rows)
        return (
            [*rows, *twice[:5], {"custom_id": "never-asked", "response": None, "error": None}, b"", b"{broken"],
            [],
            "completed",
        )

    asked = questions(30)
    with BatchServer(results) as server:
        model = batched(server, tmp_path)
        assert right(ask(model, asked), asked)  # the first answer counts
        counts = model.counts
        assert (counts.duplicates, counts.strangers, counts.malformed, counts.missing) == (5, 1, 1, 0)
        assert len(server.sent) == 30


def test_lines_that_are_missing_are_sent_again_and_then_failed_with_their_reason(tmp_path: Path) -> None:
    asked = questions(10)
    lost = {4, 7}

    def results(server, lines):
        if server.created < 3 or "Number 4" not in json.dumps(lines):
            lines = [line for line in lines if not any(f"Number {i}:" in json.dumps(line) for i in lost)]
        return [answered(line) for line in lines], [], "completed"

    with BatchServer(results) as server:
        model = batched(server, tmp_path / "a")
        assert right(ask(model, asked), asked)
        assert (server.created, model.counts.missing) == (3, 4)
    with BatchServer(lambda server, lines: ([answered(line) for line in lines[:-1]], [], "completed")) as server:
        replies = ask(batched(server, tmp_path / "b", rounds=2), asked)
        assert right(replies[:9], asked[:9])
        assert replies[9].status == "failed"
        assert "without a line for this request" in replies[9].reason
        assert len(server.sent) == 11


@pytest.mark.parametrize("status", ["expired", "cancelled", "completed"])
def test_what_a_batch_had_answered_before_it_ended_is_taken_and_only_the_rest_is_sent_again(tmp_path, status) -> None:
    def results(server, lines):
        if server.created > 1:
            return honest(server, lines)
        half = len(lines) // 2
        code = "batch_cancelled" if status == "cancelled" else "batch_expired"
        return [answered(line) for line in lines[:half]], [unasked(line, code) for line in lines[half:]], status

    asked = questions(20)
    with BatchServer(results) as server:
        assert right(ask(batched(server, tmp_path), asked), asked)
        assert len(server.sent) == 30


def test_a_request_that_the_service_refuses_fails_at_once_and_keeps_its_reason(tmp_path: Path) -> None:
    def results(server, lines):
        return (
            [answered(line) for line in lines[1:]],
            [refused(lines[0], 400, "invalid_value", "too long")],
            "completed",
        )

    asked = questions(3)
    with BatchServer(results) as server:
        replies = ask(batched(server, tmp_path), asked)
        assert [reply.status for reply in replies] == ["failed", "completed", "completed"]
        assert replies[0].reason == "400: too long"
        assert server.created == 1


def test_requests_that_were_rate_limited_inside_a_batch_are_sent_again(tmp_path: Path) -> None:
    def results(server, lines):
        if server.created > 1:
            return honest(server, lines)
        return [answered(lines[0])], [refused(line, 429, "rate_limit_exceeded") for line in lines[1:]], "completed"

    asked = questions(5)
    with BatchServer(results) as server:
        assert right(ask(batched(server, tmp_path), asked), asked)
        assert len(server.sent) == 9


def test_out_of_credit_stops_after_what_was_answered_is_delivered(tmp_path: Path) -> None:
    def results(server, lines):
        return (
            [answered(lines[0])],
            [refused(line, 429, "insufficient_quota", "pay") for line in lines[1:]],
            "completed",
        )

    seen: list[int] = []
    with BatchServer(results) as server:
        with pytest.raises(FatalBackendError, match=r"out of credit.*pay"):
            ask(batched(server, tmp_path), questions(3), on_reply=lambda index, reply: seen.append(index))
        assert (seen, server.created) == ([0], 1)


def test_a_batch_that_is_refused_as_a_whole_says_why(tmp_path: Path) -> None:
    with BatchServer(refuse=lambda server, lines: ("invalid_endpoint", "not for this model")) as server:
        replies = ask(batched(server, tmp_path), questions(2))
        assert [reply.reason for reply in replies] == [
            "the batch was refused (invalid_endpoint): not for this model"
        ] * 2
    with (
        BatchServer(refuse=lambda server, lines: ("model_not_found", "no such model")) as server,
        pytest.raises(FatalBackendError, match="knows no model 'm': no such model"),
    ):
        ask(batched(server, tmp_path / "b"), questions(2))


def test_a_queue_without_room_is_waited_for_and_a_batch_that_never_fits_is_cut(tmp_path: Path) -> None:
    def no_room(server: BatchServer, lines) -> tuple[str, str] | None:
        full = server.under_way > 0 or len(lines) > 3
        return ("token_limit_exceeded", "Enqueued token limit reached") if full else None

    asked = questions(12)
    with BatchServer(polls=2, refuse=no_room) as server:
        assert right(ask(batched(server, tmp_path, most_requests=6), asked), asked)
        assert sorted(server.sent) == sorted(set(server.sent))
        assert server.most_under_way == 1


def test_one_request_that_has_no_room_at_all_fails(tmp_path: Path) -> None:
    with BatchServer(refuse=lambda server, lines: ("token_limit_exceeded", "limit 0")) as server:
        replies = ask(batched(server, tmp_path), questions(2))
        assert {reply.status for reply in replies} == {"failed"}
        assert "token_limit_exceeded" in replies[0].reason


def test_a_batch_that_does_not_end_in_time_is_cancelled_and_harvested(tmp_path: Path) -> None:
    def slow(server, lines):
        return (
            [answered(line) for line in lines[:1]],
            [unasked(line, "batch_cancelled") for line in lines[1:]],
            "completed",
        )

    class Slow(BatchServer):
        def _look(self, name):
            if self.batches[name]["status"] == "in_progress":
                return self.batches[name]  # never by itself
            return super()._look(name)

    with Slow(slow) as server:
        replies = ask(batched(server, tmp_path, deadline=1.0, rounds=1), questions(3))
        assert [reply.status for reply in replies] == ["completed", "failed", "failed"]
        assert ("POST", "/batches/batch_0/cancel") in server.calls


def test_wobbly_calls_are_tried_again_and_none_sends_a_batch_twice(tmp_path: Path) -> None:
    rng = random.Random(3)
    wrong = [(500, {}, {}), (503, {"retry-after": "0.01"}, {}), (429, {"retry-after-ms": "5"}, {}), "reset", "lost"]

    def fault(method: str, path: str):
        return rng.choice(wrong) if rng.random() < 0.3 else None

    asked = questions(40)
    with BatchServer(fault=fault, polls=2) as server:
        model = batched(server, tmp_path, most_requests=10, patience=120.0)
        model._service._first_wait = 0.01
        assert right(ask(model, asked), asked)
        assert sorted(server.sent) == sorted(request_key(model.info, request) for request in asked)


def test_a_server_that_is_gone_is_one_sentence_and_the_next_run_takes_what_it_answered(tmp_path: Path) -> None:
    asked, gone = questions(5), [False]

    def fault(method: str, path: str):
        gone[0] = gone[0] or (method, path) == ("GET", "/batches/batch_0")
        return (503, {}, {"error": {"message": "down"}}) if gone[0] else None

    with BatchServer(fault=fault) as server:
        with pytest.raises(BackendError, match="503: down"):
            ask(batched(server, tmp_path, patience=0.2), asked)
        server.fault = None
        model = batched(server, tmp_path)
        assert right(ask(model, asked), asked)
        assert len(server.sent) == 5
        assert model.counts.adopted == 1


@pytest.mark.parametrize(
    ("status", "error", "match"),
    [
        (401, FatalBackendError, "does not accept the key"),
        (403, FatalBackendError, "does not permit"),
        (404, FatalBackendError, "without a Batch API"),
    ],
)
def test_errors_that_doom_all_calls_are_raised_at_once_and_show_no_key(tmp_path, status, error, match) -> None:
    said = {"error": {"message": "key sk-planted-0123456789 is bad", "code": "x"}}
    with (
        BatchServer(fault=lambda method, path: (status, {}, said)) as server,
        pytest.raises(error, match=match) as caught,
    ):
        ask(batched(server, tmp_path), questions(2))
    assert "planted" not in str(caught.value)
    assert "planted" not in (tmp_path / "job.json").read_text()
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    "option", [{"rounds": 0}, {"poll": (0.0, 1.0)}, {"most_requests": 0}, {"deadline": -1}], ids=str
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, option: dict) -> None:
    with BatchServer() as server, pytest.raises(ConfigError):
        batched(server, tmp_path, **option)


def test_a_ledger_of_another_version_is_refused(tmp_path: Path) -> None:
    FolderJobs(tmp_path).record({"batches": [{"id": "batch_0"}]})
    with BatchServer() as server, pytest.raises(BackendError, match="another version"):
        batched(server, tmp_path)
