"""``stillwatch watermark key``: the master key, the keys of scopes, the register of what served whom.

`add_to` hangs the commands into the app of ``stillwatch watermark``. None of them prints a key.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillwatch.cli import _filing, output
from stillwatch.cli._options import HOME, ByOption, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from stillwatch.marks.keys import Master
    from stillwatch.marks.register import Register, Serving

KeyOption = Annotated[
    Path | None,
    typer.Option("--key", help="File of the master key.", show_default="marks/key in the workspace"),
]
CommandOption = Annotated[
    str,
    typer.Option(
        "--key-command",
        envvar="STILLWATCH_KEY_COMMAND",
        show_envvar=True,
        help="Command that prints the master key in hexadecimal, such as a call of a KMS; instead of a file.",
    ),
]
KeyArgument = Annotated[str, typer.Argument(help="Fingerprint of the key, or its beginning.")]


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this file into ``stillwatch watermark``."""
    keys = typer.Typer(help="The master key, keys by scope, and the register of both.", no_args_is_help=True)
    keys.command("new")(new)
    keys.command("scope")(scope)
    keys.command("list")(list_)
    keys.command("rotate")(rotate)
    keys.command("config")(config)
    app.add_typer(keys, name="key")


def new(
    key: KeyOption = None,
    key_command: CommandOption = "",
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """Draw the master key into a new file, or check the command that gives it, and enter it in the register."""
    from stillwatch.marks.keys import Master

    if key_command:
        master, how = Master.from_command(key_command), "command"
    else:
        path = key or workspace / "marks" / "key"
        master, how = Master.create(path), "file"
        output.note(f"{path}: keep a copy where you keep secrets; without it no mark can be read back")
    _register(workspace).made(master, how, by=_filing.whoever(by))
    output.line(f"Master key {master.fingerprint}.")
    output.line("Next: stillwatch watermark key scope SCHEME")


def scope(
    scheme: Annotated[str, typer.Argument(help="Scheme of the mark, such as vllm_gumbel.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Whom it serves: a pseudonym, never a name.")] = "",
    rung: Annotated[str, typer.Option("--rung", help="Step of the ladder of countermeasures.")] = "",
    campaign: Annotated[str, typer.Option("--campaign", help="Suspected campaign, such as c-7f3a104b.")] = "",
    epoch: Annotated[
        str, typer.Option("--epoch", help="Such as 2026-12; another epoch is another key.")
    ] = "",
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Of the scheme; repeat it.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Where it is drawn: cpu or cuda.")] = "cuda",
    engine: Annotated[str, typer.Option("--engine", help="Program and version that serves.")] = "",
    since: Annotated[
        str,
        typer.Option("--since", metavar="TIME", help="When it began to serve, with a time zone; else now."),
    ] = "",
    key: KeyOption = None,
    key_command: CommandOption = "",
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """Enter in the register that the key of a scope serves from now on."""
    from stillwatch.errors import InputError
    from stillwatch.marks.engines import writer_of
    from stillwatch.marks.keys import Scope

    if device not in ("cpu", "cuda"):
        raise InputError(f"--device is cpu or cuda, found {device!r}")
    values = _parameters(param or [])
    if writer := writer_of(scheme):
        values = writer[1].parameters(scheme, values)
    else:
        _known(scheme)
    master = master_of(key, key_command, workspace)
    drawn = master.key(scheme, Scope(tenant, rung, campaign, epoch))
    serving = _register(workspace).begin(
        master, drawn, values, device=device, engine=engine, at=_time(since), by=_filing.whoever(by)
    )
    _say(serving)
    if writer:
        output.line(f"Next: stillwatch watermark key config {serving.fingerprint} --out FILE")


def list_(
    all_: Annotated[bool, typer.Option("--all", help="Also keys that no longer serve.")] = False,
    head: Annotated[
        str, typer.Option("--head", help="Digest of an entry that was noted elsewhere; it must be there.")
    ] = "",
    json: JsonOption = False,
    key: KeyOption = None,
    key_command: CommandOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """List which key served whom and when, after the register was checked."""
    register = _register(workspace)
    path = key or workspace / "marks" / "key"
    masters = [master_of(key, key_command, workspace)] if key_command or path.exists() else []
    sealed = register.verify(masters, head=head)
    entries = list(register.chain.entries())
    rows = [one for one in register.servings() if all_ or not one.ends]
    if json:
        output.json_lines(asdict(one) for one in rows)
    elif rows:
        output.table(
            [
                (s.fingerprint, s.scheme, str(s.scope), s.device, s.begins[:16], s.ends[:16] or "-")
                for s in rows
            ],
            ["KEY", "SCHEME", "SCOPE", "DEVICE", "SINCE", "UNTIL"],
        )
    else:
        output.line(
            "No key serves." if entries else "The register is empty; begin with: stillwatch watermark key new"
        )
    if entries:
        output.note(
            f"{output.count(len(entries), 'entry', 'entries')}, whole; {sealed} sealed by the master given; "
            f"last: {entries[-1].digest}"
        )


def rotate(
    name: KeyArgument,
    epoch: Annotated[str, typer.Option("--epoch", help="Epoch of the key that follows.")] = "",
    retire: Annotated[bool, typer.Option("--retire", help="End it; no key follows.")] = False,
    why: Annotated[str, typer.Option("--why", help="The reason, for the register.")] = "rotation",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="When it changed, with a time zone; else now.")
    ] = "",
    key: KeyOption = None,
    key_command: CommandOption = "",
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """End a key, and let that of a new epoch follow with the same settings."""
    from dataclasses import replace

    from stillwatch.errors import InputError

    if bool(epoch) == retire:
        raise InputError("name the --epoch of the key that follows, or --retire this one")
    register, master = _register(workspace), master_of(key, key_command, workspace)
    old, who, at = register.current(name), _filing.whoever(by), _time(since)
    if retire:
        ended = register.end(master, old.fingerprint, at=at, by=who, why=why)
        output.line(f"Key {ended.fingerprint} ({ended.scope}) no longer serves.")
        return
    drawn = master.key(old.scheme, replace(old.scope, epoch=epoch))
    serving = register.rotate(master, old.fingerprint, drawn, at=at, by=who, why=why)
    output.line(f"Key {old.fingerprint} no longer serves.")
    _say(serving)
    output.line(f"Next: stillwatch watermark key config {serving.fingerprint} --out FILE")


def config(
    name: KeyArgument,
    out: Annotated[Path, typer.Option("--out", help="File to write; only its owner can read it.")],
    replace: Annotated[bool, typer.Option("--replace", help="Write over a file that is there.")] = False,
    key: KeyOption = None,
    key_command: CommandOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """Write the file with which a serving engine marks under a key. It holds the key: mode 0600."""
    from stillwatch.errors import InputError
    from stillwatch.marks.engines import writer_of
    from stillwatch.marks.secret_file import write_secret

    serving = _register(workspace).current(name)
    master = master_of(key, key_command, workspace)
    writer = writer_of(serving.scheme)
    if writer is None:
        raise InputError(f"no engine here takes its settings for {serving.scheme} from a file")
    drawn = master.key(serving.scheme, serving.scope)
    if drawn.fingerprint != serving.fingerprint:
        raise InputError(
            f"key {serving.fingerprint} comes from master {serving.master}; the one given is {master.fingerprint}"
        )
    engine = writer[1]
    if out.suffix != engine.SUFFIX:
        raise InputError(f"{out}: {writer[0]} reads settings from a file that ends in {engine.SUFFIX}")
    write_secret(out, engine.config(drawn, serving.parameters), replace=replace)
    output.note(f"{out}: holds the key; only its owner can read it")
    output.line(engine.start(out, serving.parameters))


def _register(workspace: Path) -> Register:
    from stillwatch.marks.register import Register

    return Register(workspace / "marks" / "register.jsonl")


def master_of(key: Path | None, command: str, workspace: Path) -> Master:
    from stillwatch.errors import InputError
    from stillwatch.marks.keys import Master

    if command and key:
        raise InputError("--key and --key-command exclude each other")
    if command:
        return Master.from_command(command)
    return Master.from_file(key or workspace / "marks" / "key")


def _known(scheme: str) -> None:
    from importlib.util import find_spec

    from stillwatch import plugins
    from stillwatch.errors import InputError

    # The schemes load compiled loops; a name that is a file of the room needs none of that.
    if (
        scheme.isidentifier()
        and not scheme.startswith("_")
        and find_spec(f"stillwatch.marks.schemes.{scheme}")
    ):
        return
    schemes = plugins.find("marks.schemes")
    if scheme not in schemes:
        raise InputError(f"there is no scheme {scheme!r}; there are {', '.join(schemes)}")


def _parameters(given: list[str]) -> dict[str, Any]:
    from stillwatch.errors import InputError

    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"--param takes NAME=VALUE, such as context_width=2, found {text[:60]!r}")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def _time(text: str) -> datetime | None:
    from stillwatch.errors import InputError

    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InputError(
            f"a time such as 2026-12-01T00:00+00:00, with its zone, is expected, found {text[:40]!r}"
        )
    return at


def _say(serving: Serving) -> None:
    settings = " ".join(f"{name}={value}" for name, value in serving.parameters.items())
    output.line(
        f"Key {serving.fingerprint} of {serving.scheme} serves {serving.scope} since {serving.begins[:19]}Z."
    )
    if settings:
        output.line(f"Settings: {settings}")
