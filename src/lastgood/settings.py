"""One frozen Settings, and where its values come from.

What wins: a command's flag, then ``LASTGOOD_*`` in the environment, then ``lastgood.toml``, then the default
here. Durations are seconds, sizes are bytes.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from lastgood.errors import Code, LastgoodError

FILE_NAME: Final = "lastgood.toml"
_PREFIX: Final = "LASTGOOD_"


class NotifySetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A channel that every release notifies. ``secret`` is ``env:NAME`` or ``file:PATH``, never the key."""

    webhook: str | None = None
    command: tuple[str, ...] | None = None
    secret: str | None = None


class FeedbackSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Labels in a database: SQLAlchemy's ``url`` (or ``env:NAME``, ``file:PATH``), a ``query`` of ids and values."""

    url: str
    query: str


_SERVING: Final = {"section": "serving"}
_CONTROL: Final = {"section": "control"}
_HOSTS: Final = {"section": "model hosts"}
_TRUST: Final = {"section": "trust: yours to give, never read from a model"}
_DATA: Final = {"section": "live data that goes back with a model"}
_PREDICTIONS: Final = {"section": "the prediction log: what was answered, and by which version"}
_NOTIFICATIONS: Final = {"section": "notifications on every phase change"}


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything an operator may set. ``home`` holds the store, the blobs and the run folder."""

    home: str
    host: Annotated[str, Meta(description="where the gateway listens", extra=_SERVING)] = "127.0.0.1"
    port: Annotated[int, Meta(description="the gateway's port; 0 takes a free one", extra=_SERVING)] = 8000
    gateway_workers: Annotated[int, Meta(description="gateway processes, 1 to 64", extra=_SERVING)] = 2
    request_timeout: Annotated[
        float, Meta(description="seconds; a caller has an answer by then, or 504", extra=_SERVING)
    ] = 10.0
    candidate_timeout: Annotated[
        float, Meta(description="seconds; a candidate has answered by then, or stable does", extra=_SERVING)
    ] = 1.0
    max_body_bytes: Annotated[
        int, Meta(description="of one request; a larger one is answered 413", extra=_SERVING)
    ] = 16 * 1024 * 1024
    max_rows: Annotated[int, Meta(description="in one request; more is answered 413", extra=_SERVING)] = (
        10_000
    )
    max_in_flight: Annotated[
        int, Meta(description="requests per worker and host; more is answered 503 at once", extra=_SERVING)
    ] = 2_048
    max_copies_in_flight: Annotated[
        int,
        Meta(
            description="requests per worker with a copy for a shadow; more have none, and are counted",
            extra=_SERVING,
        ),
    ] = 64
    max_copies_bytes: Annotated[
        int, Meta(description="of the bodies and answers of these requests, per worker", extra=_SERVING)
    ] = 16 * 1024 * 1024
    api_host: Annotated[
        str, Meta(description="where the control API and /metrics listen", extra=_CONTROL)
    ] = "127.0.0.1"
    api_port: Annotated[int, Meta(description="their port; 0 takes a free one", extra=_CONTROL)] = 8001
    lease_seconds: Annotated[
        float,
        Meta(description="without a live controller, candidates get no traffic after this", extra=_CONTROL),
    ] = 5.0
    tick_seconds: Annotated[float, Meta(description="how often releases are looked at", extra=_CONTROL)] = 0.1
    report_seconds: Annotated[
        float, Meta(description="how often gateways report what they counted", extra=_CONTROL)
    ] = 0.2
    traffic_history: Annotated[
        float,
        Meta(
            description="seconds; stable's counts are kept so long, minute by minute, to judge releases by",
            extra=_CONTROL,
        ),
    ] = 86_400.0
    host_memory_bytes: Annotated[
        int, Meta(description="the most memory that one model host may take", extra=_HOSTS)
    ] = 2 * 1024**3
    health_interval: Annotated[float, Meta(description="seconds between health checks", extra=_HOSTS)] = 0.5
    health_timeout: Annotated[
        float, Meta(description="seconds; a health check without an answer by then is a miss", extra=_HOSTS)
    ] = 2.0
    trust_pickle: Annotated[
        bool, Meta(description="loading a pickle runs whatever code it carries", extra=_TRUST)
    ] = False
    trust_callable: Annotated[bool, Meta(description="Python code given with --factory", extra=_TRUST)] = True
    trusted_types: Annotated[
        tuple[str, ...],
        Meta(description="types that a skops file may hold beside the known ones", extra=_TRUST),
    ] = ()
    trust_plan_commands: Annotated[
        bool,
        Meta(
            description="a plan file may name programs to run, and for notifications any webhook host and key file",
            extra=_TRUST,
        ),
    ] = False
    metric_hosts: Annotated[
        tuple[str, ...],
        Meta(description="hosts that a plan's custom metrics may ask, beside this machine", extra=_TRUST),
    ] = ()
    data: Annotated[
        dict[str, dict[str, Any]],
        Meta(description="tables [data.NAME] with a provider and its options", extra=_DATA),
    ] = {}
    keep_snapshots: Annotated[
        float,
        Meta(description="seconds; 'lastgood gc' leaves younger snapshots alone", extra=_DATA),
    ] = 2_592_000.0
    record_predictions: Annotated[
        bool, Meta(description="keep every answer, found by its id", extra=_PREDICTIONS)
    ] = True
    keep_predictions: Annotated[
        float, Meta(description="seconds; older predictions are dropped", extra=_PREDICTIONS)
    ] = 2_592_000.0
    keep_predictions_bytes: Annotated[
        int, Meta(description="the largest log; what is over it is dropped, oldest first", extra=_PREDICTIONS)
    ] = 5 * 1000**3
    keep_inputs: Annotated[
        Literal["none", "sampled", "all"],
        Meta(description="which requests keep their inputs; sampled: one in 100", extra=_PREDICTIONS),
    ] = "none"
    keep_waiting_predictions_bytes: Annotated[
        int,
        Meta(description="what waits to be written into the log; more is dropped", extra=_PREDICTIONS),
    ] = 256 * 1024 * 1024
    feedback: Annotated[
        dict[str, FeedbackSource],
        Meta(
            description="tables [feedback.NAME] with a url and a query that gives labels", extra=_PREDICTIONS
        ),
    ] = {}
    notify: Annotated[
        tuple[NotifySetting, ...],
        Meta(description="tables with a webhook or a command, and a secret", extra=_NOTIFICATIONS),
    ] = ()

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return Path(self.home) / "lastgood.db"

    @property
    def blobs(self) -> Path:
        """Artifacts by content address."""
        return Path(self.home) / "blobs"

    @property
    def kept_data(self) -> Path:
        """What providers of live data keep in files, by source."""
        return Path(self.home) / "data"

    @property
    def prediction_log(self) -> Path:
        """The prediction log's SQLite file."""
        return Path(self.home) / "predictions" / "log.db"

    @property
    def incoming_predictions(self) -> Path:
        """What gateways left for the prediction log."""
        return Path(self.home) / "predictions" / "incoming"

    @property
    def token_file(self) -> Path:
        """The control API's bearer token, readable by its owner only."""
        return Path(self.home) / "token"

    @property
    def run(self) -> Path:
        """Sockets, the route page and what processes say of themselves; lost at will when nothing runs.

        Always below ``home``, so that every process of one home meets there whatever its environment says.
        """
        return Path(self.home) / "run"


