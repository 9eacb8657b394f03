"""Turns whatever requests have arrived into as few predict calls as possible, and answers each."""

import logging
import traceback
from collections.abc import Iterable

from lastgood.domain.version import Signature
from lastgood.errors import Code, LastgoodError
from lastgood.host import counters, mlflow, v2
from lastgood.host.counters import CounterError, Counters, Rows
from lastgood.host.counting import listen
from lastgood.host.model import Model
from lastgood.host.outputs import Checker, InvalidOutputError, NotFiniteError, check
from lastgood.host.request import Layout, Work
from lastgood.host.tensors import InputError, TooLargeError, to_array, zeros
from lastgood.wire.frames import Request, Status

log = logging.getLogger("lastgood.host")
_TRACES_SHOWN = 20


class Engine:
    """Answers requests with one model. ``short_of_memory`` is set when the model raised MemoryError."""

    def __init__(self, model: Model, *, version: int, max_rows: int) -> None:
        """Prepare parsers and the model's metadata."""
        self._model = model
        self._version = version
        self._max_rows = max_rows
        self._signature = model.signature
        self._v2 = v2.V2Parser(model.signature, max_rows)
        self._checker = Checker(model.signature)
        self._prefixes: dict[bytes, bytes] = {}
        self._traces = 0
        self._counts = model.counts
        self._counters = Counters()
        self._said = listen()
        self._batches = model.signature is None or all(
            tensor.shape[0] == -1 for tensor in model.signature.inputs
        )
        self._metadata = _metadata(model)
        self.short_of_memory = False

    def parse(self, kind: int, name: bytes, body: memoryview) -> Work:
        """Decode one request; a wrong one comes back answered already (its layout is empty)."""
        try:
            if kind == Request.INFER:
                work = self._v2.parse(body)
            elif kind == Request.INVOCATIONS:
                work = mlflow.parse(body, self._signature, self._max_rows)
            else:
                work = Work(0, (), [])
                if kind == Request.METADATA:
                    work.body = self._metadata
                elif kind != Request.PING:
                    work.status, work.body = (
                        Status.BAD_INPUT,
                        v2.error(f"There is no request of kind {kind}."),
                    )
        except Exception as error:  # a bug of ours must not end the host  # noqa: BLE001
            work = Work(0, (), [])
            work.kind = kind
            self._fail(work, error, parsing=True)
        work.kind = kind
        work.name = name
        return work

    def run(self, works: Iterable[Work]) -> None:
        """Answer all of them: sets each one's status and body."""
        groups: dict[Layout, list[Work]] = {}
        last: Layout = ()
        group: list[Work] = []
        for work in works:
            layout = work.layout
            if not layout:
                continue
            if layout is not last:  # mostly they all share the signature's own: no need to compare it
                last = layout
                group = groups.setdefault(layout, [])
            group.append(work)
        for group in groups.values():
            for batch in self._split(group):
                self._answer(batch)

    def _split(self, group: list[Work]) -> list[list[Work]]:
        if len(group) == 1:
            return [group]
        if not self._batches:
            return [[work] for work in group]
        batches: list[list[Work]] = []
        room = 0
        for work in group:
            if work.rows > room or not batches:
                batches.append([])
                room = self._max_rows
            batches[-1].append(work)
            room -= work.rows
        return batches

    def _answer(self, batch: list[Work]) -> None:
        try:
            self._predict(batch)
        except Exception as error:  # the model's own code may raise anything  # noqa: BLE001
            if len(batch) == 1:
                self._fail(batch[0], error)
                return
            # One bad row must not fail its neighbours: halve until it stands alone.
            half = len(batch) // 2
            self._answer(batch[:half])
            self._answer(batch[half:])

    def _predict(self, batch: list[Work]) -> None:
        rows = batch[0].rows
        columns = batch[0].columns
        if len(batch) > 1:
            rows = sum([work.rows for work in batch])
            columns = [[] for _ in columns]
            for work in batch:
                for position, more in enumerate(work.columns):
                    columns[position] += more
        inputs = {}
        for position, tensor in enumerate(batch[0].layout):
            name = tensor.name
            inputs[name] = to_array(columns[position], tensor.datatype, (rows, *tensor.shape), name)
        counted: Rows = {}
        if self._counts:
            self._said.clear()  # what was said of another call, or outside any
            raw, counted = self._counters.take(self._model.predict(inputs), rows, self._said)
        else:
            raw = self._model.predict(inputs)
        outputs = self._checker.check(raw, rows)
        first = 0
        for work in batch:
            if counted:
                work.counts = counters.of_request(counted, first, work.rows)
            if work.kind == Request.INVOCATIONS:
                work.body = mlflow.answer(work, first, outputs)
            else:
                work.body = v2.answer(self._prefix(work.name), work, first, outputs)
            first += work.rows

    def _prefix(self, name: bytes) -> bytes:
        found = self._prefixes.get(name)
        if found is None:
            found = self._prefixes[name] = v2.prefix(name.decode(errors="replace"), self._version)
        return found

    def _fail(self, work: Work, error: Exception, *, parsing: bool = False) -> None:
        message = str(error)[:500]
        work.counts = b""
        if isinstance(error, TooLargeError):
            work.status = Status.TOO_LARGE
        elif isinstance(error, InputError):
            work.status = Status.BAD_INPUT
        elif isinstance(error, InvalidOutputError):
            work.status = Status.INVALID_OUTPUT
        else:
            work.status = Status.INTERNAL if parsing else Status.MODEL_ERROR
            message = f"The model failed: {type(error).__name__}: {message}"
            self.short_of_memory = self.short_of_memory or isinstance(error, MemoryError)
            self._traces += 1
            if self._traces <= _TRACES_SHOWN:
                log.error("%s", "".join(traceback.format_exception(error)))
        invocation = work.kind == Request.INVOCATIONS
        work.body = mlflow.error(work.status, message) if invocation else v2.error(message)


