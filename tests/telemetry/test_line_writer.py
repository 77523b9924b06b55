"""The writer of lines: who puts one never waits, what is dropped is counted and told, and the order stays."""

import errno
import io
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sidecar.telemetry.line_writer import LineStream, LineWriter, write_to

WAIT_S = 10


class Sink:
    """Where lines are written: it can be shut, be full, take a part, or fail."""

    def __init__(self) -> None:
        self.text = b""
        self.failing: OSError | None = None
        # How many bytes of the next writes are taken before it fails.
        self.takes: int | None = None
        self._is_open = threading.Event()
        self._is_open.set()
        self._is_entered = threading.Event()

    def write(self, text: bytes) -> int:
        self._is_entered.set()
        assert self._is_open.wait(WAIT_S)
        if self.failing is not None:
            if not self.takes:
                raise self.failing
            text, self.takes = text[: self.takes], self.takes - len(text[: self.takes])
        self.text += text
        return len(text)

    def shut(self) -> None:
        self._is_entered.clear()
        self._is_open.clear()

    def open(self) -> None:
        self._is_open.set()

    def wait_until_somebody_waits(self) -> None:
        assert self._is_entered.wait(WAIT_S)

    @property
    def lines(self) -> list[str]:
        return self.text.decode().splitlines()


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.open()


def writer(sink: Sink, **bounds: int) -> LineWriter:
    return LineWriter(sink.write, tell=lambda count: f"-{count}", **bounds)


def fill(sink: Sink, lines: LineWriter, texts: list[str]) -> None:
    """Put lines while nobody reads; the first of them is in the write that hangs."""
    sink.shut()
    lines.put(texts[0])
    sink.wait_until_somebody_waits()
    for text in texts[1:]:
        lines.put(text)


def test_lines_are_written_in_their_order(sink: Sink) -> None:
    lines = writer(sink)
    for number in range(2000):
        lines.put(f"line {number}")
    assert lines.flush(WAIT_S)
    assert sink.lines == [f"line {number}" for number in range(2000)]
    assert lines.dropped == 0


def test_lines_of_many_threads_are_all_written_whole(sink: Sink) -> None:
    lines = writer(sink)
    putters = [threading.Thread(target=lambda n=n: [lines.put(f"{n} {i}") for i in range(300)]) for n in range(4)]
    for putter in putters:
        putter.start()
    for putter in putters:
        putter.join(WAIT_S)
    assert lines.flush(WAIT_S)
    for n in range(4):
        assert [line for line in sink.lines if line.startswith(f"{n} ")] == [f"{n} {i}" for i in range(300)]


def test_who_puts_does_not_wait_and_what_finds_no_room_is_dropped_and_told_in_its_place(sink: Sink) -> None:
    lines = writer(sink, max_lines=4)
    fill(sink, lines, ["a", "b", "c", "d", "e", "lost", "lost"])
    assert lines.dropped == 2
    sink.open()
    assert lines.flush(WAIT_S)
    assert sink.lines == ["a", "b", "c", "d", "e", "-2"], "what came last is told though nothing follows"
    lines.put("f")
    assert lines.flush(WAIT_S)
    assert sink.lines[-2:] == ["-2", "f"]
    assert lines.dropped == 2


def test_bytes_are_bounded_too(sink: Sink) -> None:
    lines = writer(sink, max_bytes=25)
    fill(sink, lines, ["a", "x" * 9, "y" * 9, "z" * 9])
    assert lines.dropped == 1
    sink.open()
    assert lines.flush(WAIT_S)
    assert sink.lines == ["a", "x" * 9, "y" * 9, "-1"]


def test_line_that_can_never_have_room_is_dropped(sink: Sink) -> None:
    lines = writer(sink, max_bytes=100)
    lines.put("x" * 200)
    lines.put("y")
    assert lines.flush(WAIT_S)
    assert (sink.lines, lines.dropped) == (["-1", "y"], 1)


