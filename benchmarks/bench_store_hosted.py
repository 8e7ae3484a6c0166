"""What a hosted study asks of the store: many calls at once, each reply committed soon, and all of them read again.

Run: python benchmarks/bench_store_hosted.py [--calls 5000] [--concurrency 64] [--cached 100000] [--folder DIR]

The model answers after a wait of its own, so that replies arrive as they would from a server: a few at a time. The
first table compares a commit per reply with commits in groups, for both kinds of durability. A reply's wait is the
time from its arrival to its delivery, which comes after its commit; 50 ms are allowed. The second figure is the time
in which a finished study of that many calls finds its replies again; 5 s are allowed for 100,000.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from introspect.backend import Cached, FunctionBackend, Message, Reply, Request, ask
from introspect.store import Durability, Store
from introspect.training import StoredReplies

REPLY = Reply(status="completed", text="A", answer_logprobs={"A": -0.25, "B": -1.5}, mass_outside=1e-3)


class OneByOne:
    """A commit per reply: the same store without its `put_many`."""

    def __init__(self, replies: StoredReplies) -> None:
        self.get, self.get_many, self.put = replies.get, replies.get_many, replies.put


def main() -> None:
    """Print calls a second, waits and the time of reading again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--cached", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where to write (the disk that is measured)")
    options = parser.parse_args()

    print(f"{options.calls:,} calls, {options.concurrency} at once, 5 to 15 ms each")
    print(f"{'':<24}{'calls/s':>9}{'commits':>9}   wait to delivery, ms: median / 99 % / most")
    for durability in ("kill", "full"):
        for grouped in (False, True):
            line(durability, grouped, options)
    reread(options)


def line(durability: Durability, grouped: bool, options: argparse.Namespace) -> None:
    """One way of keeping replies."""
    arrived: dict[int, float] = {}
    rng = np.random.default_rng(1)
    waits_of_model = rng.uniform(0.005, 0.015, options.calls).tolist()

    async def answer(request: Request) -> Reply:
        number = int(request.messages[0].content.partition(" ")[0])
        await asyncio.sleep(waits_of_model[number])
        arrived[number] = time.perf_counter()
        return REPLY

    model = FunctionBackend(answer, name="answers-soon", version="1", concurrency=options.concurrency)
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
        Store.open(f"{folder}/study.db", durability=durability) as store,
    ):
        commits, rows = 0, store._db.rows

        def counting(sql: str, values: Iterable[object] = ()) -> list[tuple[object, ...]]:
            nonlocal commits
            commits += sql.startswith("INSERT INTO replies")
            return rows(sql, values)  # type: ignore[arg-type]

        store._db.rows = counting  # type: ignore[method-assign, assignment]
        replies = StoredReplies(store)
        waits: list[float] = []
        began = time.perf_counter()
        ask(
            Cached(model, replies if grouped else OneByOne(replies)),
            [question(number) for number in range(options.calls)],
            on_reply=lambda index, _: waits.append(time.perf_counter() - arrived[index]),
        )
        seconds = time.perf_counter() - began
        assert store.n_replies() == options.calls
    median, late, most = (1000 * float(np.quantile(waits, q)) for q in (0.5, 0.99, 1.0))
    name = f"{durability}, {'in groups' if grouped else 'one by one'}"
    print(f"{name:<24}{options.calls / seconds:>9,.0f}{commits:>9,}   {median:.2f} / {late:.2f} / {most:.2f}")


def reread(options: argparse.Namespace) -> None:
    """Find all replies of a finished study."""
    model = FunctionBackend(lambda _request: REPLY, name="answers-at-once", version="1")
    requests = [question(number) for number in range(options.cached)]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        with Store.open(f"{folder}/study.db") as store:
            ask(Cached(model, StoredReplies(store)), requests)
        size = Path(folder, "study.db").stat().st_size
        with Store.open(f"{folder}/study.db") as store:
            cached = Cached(model, StoredReplies(store))
            began, cpu = time.perf_counter(), time.process_time()
            found = ask(cached, requests)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        assert (cached.hits, cached.asked) == (options.cached, 0)
        assert found[-1] == REPLY
    print(
        f"{options.cached:,} cached replies ({size / 1e6:.0f} MB) read again in {seconds:.1f} s "
        f"({cpu:.1f} s of processor time)"
    )


def question(number: int) -> Request:
    """About 60 words."""
    text = f"{number} is option A and {number * 7 % 1000} option B. Answer with A or B. " + "Think of all sides. " * 12
    return Request(messages=(Message(role="user", content=text),), answers=("A", "B"), max_tokens=16)


if __name__ == "__main__":
    main()
