"""The contest: benches measured in turns; one that fails leaves, the others go on."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from benchmarks.benches import celery_bench, driver_bench
from benchmarks.contenders import CONTENDERS, LIMITS
from benchmarks.processes import BenchError
from benchmarks.stores import Stores

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from benchmarks.benches import Bench, Run

_WARM_UP = 50


class Contest:
    """Benches by name; *problems* says why the ones that left did."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._stores = Stores(stack)
        self._benches: dict[str, tuple[Bench, ExitStack]] = {}
        self.problems: dict[str, str] = {}

    def enter(self, name: str) -> None:
        """Set up and warm up a bench."""
        if name in CONTENDERS and (missing := CONTENDERS[name].missing()):
            self.problems[name] = f"{', '.join(missing)} cannot be imported."
            return
        own = self._stack.enter_context(ExitStack())
        try:
            bench = own.enter_context(self._bench(name))
            bench.measure(_WARM_UP)
        except BenchError as problem:
            self._leave(name, own, problem)
        else:
            self._benches[name] = bench, own

    def round(self, tasks: int, *, backwards: bool) -> dict[str, Run]:
        """Measure every bench once."""
        runs = {}
        names = list(self._benches)
        for name in reversed(names) if backwards else names:
            bench, own = self._benches[name]
            try:
                runs[name] = bench.measure(tasks)
            except BenchError as problem:
                self._leave(name, own, problem)
        return runs

    def end(self) -> None:
        """End all benches, which checks what they have recorded."""
        for name, (_, own) in list(self._benches.items()):
            try:
                own.close()
            except BenchError as problem:
                self._leave(name, own, problem)

    def _bench(self, name: str) -> AbstractContextManager[Bench]:
        if name in LIMITS:
            return driver_bench(LIMITS[name], self._stores)
        return celery_bench(CONTENDERS[name], self._stores)

    def _leave(self, name: str, own: ExitStack, problem: BenchError) -> None:
        self._benches.pop(name, None)
        self.problems[name] = str(problem)
        with suppress(BenchError):
            own.close()
