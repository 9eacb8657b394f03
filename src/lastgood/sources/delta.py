"""Delta Lake tables as data sources, with the extra ``delta``.

Options: ``uri``, the table's folder or URL; ``table``, what to call it (the last part of ``uri``); ``storage_options``,
those of the object store, where ``env:NAME`` or ``file:PATH`` stands for a secret; ``swap_seconds``, how long a restore
tries to be first against writers (10).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from lastgood.data_ports import DataSource
from lastgood.sources.delta_pins import DeltaPins
from lastgood.sources.extra import needing
from lastgood.sources.hidden_texts import HiddenTexts
from lastgood.sources.options import Options
from lastgood.wire.credentials import has_password

_SWAP_SECONDS: Final = 10.0
_PACKAGES: Final = frozenset({"deltalake", "pyarrow"})


def create(
    name: str, options: Mapping[str, Any], kept: Path, *, reached: Callable[[str], None] = lambda _: None
) -> DataSource:
    """Return the source of one table; ``kept`` holds notes and links to files, the table keeps its own history.

    :raises LastgoodError: ``invalid`` naming the option, ``unavailable`` when the extra is not installed.
    """
    given = Options(name, options)
    uri = given.text("uri")
    if has_password(uri):
        raise given.wrong("uri", "has a password in it; give it in 'storage_options', as env:NAME")
    if not urlsplit(uri).scheme:
        uri = str(Path(uri).expanduser().absolute())
    table = given.text("table", unquote(Path(urlsplit(uri).path).name) or "table")
    seconds = given.seconds("swap_seconds", _SWAP_SECONDS)
    storage = HiddenTexts(name, given.mapping("storage_options"))
    given.end()
    made = needing("lastgood.sources.delta_table", "delta", _PACKAGES)
    lake = needing("lastgood.sources.lake", "delta", _PACKAGES)
    source: DataSource = lake.LakeSource(
        name,
        made.DeltaLakeTable(name, uri, table, storage, seconds, DeltaPins(uri, kept)),
        kept,
        reached=reached,
    )
    return source