_FROM_FILE: Final = frozenset(Settings.__struct_fields__) - {"home"}
_ONLY_FROM_FILE: Final = frozenset({"data", "feedback", "notify", "trusted_types", "metric_hosts"})


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to say of one setting. ``environ`` is the variable that sets it, None where only the file can."""

    name: str
    type: Any
    default: Any
    section: str
    meaning: str
    environ: str | None


def described() -> list[Described]:
    """Return every setting that the file may have, in order: for the file's template and the documentation."""
    hints = get_type_hints(Settings, include_extras=True)
    found = []
    for field in msgspec.structs.fields(Settings):
        if field.name in _FROM_FILE:
            kind, meta = get_args(hints[field.name])
            environ = None if field.name in _ONLY_FROM_FILE else f"{_PREFIX}{field.name.upper()}"
            found.append(
                Described(
                    name=field.name,
                    type=kind,
                    default=field.default if field.default is not msgspec.NODEFAULT else {},
                    section=meta.extra["section"],
                    meaning=meta.description,
                    environ=environ,
                )
            )
    return found


def find_project(start: Path) -> Path | None:
    """Return the nearest folder at or above ``start`` that holds a ``lastgood.toml``."""
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    return None


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """Read the settings for the project at or above ``folder`` (default: the working directory).

    :raises LastgoodError: ``invalid`` for an unknown key or a wrong type, ``not_found`` where no project is.
    """
    environ = os.environ if environ is None else environ
    start = (folder or Path.cwd()).resolve()
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    home = given.pop("home", None) or environ.get("LASTGOOD_HOME")
    project = find_project(Path(home).resolve() if home else start)
    if project is None and home is None:
        raise LastgoodError(
            Code.NOT_FOUND,
            f"There is no {FILE_NAME} in {start} or any folder above it.",
            "Run 'lastgood init' in your project's folder, or set LASTGOOD_HOME.",
        )
    values: dict[str, Any] = {}
    if project is not None and (project / FILE_NAME).is_file():
        values.update(_read_file(project / FILE_NAME))
    values.update(_read_environ(environ))
    values.update(given)
    asked = Path(home).resolve() if home else None
    if asked is None or asked == project:
        values["home"] = str((project or start) / ".lastgood")
    else:
        values["home"] = str(asked)
    return _convert(values)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LastgoodError(
            Code.INVALID, f"{path} is not valid TOML: {error}.", "Correct that line."
        ) from None
    if "home" in found:
        raise LastgoodError(
            Code.INVALID,
            f"{path} sets 'home', which is where that file is found by.",
            "Remove it, and set LASTGOOD_HOME or give --home.",
        )
    return found


def _read_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, text in environ.items():
        name = key.removeprefix(_PREFIX).lower()
        if key.startswith(_PREFIX) and name in _FROM_FILE - _ONLY_FROM_FILE:
            found[name] = text
    return found


def _convert(values: dict[str, Any]) -> Settings:
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise LastgoodError(
            Code.INVALID,
            f"The settings are not valid: {error}.",
            f"Known settings: {', '.join(sorted(_FROM_FILE))}.",
        ) from None
    if not 1 <= settings.gateway_workers <= 64:
        raise LastgoodError(Code.INVALID, "gateway_workers must be between 1 and 64.", "Set it to 2.")
    return settings