class StepSink(Sink):
    """Lets one write through at each step."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = threading.Semaphore(0)
        self.is_waiting = threading.Semaphore(0)

    def write(self, text: bytes) -> int:
        self.is_waiting.release()
        assert self._steps.acquire(timeout=WAIT_S)
        return super().write(text)

    def step(self, times: int = 1) -> None:
        self._steps.release(times)


def test_reader_who_is_slow_is_told_once_for_many_that_were_dropped() -> None:
    """There is room again when half of it is free, so that it is not told at every other line."""
    sink = StepSink()
    lines = writer(sink, max_lines=4)
    long = "x" * 4095  # each is a write of its own
    lines.put(long)
    assert sink.is_waiting.acquire(timeout=WAIT_S)
    for _ in range(4):
        lines.put(long)
    lines.put("lost")
    sink.step()
    assert sink.is_waiting.acquire(timeout=WAIT_S)
    # Three wait of four: some room, and not enough of it.
    lines.put("lost")
    sink.step()
    assert sink.is_waiting.acquire(timeout=WAIT_S)
    lines.put("lost")
    sink.step()
    assert sink.is_waiting.acquire(timeout=WAIT_S)
    lines.put("written")
    sink.step(10)
    assert lines.flush(WAIT_S)
    assert [line[:9] for line in sink.lines] == [*["x" * 9] * 5, "-3", "written"]
    assert lines.dropped == 3


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF])
def test_failed_write_drops_its_lines_and_later_ones_are_tried(sink: Sink, number: int) -> None:
    lines = writer(sink)
    sink.failing = OSError(number, "no")
    for text in ("a", "b"):
        lines.put(text)
        assert lines.flush(WAIT_S)
    assert (sink.text, lines.dropped) == (b"", 2)
    sink.failing = None
    lines.put("c")
    assert lines.flush(WAIT_S)
    assert (sink.lines, lines.dropped) == (["-2", "c"], 2)


def test_line_that_was_torn_by_a_failure_ends_before_the_next(sink: Sink) -> None:
    lines = writer(sink)
    sink.failing, sink.takes = OSError(errno.ENOSPC, "full"), len("one\ntw")
    fill(sink, lines, ["one"])
    sink.open()
    assert lines.flush(WAIT_S)
    sink.takes = len("tw")
    lines.put("two")
    assert lines.flush(WAIT_S)
    assert lines.dropped == 1
    sink.failing = None
    lines.put("three")
    assert lines.flush(WAIT_S)
    assert sink.lines == ["one", "tw", "-1", "three"]


def test_lines_of_a_batch_that_were_written_before_the_failure_are_not_counted(sink: Sink) -> None:
    lines = writer(sink)
    fill(sink, lines, ["a", "two\nlines", "b", "c"])
    sink.failing, sink.takes = OSError(errno.EPIPE, "gone"), len("a\ntwo\nlines\nb")
    sink.open()
    assert lines.flush(WAIT_S)
    assert (sink.text, lines.dropped) == (b"a\ntwo\nlines\nb", 2)


def test_part_that_is_written_is_no_failure(sink: Sink) -> None:
    lines = LineWriter(lambda text: sink.write(text[:3]))
    lines.put("0123456789")
    assert lines.flush(WAIT_S)
    assert (sink.text, lines.dropped) == (b"0123456789\n", 0)


def test_failure_that_lasts_is_tried_once_a_line(sink: Sink) -> None:
    calls = []
    is_tried_again = threading.Event()

    def fail(text: bytes) -> int:
        calls.append(text)
        if len(calls) > 3:
            is_tried_again.set()
        raise BrokenPipeError

    lines = LineWriter(fail)
    for _ in range(3):
        lines.put("x")
        assert lines.flush(WAIT_S)
    assert not is_tried_again.wait(0.1), "it is tried again without a line"
    assert len(calls) == 3
    assert lines.dropped == 3
    assert sink.text == b""


def test_flush_waits_for_a_moment_and_after_that_no_more(sink: Sink) -> None:
    lines = writer(sink)
    assert lines.flush(WAIT_S), "nothing was ever put"
    fill(sink, lines, ["a"])
    assert not lines.flush(0.01)
    began = time.monotonic()
    assert not lines.flush(WAIT_S)
    assert time.monotonic() - began < WAIT_S / 2
    sink.open()


def test_character_that_has_no_bytes_is_escaped(sink: Sink) -> None:
    lines = writer(sink)
    lines.put("a\ud800b \u4e2d")
    assert lines.flush(WAIT_S)
    assert sink.lines == ["a\\ud800b \u4e2d"]


def test_put_from_within_put_is_no_deadlock(sink: Sink) -> None:
    """The garbage collector may destroy, at any step, something that has a line to log."""
    lines = writer(sink)

    class Logging(str):
        __slots__ = ()

        def __format__(self, _spec: str) -> str:
            lines.put("inner")
            return "outer"

    with lines._lock:  # noqa: SLF001  # as if the step were one of `put`
        lines.put(f"{Logging()}")
    assert lines.flush(WAIT_S)
    assert sink.lines == ["inner", "outer"]


def test_pipe_that_somebody_made_nonblocking_is_waited_for() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as stream:
        os.set_blocking(stream.fileno(), False)
        lines = LineWriter(write_to(stream))  # type: ignore[arg-type]  # only its descriptor counts
        for number in range(2000):
            lines.put(f"{number} {'x' * 100}")
        for number in range(2000):
            assert reader.readline().startswith(b"%d x" % number)
        assert lines.flush(WAIT_S)
        assert lines.dropped == 0


def test_stream_without_a_descriptor_is_written_to() -> None:
    stream = io.StringIO()
    lines = LineWriter(write_to(stream))
    lines.put("a")
    assert lines.flush(WAIT_S)
    assert stream.getvalue() == "a\n"


@pytest.mark.parametrize("write", [lambda s: s.write("one\ntwo\nth"), lambda s: print("one\ntwo", file=s)])
def test_what_is_printed_becomes_lines(write: Callable[[LineStream], object]) -> None:
    put: list[str] = []
    stream = LineStream(put.append, io.StringIO())
    write(stream)
    assert put == ["one", "two"]
    assert stream.writable()
    assert not stream.isatty()
