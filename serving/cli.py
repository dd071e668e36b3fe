"""The command line: ask, serve, stop. Exit codes: 0 answered, 1 failed, 2 usage, 130 cancelled."""

from __future__ import annotations

import asyncio
import logging
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from executor.builtin import TOOLBOX
from executor.errors import HeadstartError, UsageError
from executor.events import RunCancelled, RunFinished
from executor.schema_size import Schema
from executor.tools import ToolBox
from planner_prompts.examples import Example, load_examples
from serving import embedded, engine_room, keys_cli, models, startup, vllm_command
from serving.answers import AnswerForm, load_schema
from serving.compiler import answer
from serving.gateway import logs
from serving.gateway.engine_keeper import EngineKeeper
from serving.gateway.server import Stop, listen
from serving.gateway.server import serve as serve_gateway
from serving.model import Model
from serving.picture import clean
from serving.settings import Settings
from serving.terminal import view_for
from serving.toolfile import load_tools

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)
app.add_typer(keys_cli.app, name="keys")
log = logging.getLogger("headstart.engine")
errors = Console(stderr=True, highlight=False, soft_wrap=True)

ANSWERED, FAILED, USAGE, CANCELLED = 0, 1, 2, 130

ToolsOption = Annotated[str, typer.Option("--tools", help="A .py file or module with your tools.")]
ExamplesOption = Annotated[
    str, typer.Option("--examples", help="A YAML file with worked examples for your tools.")
]


def main() -> None:
    """Runs the command line; a mistake is one line, not a traceback."""
    try:
        app()
    except UsageError as error:
        _complain(error)
        sys.exit(USAGE)
    except HeadstartError as error:
        _complain(error)
        sys.exit(FAILED)


def _complain(error: HeadstartError) -> None:
    errors.print(Text(clean(f"headstart: {error}")))


@app.command()
def ask(
    question: str,
    json_lines: Annotated[bool, typer.Option("--json", help="One event a line, as JSON.")] = False,
    tools: ToolsOption = "",
    examples: ExamplesOption = "",
    answer_schema: Annotated[
        str, typer.Option("--answer-schema", help="A JSON Schema: the answer is JSON that fits it.")
    ] = "",
) -> None:
    """Asks a question and shows the run: plan, tools, answer, timeline."""
    if not question.strip():
        raise UsageError("the question is empty; write one")
    settings = Settings.from_env()
    toolbox, worked = _toolbox(tools, examples)
    schema = _answer_schema(answer_schema, settings)
    try:
        code = asyncio.run(_ask(question, toolbox, worked, settings, schema, json_lines))
    except KeyboardInterrupt:  # before the run began
        errors.print("cancelled")
        code = CANCELLED
    sys.exit(code)


@app.command()
def serve(
    vllm_flags: Annotated[
        list[str] | None, typer.Argument(help="Behind --: flags passed on to vLLM.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the command only.")] = False,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one.")] = 8080,
    engine_port: Annotated[
        int, typer.Option("--engine-port", min=0, max=65535, help="0: any free one.")
    ] = 0,
    tools: ToolsOption = "",
    examples: ExamplesOption = "",
) -> None:
    """Runs engine and gateway in the foreground, until Ctrl-C."""
    settings = Settings.from_env()
    toolbox, worked = _toolbox(tools, examples)
    flags = vllm_flags or []
    if dry_run:
        print(shlex.join(_dry_command(settings, engine_port, flags)))
        return
    logs.set_up()
    with listen(host, port) as listener:
        asyncio.run(_serve(settings, toolbox, worked, listener, engine_port, flags))


def _dry_command(settings: Settings, port: int, flags: list[str]) -> list[str]:
    """What would be run, without fetching or converting any weights for it."""
    gpu = vllm_command.has_gpu()
    name = settings.model or models.default_model(gpu=gpu)
    cache = settings.cache_dir
    path = embedded.path(name, cache) if name in embedded.ADAPTERS else Path(name)
    weights = models.Weights(name, path)
    port = port or engine_room.free_port()
    backend = settings.backend
    return vllm_command.command(weights, port, gpu=gpu, backend=backend, extra=flags)


@app.command()
def stop() -> None:
    """Ends the engine that earlier questions left running."""
    engine = engine_room.EngineRoom(Settings.from_env().cache_dir).stop()
    print("no engine is running" if engine is None else f"ended the engine (pid {engine.pid})")


def _toolbox(tools: str, examples: str) -> tuple[ToolBox, list[Example]]:
    """The bundled tools and the user's, with the worked examples for the latter."""
    toolbox = ToolBox([*TOOLBOX, *load_tools(tools)]) if tools else TOOLBOX
    own = load_examples(Path(examples), toolbox) if examples else []
    return toolbox, own


def _answer_schema(path: str, settings: Settings) -> Schema | None:
    """The schema in the user's file, if there is one: looked at before an engine is started."""
    if not path:
        return None
    schema: Schema = load_schema(Path(path))
    AnswerForm.of(schema, settings.backend)
    return schema


async def _ask(
    question: str,
    toolbox: ToolBox,
    examples: list[Example],
    settings: Settings,
    schema: Schema | None,
    json_lines: bool,
) -> int:
    async with _model(settings, toolbox, examples) as model:
        run = answer(
            question,
            toolbox=toolbox,
            model=model,
            settings=settings,
            examples=examples,
            answer_schema=schema,
        )
        async with run as events:
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, events.stop)
            with view_for(json_lines=json_lines, json_answer=schema is not None) as view:
                async for event in events:
                    view.show(event)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
    return {RunFinished.type: ANSWERED, RunCancelled.type: CANCELLED}.get(event.type, FAILED)


@asynccontextmanager
async def _model(
    settings: Settings, toolbox: ToolBox, examples: list[Example]
) -> AsyncIterator[Model]:
    async with AsyncExitStack() as entered:
        with _progress() as progress:
            model = await entered.enter_async_context(
                startup.model(settings, toolbox, examples, progress)
            )
        yield model


@contextmanager
def _progress(
    tell: Callable[[str], object] = lambda line: errors.print(Text(line)),
) -> Iterator[Callable[[str], None]]:
    """Shows what is being waited for: in place on a terminal, else a line for each new thing."""
    if errors.is_terminal:
        with errors.status("") as status:
            yield lambda text: status.update(Text(text))
        return
    shown = ""

    def show(text: str) -> None:
        nonlocal shown
        thing = text.partition(" (")[0]  # without the seconds
        if thing != shown:
            tell(f"engine: {thing}")
            shown = thing

    yield show


async def _serve(
    settings: Settings,
    toolbox: ToolBox,
    examples: list[Example],
    listener: socket.socket,
    engine_port: int,
    flags: list[str],
) -> None:
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.ask)
    with ExitStack() as showing:
        progress = showing.enter_context(_progress(log.info))
        keeper = EngineKeeper(settings, toolbox, examples, progress, engine_port, flags)

        def ready(model: Model) -> None:
            showing.close()
            host, port, *_ = listener.getsockname()
            print(f"{model.name} answers at http://{host}:{port}; Ctrl-C ends it", flush=True)

        await serve_gateway(keeper, settings, toolbox, examples, listener, ready, stop)
    print("ended the gateway")
