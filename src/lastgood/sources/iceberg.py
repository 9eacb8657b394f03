"""Apache Iceberg tables as data sources, with the extra ``iceberg``.

Options: ``table``, its name with its namespace; ``catalog``, the client's own properties (``type``, ``uri``,
``warehouse`` ...), where ``env:NAME`` or ``file:PATH`` stands for a secret or a URL with one; ``catalog_name``, the
catalog's name, under which one in a database keeps its tables (the client's own default); ``swap_seconds``, how long a
restore tries to be first against writers (10).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lastgood.data_ports import DataSource
from lastgood.sources.extra import needing
from lastgood.sources.hidden_texts import HiddenTexts
from lastgood.sources.options import Options

_SWAP_SECONDS: Final = 10.0
_PACKAGES: Final = frozenset({"pyiceberg", "pyarrow", "pydantic"})


def create(
    name: str, options: Mapping[str, Any], kept: Path, *, reached: Callable[[str], None] = lambda _: None
) -> DataSource:
    """Return the source of one table; ``kept`` holds notes only, the table keeps its own history.

    :raises LastgoodError: ``invalid`` naming the option, ``unavailable`` when the extra is not installed.
    """
    given = Options(name, options)
    table = given.text("table")
    seconds = given.seconds("swap_seconds", _SWAP_SECONDS)
    catalog = HiddenTexts(name, given.mapping("catalog"))
    called = given.text("catalog_name") if "catalog_name" in options else None
    given.end()
    made = needing("lastgood.sources.iceberg_table", "iceberg", _PACKAGES)
    lake = needing("lastgood.sources.lake", "iceberg", _PACKAGES)
    source: DataSource = lake.LakeSource(
        name, made.IcebergTable(name, table, catalog, seconds, called), kept, reached=reached
    )
    return source
