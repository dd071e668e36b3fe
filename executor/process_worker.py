"""A process that makes one call after another; processes.py starts it.


On a socket it reads where a function is found and its arguments, and writes what came of it. What
a call leaves behind it doesn't take along: another directory, a fork, what it writes on stdout.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

LENGTH = struct.Struct("!Q")


def main(descriptor: int) -> None:
    own = os.getpid()
    threading.Thread(target=_end_with_server, args=(descriptor,), daemon=True).start()
    with socket.socket(fileno=descriptor) as channel, channel.makefile("rb") as requests:
        while header := requests.read(LENGTH.size):
            (length,) = LENGTH.unpack(header)
            reply = _reply(requests.read(length))
            if os.getpid() != own:  # a copy of us that the call has made and forgotten
                os._exit(0)
            channel.sendall(LENGTH.pack(len(reply)) + reply)


def _end_with_server(descriptor: int) -> None:
    """Also in the middle of a call, with all that it has started."""
    watch = select.poll()
    watch.register(descriptor, getattr(select, "POLLRDHUP", select.POLLHUP))
    watch.poll()
    os.killpg(os.getpid(), signal.SIGKILL)


def _reply(request: bytes) -> bytes:
    """Pickled: the result, or the error, pickled if it can be, and what is known of it."""
    home = os.open(".", os.O_RDONLY)  # which may be renamed or removed meanwhile
    try:
        path, module, file, name, args = pickle.loads(request)  # noqa: S301  from who started us
        sys.path[:] = path
        function = _function(module, file, name)
        return pickle.dumps((function(**pickle.loads(args)), None, ""))  # noqa: S301
    except BaseException as error:  # noqa: BLE001  whatever it is, it is told
        words = "".join(traceback.format_exception_only(error)).strip()
        try:
            return pickle.dumps((None, pickle.dumps(error), words))
        except Exception:  # noqa: BLE001  then in words only
            return pickle.dumps((None, None, words))
    finally:
        os.fchdir(home)
        os.close(home)


def _function(module: str, file: str, name: str) -> Callable[..., Any]:
    if module not in sys.modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:  # loaded from a file that no import would find
            sys.path.insert(0, os.path.dirname(file))  # its neighbours, as `python FILE` finds them
            spec = importlib.util.spec_from_file_location(module, file)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[module] = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(sys.modules[module])
            except BaseException:
                del sys.modules[module]  # or the next call would find half of it
                raise
    found: Any = sys.modules[module]
    for step in name.split("."):
        found = getattr(found, step)
    function: Callable[..., Any] = getattr(found, "function", found)  # that of a tool
    return function