def warm_up(model: Model, signature: Signature, *, max_rows: int) -> None:
    """Let the model answer zeros, one row and a few, so that the first caller does not wait for it.

    Zeros are our invention: a model may rightly raise on them or answer NaN, and that is only logged. Outputs
    that do not fit the signature, and counters that cannot be counted, are wrong whatever the input.

    :raises LastgoodError: ``refused`` when the outputs do not fit the signature, or a counter cannot be counted.
    """
    said = listen()
    fixed = [tensor.shape[0] for tensor in signature.inputs if tensor.shape and tensor.shape[0] > 0]
    for rows in fixed[:1] or (1, min(4, max_rows)):
        inputs = {tensor.name: zeros(tensor, rows) for tensor in signature.inputs}
        said.clear()
        try:
            raw, counted = counters.split(model.predict(inputs), said)
            counters.check(counted, rows)
            check(raw, signature, rows)
        except NotFiniteError as error:
            log.warning("the warm-up on %s row(s) of zeros: %s", rows, error)
        except CounterError as error:
            raise LastgoodError(
                Code.REFUSED,
                f"The model's own counters cannot be counted: {error}.",
                counters.HOW_TO_COUNT,
            ) from None
        except InvalidOutputError as error:
            raise LastgoodError(
                Code.REFUSED,
                f"The model failed its warm-up on {rows} row(s) of zeros: {error}",
                "Register it with the signature that it really has.",
            ) from None
        except Exception as error:  # noqa: BLE001 - whatever the model raises on a row that nobody sent
            log.warning("the model raised on a warm-up row of zeros: %s: %s", type(error).__name__, error)


def _metadata(model: Model) -> bytes:
    sides = {"inputs": model.signature.inputs, "outputs": model.signature.outputs} if model.signature else {}
    return v2.encode(
        {
            "platform": model.platform,
            "inputs": sides.get("inputs", ()),
            "outputs": sides.get("outputs", ()),
        }
    )
