"""An event loop in a thread of its own, from which anything can be called off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
STOP_SECONDS = 10.0


class Background:
    """Runs coroutines between `start` and `stop`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rented machines", daemon=True)

    def start(self) -> None:
        """Start the loop."""
        self._thread.start()

    def stop(self) -> None:
        """Cancel what still runs, and end the thread; nothing happens where it was not started."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop).result(3 * STOP_SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        """The result of a coroutine; an interruption here cancels it there, and waits for its end."""
        ended = threading.Event()

        async def watched() -> T:
            try:
                return await coroutine
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(watched(), self._loop)
        try:
            return future.result(seconds)
        except BaseException:
            if future.cancel() or future.cancelled():
                ended.wait(STOP_SECONDS)
            raise

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Start a coroutine, and do not wait for it."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=STOP_SECONDS)
        await self._loop.shutdown_default_executor()
